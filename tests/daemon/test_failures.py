"""Each step that libxl takes for an operation fails once; nothing is left behind."""

from __future__ import annotations

import pytest

from .conftest import Client, Daemon, Failure, disk, drive, eventually, storage, vm_values

FAIL, ABORT_PROCESS = 0, 3
ERROR_FAIL = -3

STEPS = {
    "VM.start": ["libxl_domain_create_new", "libxl_userdata_store", "libxl_domain_unpause"],
    "VM.hard_shutdown": ["libxl_domain_destroy"],
    "VM.clean_shutdown": ["libxl_domain_shutdown"],
    "VM.pause": ["libxl_domain_pause"],
    "VM.suspend": ["libxl_domain_suspend"],
    "VM.resume": ["libxl_domain_create_restore", "libxl_userdata_store", "libxl_domain_unpause"],
}
BEFORE = {
    "VM.start": [],
    "VM.resume": [("VM.start", False, False), ("VM.suspend",)],
}
RUNNING = [("VM.start", False, False)]
PARAMETERS = {"VM.start": (False, False), "VM.resume": (False, False)}
CASES = [(method, step) for method, steps in STEPS.items() for step in steps]


@pytest.fixture
def vm(daemon: Daemon, client: Client) -> str:
    ref: str = client("VM.create", vm_values())
    drive(client, ref, disk(client, storage(client, daemon)))
    return ref


def domains(daemon: Daemon) -> int:
    ask = "v = ffi.new('int64_t *'); assert lib.xapid_mock_get(b'domains', v) == 0"
    return int(daemon.xen(f"{ask}; print(v[0])"))


def break_once(daemon: Daemon, function: str, action: int) -> None:
    rule = f"b{function!r}, {action}, {ERROR_FAIL}, 1, 0xffffffff, ffi.NULL"
    daemon.xen(f"assert lib.xapid_mock_fail({rule}) == 0")


def prepare(client: Client, vm: str, method: str) -> str:
    for earlier, *parameters in BEFORE.get(method, RUNNING):
        client(earlier, vm, *parameters)
    state: str = client("VM.get_power_state", vm)
    return state


@pytest.mark.parametrize(("method", "function"), CASES)
def test_a_failing_step_leaves_the_vm_as_it_was(
    daemon: Daemon, client: Client, vm: str, method: str, function: str
) -> None:
    before = prepare(client, vm, method)
    there = domains(daemon)
    disks = client("VDI.get_all")
    break_once(daemon, function, FAIL)

    with pytest.raises(Failure) as failed:
        client(method, vm, *PARAMETERS.get(method, ()))

    assert failed.value.code != "INTERNAL_ERROR"
    assert client("VM.get_power_state", vm) == before
    assert client("VM.get_current_operations", vm) == {}
    assert domains(daemon) == there
    assert sorted(client("VDI.get_all")) == sorted(disks)
    client(method, vm, *PARAMETERS.get(method, ()))


@pytest.mark.parametrize(("method", "function"), CASES)
def test_a_crash_of_the_worker_in_any_step_can_be_recovered_from(
    daemon: Daemon, client: Client, vm: str, method: str, function: str
) -> None:
    prepare(client, vm, method)
    break_once(daemon, function, ABORT_PROCESS)

    with pytest.raises(Failure) as failed:
        client(method, vm, *PARAMETERS.get(method, ()))

    assert failed.value.code != "INTERNAL_ERROR"
    eventually(lambda: client("VM.get_current_operations", vm) == {})
    eventually(lambda: _back_to(client, vm, "Halted"))
    eventually(lambda: domains(daemon) == 1)
    client("VM.start", vm, False, False)


def _back_to(client: Client, vm: str, state: str) -> bool:
    """End the VM whatever it is now; False while the worker is still coming back."""
    if client("VM.get_power_state", vm) != state:
        try:
            client("VM.hard_shutdown", vm)
        except Failure:
            return False
    found: str = client("VM.get_power_state", vm)
    return found == state
