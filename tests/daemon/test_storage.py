"""Disks through the API of a whole daemon."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from .conftest import MIB, Client, Daemon, Failure, disk, eventually
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
