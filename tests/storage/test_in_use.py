"""Disks that a running guest writes to, served by a qemu or through a loop device."""

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from xapid.services.storage.served import QemuServers
from xapid.storage.chains import MAX_DEPTH
from xapid.storage.driver import BackendFailure, NotSupported, VolumeInUse, no_progress
from xapid.storage.file import FileDriver
from xapid.storage.images import FileRepository

from .devices import needs_loop_devices
from .images import MIB, flaws, needs_qemu_img, shows
from .qemus import HAS_QEMU, Backends, Guest, PlayedQemu, RealQemu, ran
from .volumes import cloned, names, new_volume, published, removed

pytestmark = needs_qemu_img
DOMID = 7
KINDS = {"played": PlayedQemu, "real": RealQemu}
EITHER = [
    "played",
    pytest.param("real", marks=pytest.mark.skipif(not HAS_QEMU, reason="no qemu-system here")),
]


@dataclass
class Scene:
    """An SR with one disk, which a guest has open to write to."""

    driver: FileDriver
    sr: str
    disks: Path
    repository: FileRepository
    location: str
    guest: Guest

    async def restart(self) -> None:
        """As after a kill of the daemon, under a guest that goes on."""
        await self.repository.detach()
        self.repository = await self.driver.attach(self.sr, {"location": str(self.disks)})
        known = {name for name in names(self.disks) if name.endswith(".qcow2")}
        await self.repository.scan(known)
        await self.repository.activate(self.location, writable=True)

    async def end_of_guest(self) -> None:
        await self.guest.stop()
        await self.repository.deactivate(self.location)

    def shows(self, location: str, value: int, at: int = 0) -> bool:
        return shows(self.disks / location, value, at)


