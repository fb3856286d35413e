"""Kill any process at any moment: guests go on, and records and Xen agree again."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from typing import Any

import pytest

from xapid.datamodel.console import Console
from xapid.datamodel.declare import Ref
from xapid.datamodel.registry import CLASSES
from xapid.db.store import Store

from .conftest import Client, Daemon, Failure, disk, drive, eventually, storage, vm_values
from .test_failures import domains

MAKE_FOREIGN = """
import sys
config = ffi.new('libxl_domain_config *')
ctx = ffi.new('libxl_ctx **')
assert lib.xapid_ctx_alloc(ctx, ffi.NULL) == 0
lib.libxl_domain_config_init(config)
text = {text!r}.encode()
assert lib.libxl_domain_config_from_json(ctx[0], config, text) == 0
domid = ffi.new('uint32_t *')
assert lib.libxl_domain_create_new(ctx[0], config, domid, ffi.NULL, ffi.NULL) == 0
assert lib.libxl_domain_unpause(ctx[0], domid[0], ffi.NULL) == 0
print(domid[0])
"""
TOUCH = """
ctx = ffi.new('libxl_ctx **')
assert lib.xapid_ctx_alloc(ctx, ffi.NULL) == 0
assert lib.{function}(ctx[0], {domid}, ffi.NULL) == 0
"""


@pytest.fixture
def vm(daemon: Daemon, client: Client) -> str:
    ref: str = client("VM.create", vm_values())
    drive(client, ref, disk(client, storage(client, daemon)))
    return ref


def counter(daemon: Daemon, domid: str) -> int:
    ask = f"v = ffi.new('int64_t *'); assert lib.xapid_mock_ask({domid}, b'counter', v) == 0"
    return int(daemon.xen(f"{ask}; print(v[0])"))


def behind(daemon: Daemon, function: str, domid: str) -> None:
    """What `xl` would do to a domain."""
    daemon.xen(TOUCH.format(function=function, domid=domid))


def foreign(daemon: Daemon, name: str) -> tuple[str, str]:
    """A domain that `xl create` made: its uuid and domid."""
    made = str(uuid.uuid4())
    text = (
        f'{{"c_info": {{"type": "pv", "name": "{name}", "uuid": "{made}"}}, "b_info": {{'
        '"max_vcpus": 1, "avail_vcpus": [0], "max_memkb": 65536, "target_memkb": 65536, '
        '"kernel": "/boot/x", "type.pv": {}}}'
    )
    return made, daemon.xen(MAKE_FOREIGN.format(text=text)).strip()


def test_guests_outlive_a_killed_xapid(daemon: Daemon, client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    domid = client("VM.get_domid", vm)

    daemon.kill()
    daemon.start()
    again = daemon.client()

    record = again("VM.get_record", vm)
    assert (record["power_state"], record["domid"]) == ("Running", domid)
    assert {"clean_shutdown", "suspend", "pause"} <= set(record["allowed_operations"])
    assert "unplug" in again("VBD.get_allowed_operations", record["VBDs"][0])
    assert counter(daemon, domid) > 0
    again("VM.clean_shutdown", vm)
    again("VM.start", vm, False, False)


def test_a_clean_stop_leaves_guests_running(daemon: Daemon, client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    domid = client("VM.get_domid", vm)

    assert daemon.stop() == 0
    daemon.start()

    assert daemon.client()("VM.get_domid", vm) == domid


def test_a_start_cut_off_by_a_kill_leaves_no_half_made_domain(
    daemon: Daemon, client: Client, vm: str
) -> None:
    daemon.knob("build_ms", 20_000)
    task = client("Async.VM.start", vm, False, False)
    eventually(lambda: "start" in client("VM.get_current_operations", vm).values())

    daemon.kill()
    daemon.knob("build_ms", 0)
    daemon.start()
    again = daemon.client()

    ended = again("task.get_record", task)
    assert again("VM.get_power_state", vm) == "Halted"
    assert again("VM.get_current_operations", vm) == {}
    assert (ended["status"], bool(ended["error_info"])) == ("failure", True)
    again("VM.start", vm, False, False)


def test_a_killed_worker_fails_only_what_was_in_flight(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    domid = client("VM.get_domid", vm)
    other = client("VM.create", vm_values(name_label="other"))
    daemon.knob("build_ms", 20_000)
    task = client("Async.VM.start", other, False, False)
    eventually(lambda: domains(daemon) == 3)  # libxl has begun to build

    os.kill(daemon.worker_pid(), signal.SIGKILL)
    record = client.wait_for_task(task)
    daemon.knob("build_ms", 0)

    assert record["status"] == "failure"
    assert record["error_info"][0] != "INTERNAL_ERROR"
    eventually(lambda: client("VM.get_allowed_operations", other).count("start"))
    assert client("VM.get_domid", vm) == domid
    eventually(lambda: _starts(client, other))
    assert client("VM.get_power_state", other) == "Running"


def _starts(client: Client, vm: str) -> bool:
    try:
        client("VM.start", vm, False, False)
    except Failure:
        return False
    return True


def test_a_guest_that_was_being_saved_goes_on_after_a_kill(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    domid = client("VM.get_domid", vm)
    images = set(client("VDI.get_all"))
    daemon.knob("save_ms", 20_000)
    client("Async.VM.suspend", vm)
    eventually(lambda: set(client("VDI.get_all")) - images)

    daemon.kill()
    daemon.knob("save_ms", 0)
    daemon.start()
    again = daemon.client()

    eventually(lambda: again("VM.get_power_state", vm) == "Running")
    assert again("VM.get_domid", vm) == domid
    first = counter(daemon, domid)
    eventually(lambda: counter(daemon, domid) > first)
    again("VM.suspend", vm)
    again("VM.resume", vm, False, False)


def test_a_domain_destroyed_behind_our_back_halts_its_vm(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)

    behind(daemon, "libxl_domain_destroy", client("VM.get_domid", vm))

    eventually(lambda: client("VM.get_power_state", vm) == "Halted", within_s=5)
    eventually(lambda: client("VM.get_allowed_operations", vm).count("start"))
    client("VM.start", vm, False, False)


def test_a_reboot_during_a_plug_is_dealt_with_after_it(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    first = client("VM.get_domid", vm)
    second = disk(client, client("SR.get_by_name_label", "disks")[0])
    vbd = drive(client, vm, second, "1")
    hang = "b'libxl_device_disk_add', 2, 0, 1, 0xffffffff, ffi.NULL"
    daemon.xen(f"assert lib.xapid_mock_fail({hang}) == 0")
    task = client("Async.VBD.plug", vbd)
    eventually(lambda: client("VBD.get_current_operations", vbd))

    daemon.order(first, "reboot")
    daemon.xen("lib.xapid_mock_release()")
    client.wait_for_task(task)

    eventually(lambda: client("VM.get_domid", vm) not in (first, "-1"))
    eventually(lambda: client("VM.get_power_state", vm) == "Running")


def test_pauses_behind_our_back_are_seen(daemon: Daemon, client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)

    behind(daemon, "libxl_domain_pause", client("VM.get_domid", vm))
    eventually(lambda: client("VM.get_power_state", vm) == "Paused", within_s=5)

    behind(daemon, "libxl_domain_unpause", client("VM.get_domid", vm))
    eventually(lambda: client("VM.get_power_state", vm) == "Running", within_s=5)


def test_a_foreign_domain_is_shown_and_never_touched(daemon: Daemon, client: Client) -> None:
    made, domid = foreign(daemon, "made-by-xl")

    ref = eventually(lambda: _by_uuid(client, made), within_s=5)
    record = client("VM.get_record", ref)
    assert record["is_foreign_domain"] is True
    assert (record["name_label"], record["power_state"]) == ("made-by-xl", "Running")
    for arrow in ("hard_shutdown", "pause", "hard_reboot", "suspend", "power_state_reset"):
        with pytest.raises(Failure) as refused:
            client(f"VM.{arrow}", ref)
        assert refused.value.code == "OPERATION_NOT_ALLOWED"

    daemon.kill()
    daemon.start()
    again = daemon.client()
    shown = eventually(lambda: _by_uuid(again, made), within_s=5)
    assert again("VM.get_domid", shown) == domid

    behind(daemon, "libxl_domain_destroy", domid)
    eventually(lambda: not _by_uuid(again, made), within_s=5)


def _by_uuid(client: Client, wanted: str) -> str:
    try:
        ref: str = client("VM.get_by_uuid", wanted)
    except Failure:
        return ""
    return ref


def test_a_vm_started_behind_our_back_is_taken_over(daemon: Daemon, client: Client) -> None:
    ref = client("VM.create", vm_values())
    client("VM.start", ref, False, False)
    daemon.kill()
    daemon.start()
    again = daemon.client()
    assert again("VM.get_power_state", ref) == "Running"

    again("VM.hard_shutdown", ref)
    assert again("VM.get_power_state", ref) == "Halted"


def test_tasks_of_a_dead_instance_end_with_a_reason(
    daemon: Daemon, client: Client, vm: str
) -> None:
    daemon.knob("build_ms", 20_000)
    task = client("Async.VM.start", vm, False, False)

    daemon.kill()
    daemon.start()

    record = daemon.client()("task.get_record", task)
    assert record["status"] == "failure"
    assert record["finished"].value > record["created"].value or record["error_info"]


def test_what_is_measured_and_the_consoles_keep_their_references(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    eventually(lambda: client("VM.get_consoles", vm))
    before = references(client, vm)

    daemon.stop()
    daemon.start()

    again = daemon.client()
    assert references(again, vm) == before
    assert again("console.get_location", again("VM.get_consoles", vm)[0]).startswith("file:///")
    assert again("VM_metrics.get_record", before["metrics"])["start_time"].value > "2020"
    assert again("VM_metrics.get_record", before["metrics"])["install_time"].value > "2020"


def test_a_console_that_outlived_its_domain_goes_at_the_start(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    client("VM.suspend", vm)
    daemon.stop()

    async def leave_behind() -> None:
        store = await Store.open(daemon.state / "state.db", CLASSES)
        await store.transact(lambda tx: tx.create(Console, {"VM": Ref(vm), "location": "x"}))
        await store.close()

    asyncio.run(leave_behind())
    daemon.start()

    again = daemon.client()
    assert (again("VM.get_power_state", vm), again("console.get_all")) == ("Suspended", [])


def references(client: Client, vm: str) -> dict[str, Any]:
    record = client("VM.get_record", vm)
    (vbd,) = record["VBDs"]
    return {
        **{name: record[name] for name in ("metrics", "guest_metrics", "consoles")},
        "disk": client("VBD_metrics.get_uuid", client("VBD.get_metrics", vbd)),
    }


def test_consoles_of_a_guest_whose_host_rebooted_are_gone(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    eventually(lambda: client("VM.get_consoles", vm))
    domid = client("VM.get_domid", vm)
    daemon.stop()
    behind(daemon, "libxl_domain_destroy", domid)

    daemon.start()

    again = daemon.client()
    assert again("VM.get_power_state", vm) == "Halted"
    assert again("console.get_all") == []
