"""A kill of the daemon at each step of a change of a disk that a guest writes to."""

from __future__ import annotations

import shutil
import uuid as uuids
from pathlib import Path

import pytest

from xapid.services.storage.served import QemuServers
from xapid.storage.driver import NewVolume, no_progress
from xapid.storage.file import FileDriver
from xapid.storage.images import FileRepository

from .images import MIB, flaws, needs_qemu_img, shows
from .mortal import NEW, OLD, SNAPSHOT, lived_through
from .qemus import Backends, PlayedQemu
from .volumes import names

pytestmark = needs_qemu_img

SR = str(uuids.uuid4())
DISK = f"{OLD}.qcow2"
CLONE = f"{NEW}.qcow2"


async def prepared(driver: FileDriver, disks: Path) -> None:
    config = {"location": str(disks), "format": "qcow2"}
    await driver.create(SR, config, "")
    repository = await driver.attach(SR, config)
    await repository.create(NewVolume(OLD, 8 * MIB))
    await repository.publish(DISK)
    await repository.detach()


async def reopened(driver: FileDriver, disks: Path, known: set[str]) -> FileRepository:
    repository = await driver.attach(SR, {"location": str(disks)})
    assert {volume.location for volume in await repository.scan(known)} == known
    return repository


async def shown_alike(repository: FileRepository, guest: PlayedQemu, disks: Path) -> None:
    """Let the guest go on under a new daemon, which can snapshot it, and look at both."""
    await repository.activate(DISK, writable=True)
    await guest.write(2, at=MIB)
    snapshot = await repository.clone(DISK, NewVolume(SNAPSHOT, 8 * MIB), no_progress)
    await repository.publish(snapshot.location)
    await guest.write(3)
    assert shows(disks / snapshot.location, 1) and shows(disks / snapshot.location, 2, at=MIB)
    await guest.stop()
    await repository.deactivate(DISK)
    assert shows(disks / DISK, 3) and shows(disks / DISK, 2, at=MIB)


# Where no guest goes on, the first steps are those of a clone without a guest.
@pytest.mark.parametrize(("guest_goes_on", "first"), [(True, 1), (False, 8)])
async def test_a_guests_disk_is_the_old_or_the_new_one_and_never_loses_what_was_written(
    tmp_path: Path, guest_goes_on: bool, first: int
) -> None:
    disks, database = tmp_path / "disks", tmp_path / "database"
    socket = tmp_path / "qmp-libxenstat-1"
    servers = QemuServers(Backends({"1/51712": f"qcow2:{disks / DISK}"}), tmp_path)
    driver = FileDriver(servers)
    for step in range(first, 60):
        shutil.rmtree(disks, ignore_errors=True)
        await prepared(driver, disks)
        database.write_text(DISK)
        guest = PlayedQemu(disks / DISK, socket)
        await guest.start()
        await guest.write(1)

        lived = await lived_through(disks, database, "clone-in-use", step, "qcow2", servers)
        if not guest_goes_on:
            await guest.write(1)  # the same again, wherever it goes
            await guest.stop()

        known = set(database.read_text().split())
        repository = await reopened(driver, disks, known)
        if CLONE in known:
            assert shows(disks / CLONE, 1)
        if guest_goes_on:
            await shown_alike(repository, guest, disks)
        assert shows(disks / DISK, 3 if guest_goes_on else 1), f"step {step}"
        await repository.reclaim(no_progress)
        images = [name for name in names(disks) if not name.endswith(".json")]
        assert not any(flaws(disks / name) for name in images)
        assert not any("staged" in name or "next" in name for name in images), f"step {step}"
        await repository.detach()
        if lived:
            assert CLONE in known and step > 12
            await driver.close()
            return
    pytest.fail("the change never came to its end")