@pytest.fixture
async def scene(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """request.param: which kind of qemu serves the guest; a played one where nothing is said."""
    sr, disks = str(uuids.uuid4()), tmp_path / "disks"
    config = {"location": str(disks), "format": "qcow2"}
    new = new_volume()
    image = disks / f"{new.uuid}.qcow2"
    backends = Backends({"3/51712": "qcow2:/elsewhere", f"{DOMID}/51712": f"qcow2:{image}"})
    driver = FileDriver(QemuServers(backends, tmp_path))
    await driver.create(sr, config, "local")
    repository = await driver.attach(sr, config)
    location = await published(repository, new)
    await repository.scan({location})
    kind = KINDS[getattr(request, "param", "played")]
    guest = kind(image, tmp_path / f"qmp-libxenstat-{DOMID}")
    await repository.activate(location, writable=True)
    await guest.start()
    scene = Scene(driver, sr, disks, repository, location, guest)
    yield scene
    await guest.stop()
    await scene.repository.detach()
    await driver.close()


def played(scene: Scene) -> PlayedQemu:
    assert isinstance(scene.guest, PlayedQemu)
    return scene.guest


@pytest.mark.parametrize("scene", EITHER, indirect=True)
async def test_each_snapshot_of_a_guests_disk_shows_its_own_moment(scene: Scene) -> None:
    await scene.guest.write(1)
    first = await cloned(scene.repository, scene.location)
    await scene.guest.write(2)
    second = await cloned(scene.repository, scene.location)
    await scene.guest.write(3, at=MIB)
    third = await cloned(scene.repository, scene.location)
    await scene.guest.write(4)

    assert [await scene.guest.shows(4), await scene.guest.shows(3, at=MIB)] == [True, True]
    assert scene.shows(first, 1) and scene.shows(first, 0, at=MIB)
    assert scene.shows(second, 2) and scene.shows(second, 0, at=MIB)
    assert scene.shows(third, 2) and scene.shows(third, 3, at=MIB)

    await scene.end_of_guest()
    assert scene.shows(scene.location, 4) and scene.shows(scene.location, 3, at=MIB)
    assert not any(flaws(scene.disks / name) for name in names(scene.disks) if "json" not in name)


@pytest.mark.parametrize("scene", EITHER, indirect=True)
async def test_a_disk_that_its_guest_did_not_write_to_needs_no_further_base(scene: Scene) -> None:
    await scene.guest.write(1)
    first = await cloned(scene.repository, scene.location)
    second = await cloned(scene.repository, scene.location)
    await scene.guest.write(2)
    third = await cloned(scene.repository, scene.location)

    assert len([name for name in names(scene.disks) if name.endswith(".base")]) == 2
    assert scene.shows(first, 1) and scene.shows(second, 1) and scene.shows(third, 2)


@pytest.mark.parametrize("scene", EITHER, indirect=True)
async def test_space_of_snapshots_comes_back_once_the_guest_has_ended(scene: Scene) -> None:
    await scene.guest.write(1)
    snapshot = await cloned(scene.repository, scene.location)
    await scene.guest.write(2, at=MIB)
    await removed(scene.repository, snapshot)

    assert not await scene.repository.reclaimable()
    await scene.end_of_guest()
    await scene.repository.reclaim(no_progress)

    assert names(scene.disks) == {scene.location, scene.location.replace("qcow2", "json")}
    assert scene.shows(scene.location, 1) and scene.shows(scene.location, 2, at=MIB)


@pytest.mark.parametrize("scene", EITHER, indirect=True)
async def test_a_guests_disk_grows_under_it_before_and_after_a_snapshot(scene: Scene) -> None:
    grown = await scene.repository.resize(scene.location, 9 * MIB)
    assert (grown.virtual_size, await scene.guest.size()) == (9 * MIB, 9 * MIB)

    snapshot = await cloned(scene.repository, scene.location)
    await scene.repository.resize(scene.location, 16 * MIB)

    assert await scene.guest.size() == 16 * MIB
    assert (await scene.repository.look(snapshot)).virtual_size == 9 * MIB
    await scene.guest.write(5, at=15 * MIB)
    await scene.end_of_guest()
    assert scene.shows(scene.location, 5, at=15 * MIB)


@pytest.mark.parametrize("scene", EITHER, indirect=True)
async def test_what_a_guest_has_open_is_recognised_after_a_restart(scene: Scene) -> None:
    await cloned(scene.repository, scene.location)
    await scene.guest.write(1)

    await scene.restart()
    snapshot = await cloned(scene.repository, scene.location)
    await scene.guest.write(2)

    assert scene.shows(snapshot, 1) and await scene.guest.shows(2)


async def test_a_qemu_that_refuses_leaves_nothing_behind(scene: Scene) -> None:
    await scene.guest.write(1)
    before = names(scene.disks)
    played(scene).refuses = {"blockdev-snapshot-sync", "block_resize"}

    with pytest.raises(BackendFailure, match="not today"):
        await cloned(scene.repository, scene.location)
    with pytest.raises(BackendFailure, match="not today"):
        await scene.repository.resize(scene.location, 9 * MIB)

    assert names(scene.disks) == before
    assert (await scene.repository.look(scene.location)).virtual_size == 8 * MIB


@pytest.mark.parametrize("when", ["before", "after"])
async def test_nothing_is_lost_when_a_qemu_does_not_say_whether_it_did_it(
    scene: Scene, when: str
) -> None:
    await scene.guest.write(1)
    played(scene).hangs_up = {"blockdev-snapshot-sync": when}

    with pytest.raises(BackendFailure):
        await cloned(scene.repository, scene.location)
    await scene.guest.write(2, at=MIB)
    played(scene).hangs_up = {}
    snapshot = await cloned(scene.repository, scene.location)
    await scene.guest.write(3)

    assert scene.shows(snapshot, 1) and scene.shows(snapshot, 2, at=MIB)
    await scene.end_of_guest()
    assert scene.shows(scene.location, 3) and scene.shows(scene.location, 2, at=MIB)
    assert not any("next" in name or "staged" in name for name in names(scene.disks))


async def test_a_qemu_that_writes_to_an_older_image_is_left_alone(scene: Scene) -> None:
    await scene.repository.deactivate(scene.location)
    twin = await cloned(scene.repository, scene.location)  # behind the back of its qemu
    await scene.guest.write(1)
    await scene.repository.deactivate(scene.location)
    await cloned(scene.repository, scene.location)
    await scene.repository.activate(scene.location, writable=True)

    with pytest.raises(VolumeInUse):
        await cloned(scene.repository, scene.location)
    with pytest.raises(VolumeInUse):
        await scene.repository.resize(scene.location, 9 * MIB)

    assert await scene.guest.shows(1) and twin in names(scene.disks)


async def test_a_disk_that_a_guest_has_twice_is_left_alone(scene: Scene) -> None:
    played(scene).devices = 2  # an emulated drive, and the one beside it

    with pytest.raises(VolumeInUse):
        await cloned(scene.repository, scene.location)


async def test_a_disk_that_two_guests_were_given_is_left_alone(scene: Scene) -> None:
    path = scene.disks / scene.location
    backends = Backends({f"{domid}/51712": f"qcow2:{path}" for domid in (DOMID, DOMID + 1)})

    with pytest.raises(VolumeInUse):
        async with QemuServers(backends, path.parent).serving(str(path)):
            pytest.fail("either may write")


async def test_a_disk_of_another_name_is_not_found_in_a_qemu(scene: Scene) -> None:
    path = f"{scene.disks}/other.qcow2"
    servers = QemuServers(Backends({f"{DOMID}/51712": f"qcow2:{path}"}), scene.disks.parent)

    with pytest.raises(NotSupported):
        async with servers.serving(path):
            pytest.fail("this guest has another disk")


async def test_a_long_chain_is_not_made_longer_under_a_guest(scene: Scene) -> None:
    for value in range(1, MAX_DEPTH):
        await scene.guest.write(value)
        await cloned(scene.repository, scene.location)
    await scene.guest.write(MAX_DEPTH)
    before = names(scene.disks)

    with pytest.raises(VolumeInUse):
        await cloned(scene.repository, scene.location)

    assert names(scene.disks) == before


async def test_a_disk_whose_qemu_cannot_be_asked_is_left_alone(scene: Scene) -> None:
    await scene.guest.stop()

    with pytest.raises(BackendFailure):
        await cloned(scene.repository, scene.location)
    other = await published(scene.repository)
    await scene.repository.activate(other, writable=True)
    with pytest.raises(NotSupported):
        await cloned(scene.repository, other)


@needs_loop_devices
async def test_a_raw_disk_grows_with_the_loop_device_that_has_it(scene: Scene) -> None:
    raw = await published(scene.repository, new_volume(kind="suspend"))
    await scene.repository.activate(raw, writable=True)
    with pytest.raises(NotSupported):
        await scene.repository.resize(raw, 16 * MIB)
    with pytest.raises(VolumeInUse):
        await cloned(scene.repository, raw)
    assert (await scene.repository.look(raw)).virtual_size == 8 * MIB
    loop = await ran(["losetup", "--find", "--show", scene.disks / raw])

    try:
        await scene.repository.resize(raw, 16 * MIB)

        assert await ran(["blockdev", "--getsize64", loop]) == str(16 * MIB)
    finally:
        await ran(["losetup", "--detach", loop])
