"""Asynchronous calls on a whole daemon: progress, cancelling, and the same answers as without."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Client, Daemon, Failure, disk, drive, eventually, storage, vm_values


@pytest.fixture
def vm(daemon: Daemon, client: Client) -> str:
    ref: str = client("VM.create", vm_values())
    drive(client, ref, disk(client, storage(client, daemon)))
    return ref


def test_progress_moves_while_a_domain_is_built(daemon: Daemon, client: Client, vm: str) -> None:
    daemon.knob("build_ms", 1500)
    task = client("Async.VM.start", vm, False, False)

    begun = eventually(lambda: float(client("task.get_progress", task)))
    assert 0.0 < begun < 1.0
    assert client("task.get_status", task) == "pending"

    assert client.wait_for_task(task)["status"] == "success"
    assert float(client("task.get_progress", task)) == 1.0


def test_a_start_that_is_cancelled_leaves_the_vm_halted(
    daemon: Daemon, client: Client, vm: str
) -> None:
    daemon.knob("build_ms", 20_000)
    task = client("Async.VM.start", vm, False, False)
    eventually(lambda: float(client("task.get_progress", task)))
    assert client("task.get_allowed_operations", task) == ["cancel"]

    client("task.cancel", task)

    record = client.wait_for_task(task)
    assert (record["status"], record["error_info"]) == ("cancelled", ["TASK_CANCELLED", task])
    assert record["allowed_operations"] == ["destroy"]
    assert client("VM.get_power_state", vm) == "Halted"
    eventually(lambda: "start" in client("VM.get_allowed_operations", vm))


def test_progress_moves_while_a_guest_is_saved(daemon: Daemon, client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    daemon.knob("save_ms", 1500)
    task = client("Async.VM.suspend", vm)

    begun = eventually(lambda: float(client("task.get_progress", task)))
    assert 0.0 < begun < 1.0
    assert client("task.get_status", task) == "pending"

    assert client.wait_for_task(task)["status"] == "success"


@pytest.mark.parametrize(
    ("method", "knob", "value"),
    [
        ("VM.suspend", "save_ms", 60_000),
        ("VM.clean_shutdown", "ignore_shutdown", 1),
        ("VM.clean_reboot", "ignore_shutdown", 1),
    ],
)
def test_a_long_wait_for_a_guest_can_be_cancelled(
    daemon: Daemon, client: Client, vm: str, method: str, knob: str, value: int
) -> None:
    daemon.knob(knob, value)
    client("VM.start", vm, False, False)
    task = client(f"Async.{method}", vm)
    eventually(lambda: client("VM.get_current_operations", vm))

    client("task.cancel", task)

    assert client.wait_for_task(task)["status"] == "cancelled"
    assert client("VM.get_power_state", vm) == "Running"
    assert client("VM.get_current_operations", vm) == {}


def test_a_task_that_has_ended_says_at_once_that_it_cannot_be_cancelled(
    client: Client, vm: str
) -> None:
    task = client("Async.VM.start", vm, False, False)
    client.wait_for_task(task)

    assert "cancel" not in client("task.get_allowed_operations", task)
    with pytest.raises(Failure) as refused:
        client("task.cancel", task)
    assert refused.value.code == "OPERATION_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("VM.unpause", ()),
        ("VM.start_on", ("OpaqueRef:NULL", False, False)),
        ("VM.get_allowed_VBD_devices", ()),
        ("VM.get_possible_hosts", ()),
        ("VM.maximise_memory", (str(1 << 30), False)),
        ("VM.send_trigger", ("no-such-trigger",)),
        ("VM.assert_operation_valid", ("resume",)),
    ],
)
def test_both_forms_of_a_call_give_the_same(
    client: Client, vm: str, method: str, parameters: tuple[Any, ...]
) -> None:
    expected: Any
    try:
        expected = ("success", client(method, vm, *parameters), [])
    except Failure as failure:
        expected = ("failure", "", [failure.code, *failure.parameters])

    record = client.wait_for_task(client(f"Async.{method}", vm, *parameters))

    result = record["result"].removeprefix("<value>").removesuffix("</value>")
    assert (record["status"], record["error_info"]) == (expected[0], expected[2])
    if isinstance(expected[1], list):
        assert all(f"<value>{item}</value>" in result for item in expected[1])
    else:
        assert result == expected[1]
