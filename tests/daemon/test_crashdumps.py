"""What is kept of a guest that crashed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import MIB, Client, Daemon, Failure, disk, drive, eventually, storage, vm_values


@pytest.fixture
def sr(daemon: Daemon, client: Client) -> str:
    return storage(client, daemon)


@pytest.fixture
def vm(client: Client, sr: str) -> str:
    ref: str = client("VM.create", vm_values())
    drive(client, ref, disk(client, sr))
    client("VM.start", ref, False, False)
    return ref


def crash(daemon: Daemon, client: Client, vm: str, action: str) -> str:
    """Let the guest crash; its domain as it was."""
    client("VM.set_actions_after_crash", vm, action)
    domid: str = client("VM.get_domid", vm)
    daemon.order(domid, "crash")
    return domid


@pytest.mark.parametrize("action", ["coredump_and_restart", "rename_restart"])
def test_a_dump_is_kept_before_the_guest_starts_again(
    daemon: Daemon, client: Client, vm: str, sr: str, action: str
) -> None:
    first = crash(daemon, client, vm, action)

    eventually(lambda: client("VM.get_domid", vm) not in (first, "-1"))
    [dump] = client("VM.get_crash_dumps", vm)
    image = client("VDI.get_record", client("crashdump.get_VDI", dump))
    assert client("crashdump.get_VM", dump) == vm
    assert (image["type"], image["SR"], image["crash_dumps"]) == ("crashdump", sr, [dump])
    assert int(image["virtual_size"]) > 256 * MIB
    [path] = Path(daemon.state / "disks").rglob(f"{image['uuid']}*.raw")
    assert path.read_bytes()[:15] == b"xapid mock core"
    assert path.stat().st_size == int(image["virtual_size"])


def test_a_dump_is_kept_before_the_guest_ends(daemon: Daemon, client: Client, vm: str) -> None:
    crash(daemon, client, vm, "coredump_and_destroy")

    eventually(lambda: client("VM.get_power_state", vm) == "Halted")
    assert len(client("VM.get_crash_dumps", vm)) == 1


def test_the_pools_place_for_dumps_is_honoured(daemon: Daemon, client: Client, vm: str) -> None:
    other = storage(client, daemon, "dumps")
    client("pool.set_crash_dump_SR", client("pool.get_all")[0], other)

    crash(daemon, client, vm, "coredump_and_destroy")

    dump = eventually(lambda: client("VM.get_crash_dumps", vm))[0]
    assert client("VDI.get_SR", client("crashdump.get_VDI", dump)) == other


def test_destroying_a_dump_removes_its_image(daemon: Daemon, client: Client, vm: str) -> None:
    crash(daemon, client, vm, "coredump_and_destroy")
    eventually(lambda: client("VM.get_power_state", vm) == "Halted")
    [dump] = client("VM.get_crash_dumps", vm)
    image = client("crashdump.get_VDI", dump)

    client("crashdump.destroy", dump)

    assert client("VM.get_crash_dumps", vm) == []
    assert image not in client("VDI.get_all")
    with pytest.raises(Failure) as gone:
        client("crashdump.destroy", dump)
    assert gone.value.code == "HANDLE_INVALID"


def test_a_dump_that_cannot_be_written_does_not_keep_the_guest_from_ending(
    daemon: Daemon, client: Client, vm: str
) -> None:
    rule = "b'libxl_domain_core_dump', 1, -3, 1, 0xffffffff, ffi.NULL"
    daemon.xen(f"assert lib.xapid_mock_fail({rule}) == 0")

    crash(daemon, client, vm, "coredump_and_destroy")

    eventually(lambda: client("VM.get_power_state", vm) == "Halted")
    assert client("VM.get_crash_dumps", vm) == []
    assert not [v for v in client("VDI.get_all_records").values() if v["type"] == "crashdump"]
    assert any("no crash dump was written" in line for line in daemon.errors)


def test_a_preserved_guest_stays_until_somebody_ends_it(
    daemon: Daemon, client: Client, vm: str
) -> None:
    domid = crash(daemon, client, vm, "preserve")

    eventually(lambda: any("stays as it is" in line for line in daemon.errors))
    assert client("VM.get_domid", vm) == domid
    client("VM.hard_shutdown", vm)
    assert client("VM.get_power_state", vm) == "Halted"
