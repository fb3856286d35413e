"""The `udev` kind of storage, on a directory that looks like /sys/block and on a loop device."""

from __future__ import annotations

import os
import uuid as uuids
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.storage.driver import (
    BackendFailure,
    ConfigInvalid,
    ConfigMissing,
    LocationInvalid,
    NewVolume,
    NotSupported,
    VolumeMissing,
)
from xapid.storage.udev import UdevDriver, drives

from .devices import loop_device, needs_loop_devices

SR = str(uuids.uuid4())


def device(sys: Path, name: str, *, removable: bool, sectors: int = 2048, wwid: str = "") -> None:
    entry = sys / name
    (entry / "device").mkdir(parents=True)
    (entry / "removable").write_text(f"{int(removable)}\n")
    (entry / "size").write_text(f"{sectors}\n")
    (entry / "device" / "vendor").write_text("ACME    \n")
    (entry / "device" / "model").write_text("Drive 7 \n")
    if wwid:
        (entry / "device" / "wwid").write_text(f"{wwid}\n")


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    sys = tmp_path / "sys"
    device(sys, "sr0", removable=True)
    device(sys, "sda", removable=False, wwid="t10.the system")
    device(sys, "sdb", removable=True, wwid="t10.ACME   stick/1")
    device(sys, "loop0", removable=True)
    return sys


@pytest.fixture
async def driver(tmp_path: Path, sys: Path) -> AsyncIterator[UdevDriver]:
    dev = tmp_path / "dev"
    dev.mkdir()
    driver = UdevDriver(sys, dev)
    yield driver
    await driver.close()


async def test_only_drives_that_come_and_go_are_shown(driver: UdevDriver) -> None:
    discs = await (await driver.attach(SR, {"location": "cd"})).scan(())
    sticks = await (await driver.attach(SR, {"location": "block"})).scan(())

    (disc,), (stick,) = discs, sticks
    assert (disc.location, disc.virtual_size) == ("sr0", 1 << 20)
    assert disc.label is not None
    assert disc.label.read_only
    assert stick.location == "sdb-t10.ACME_stick_1"
    assert stick.label is not None
    assert (stick.label.description, stick.label.read_only) == ("ACME Drive 7", False)


async def test_another_drive_under_the_same_name_is_another_disk(
    driver: UdevDriver, sys: Path
) -> None:
    repository = await driver.attach(SR, {"location": "block"})
    (before,) = await repository.scan(())

    (sys / "sdb" / "device" / "wwid").write_text("another one")
    (after,) = await repository.scan(())

    assert before.uuid != after.uuid
    with pytest.raises(VolumeMissing):
        await repository.activate(before.location, writable=False)


@needs_loop_devices
async def test_a_drive_is_handed_out_unless_this_host_uses_it(
    driver: UdevDriver, tmp_path: Path
) -> None:
    repository = await driver.attach(SR, {"location": "block"})
    (stick,) = await repository.scan(())
    with pytest.raises(BackendFailure):
        await repository.activate(stick.location, writable=True)

    with loop_device(tmp_path / "image") as loop:
        node = tmp_path / "dev" / "sdb"
        numbers = loop.stat()
        os.mknod(node, 0o600 | numbers.st_mode & 0o170000, numbers.st_rdev)
        access = await repository.activate(stick.location, writable=True)
        assert access.path == str(node)
        fd = os.open(loop, os.O_RDONLY | os.O_EXCL)
        with pytest.raises(BackendFailure, match="busy"):
            await repository.activate(stick.location, writable=True)
        os.close(fd)


async def test_a_node_that_is_no_device_is_not_opened(driver: UdevDriver, tmp_path: Path) -> None:
    repository = await driver.attach(SR, {"location": "cd"})
    (tmp_path / "dev" / "sr0").write_text("not a drive")

    with pytest.raises(BackendFailure, match="no block device"):
        await repository.activate("sr0", writable=False)
    with pytest.raises(NotSupported):
        await repository.activate("sr0", writable=True)


@pytest.mark.parametrize("location", ["sda1", "../sda", "/dev/sda", "sr", "nvme0n1", "sdb-a/b"])
async def test_only_names_of_drives_are_locations(driver: UdevDriver, location: str) -> None:
    with pytest.raises(LocationInvalid):
        driver.check_location(location)


async def test_the_kind_of_drive_must_be_said(driver: UdevDriver) -> None:
    with pytest.raises(ConfigMissing):
        driver.check({})
    with pytest.raises(ConfigInvalid):
        driver.check({"location": "/dev/sda"})


async def test_drives_are_not_made(driver: UdevDriver) -> None:
    repository = await driver.attach(SR, {"location": "cd"})

    with pytest.raises(NotSupported):
        await repository.create(NewVolume(SR, 4096))


def test_the_kernels_own_list_can_be_read() -> None:
    assert all(drive.size >= 0 for kind in ("cd", "block") for drive in drives(kind))
