"""Disks through the API of a whole daemon."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from xapid.storage.mounts import mounted

from ..storage.devices import loop_device, needs_loop_devices
from .conftest import MIB, Client, Daemon, Failure, disk, drive, eventually, vm_values
from .storage_torture import qemu_io, torture

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-io") is None, reason="qemu-io is not installed (Debian: qemu-utils)"
)

GIB = 1 << 30


@pytest.fixture
def directory(daemon: Daemon) -> Path:
    return daemon.state / "disks"


@pytest.fixture
def sr(client: Client, directory: Path) -> str:
    config = {"location": str(directory), "format": "qcow2"}
    host = client("host.get_all")[0]
    ref: str = client("SR.create", host, config, "0", "thin", "", "file", "", False, {})
    return ref


def merges(client: Client) -> list[str]:
    """How each task ended that merged disks."""
    records = client("task.get_all_records").values()
    return [r["status"] for r in records if r["name_label"] == "Merging the disks of thin"]


def test_no_disk_is_lost_or_left_over_over_six_kills() -> None:
    acknowledged, faults = torture(6, seed=4)

    assert not faults
    assert sum(acknowledged.values()) > 20


def test_a_snapshot_of_a_large_disk_takes_less_than_a_second(client: Client, sr: str) -> None:
    vdi = disk(client, sr, 100 * GIB)
    began = time.monotonic()

    snapshot = client("VDI.snapshot", vdi, {})

    assert time.monotonic() - began < 1
    assert client("VDI.get_virtual_size", snapshot) == str(100 * GIB)


def test_a_task_gives_back_the_space_of_a_snapshot(
    client: Client, sr: str, directory: Path
) -> None:
    vdi = disk(client, sr)
    image = directory / client("VDI.get_location", vdi)
    qemu_io(image, f"write -P 1 0 {8 * MIB}", "flush")
    snapshot = client("VDI.snapshot", vdi, {})
    qemu_io(image, f"write -P 2 0 {MIB}", "flush")
    assert len(list(directory.glob("*.base"))) == 1

    client("VDI.destroy", snapshot)

    eventually(lambda: merges(client) == ["success"])
    assert list(directory.glob("*.base")) == []
    shown = qemu_io(image, f"read -P 2 0 {MIB}", f"read -P 1 {MIB} {7 * MIB}")
    assert shown.returncode == 0, shown.stdout
    assert client("VDI.get_all") == [vdi]


def test_the_format_of_an_sr_is_one_that_there_is(client: Client, daemon: Daemon) -> None:
    host, config = client("host.get_all")[0], {"location": str(daemon.state / "x")}

    with pytest.raises(Failure, match="SR_BACKEND_FAILURE"):
        client(
            "SR.create", host, config | {"format": "vhd"}, "0", "x", "", "file", "", False, {}
        )  # fmt: skip

    [manager] = [r for r in client("SM.get_all_records").values() if r["type"] == "file"]
    assert "qcow2" in manager["configuration"]["format"]


def test_the_kinds_of_storage_are_told_of(client: Client) -> None:
    kinds = set(client("SR.get_supported_types"))
    managers = {record["type"]: record for record in client("SM.get_all_records").values()}

    assert kinds == set(managers) >= {"file", "ext", "nfs", "iso", "udev", "dummy"}
    assert set(managers["nfs"]["configuration"]) >= {"server", "serverpath", "format"}
    assert "VDI_CREATE" not in managers["iso"]["capabilities"]


def test_discs_of_a_directory_can_be_inserted_and_are_never_deleted(
    client: Client, daemon: Daemon
) -> None:
    discs = daemon.state / "discs"
    discs.mkdir()
    (discs / "installer.iso").write_bytes(bytes(4096))
    host = client("host.get_all")[0]
    location = {"location": str(discs)}
    sr = client("SR.create", host, location, "0", "discs", "", "iso", "", True, {})
    [disc] = client("VDI.get_by_name_label", "installer.iso")
    vm = client("VM.create", vm_values())
    vbd = drive(client, vm, disc, type="CD", mode="RO", bootable=False)

    client("VM.start", vm, False, False)

    assert client("SR.get_content_type", sr) == "iso"
    assert client("VBD.get_currently_attached", vbd)
    assert client("VDI.get_read_only", disc)
    assert "destroy" not in client("VDI.get_allowed_operations", disc)
    with pytest.raises(Failure, match="SR_OPERATION_NOT_SUPPORTED"):
        client("VDI.clone", disc, {})
    client("VM.hard_shutdown", vm)
    with pytest.raises(Failure):
        client("VDI.destroy", disc)
    assert (discs / "installer.iso").exists()


@needs_loop_devices
def test_a_formatted_device_is_plugged_again_after_a_kill(
    client: Client, daemon: Daemon, tmp_path: Path
) -> None:
    host = client("host.get_all")[0]
    with loop_device(tmp_path / "device") as device:
        config = {"device": str(device)}
        sr = client("SR.create", host, config, "0", "ext", "", "ext", "", False, {})
        vdi = disk(client, sr, 64 * MIB)
        snapshot = client("VDI.snapshot", vdi, {})
        [pbd] = client("SR.get_PBDs", sr)

        daemon.kill()
        daemon.start()
        client = daemon.client()

        assert client("PBD.get_currently_attached", pbd)
        client("SR.scan", sr)
        assert not any(client("VDI.get_missing", each) for each in (vdi, snapshot))
        client("VDI.destroy", snapshot)
        client("VDI.destroy", vdi)
        client("PBD.unplug", pbd)
        assert not any(each.source == str(device) for each in mounted())
        client("SR.destroy", sr)
        found = client("SR.probe", host, config, "ext", {})
        assert found == "<SRlist></SRlist>"


def test_disks_are_copied_between_any_two_kinds(client: Client, directory: Path, sr: str) -> None:
    host = client("host.get_all")[0]
    memory = client("SR.create", host, {}, "0", "memory", "", "dummy", "", False, {})
    vdi = disk(client, memory)

    there = client("VDI.copy", vdi, sr)
    qemu_io(directory / client("VDI.get_location", there), f"write -P 5 {MIB} {MIB}", "flush")
    back = client("VDI.copy", there, memory)
    again = client("VDI.copy", back, sr)

    assert [client("VDI.get_SR", each) for each in (there, back, again)] == [sr, memory, sr]
    assert client("VDI.get_virtual_size", again) == client("VDI.get_virtual_size", vdi)
    shown = qemu_io(
        directory / client("VDI.get_location", again),
        f"read -P 0 0 {MIB}",
        f"read -P 5 {MIB} {MIB}",
    )
    assert shown.returncode == 0, shown.stdout


def test_a_copy_to_where_no_disks_can_be_made_is_refused(
    client: Client, daemon: Daemon, sr: str
) -> None:
    (daemon.state / "discs").mkdir()
    host, location = client("host.get_all")[0], {"location": str(daemon.state / "discs")}
    discs = client("SR.create", host, location, "0", "discs", "", "iso", "", True, {})
    vdi = disk(client, sr)

    with pytest.raises(Failure, match="SR_OPERATION_NOT_SUPPORTED"):
        client("VDI.copy", vdi, discs)


def test_a_running_guest_gets_a_qcow2_disk_if_there_was_such_an_sr_at_its_start(
    client: Client, directory: Path
) -> None:
    def started(name: str) -> str:
        vm: str = client("VM.create", vm_values(name_label=name))
        client("VM.start", vm, False, False)
        return vm

    before = started("before")
    config = {"location": str(directory), "format": "qcow2"}
    host = client("host.get_all")[0]
    sr = client("SR.create", host, config, "0", "thin", "", "file", "", False, {})
    after = started("after")

    client("VBD.plug", plugged := drive(client, after, disk(client, sr)))
    refused = drive(client, before, vdi := disk(client, sr))
    with pytest.raises(Failure) as failure:
        client("VBD.plug", refused)

    assert client("VBD.get_currently_attached", plugged)
    assert failure.value.code == "OPERATION_NOT_ALLOWED" and "anew" in str(failure.value)
    assert not client("VBD.get_currently_attached", refused)
    client("VM.hard_reboot", before)
    assert client("VBD.get_currently_attached", refused)
    assert client("VDI.get_VBDs", vdi) == [refused]


def test_a_qcow2_disk_that_is_only_read_is_the_kernels_to_serve(client: Client, sr: str) -> None:
    vm: str = client("VM.create", vm_values())
    client("VM.start", vm, False, False)

    client("VBD.plug", vbd := drive(client, vm, disk(client, sr), mode="RO"))

    served = client("VBD.get_runtime_properties", vbd)
    assert served == {"backend": "phy", "format": "raw"}
