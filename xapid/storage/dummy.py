"""The `dummy` kind of storage: disks in this process's memory, for tests of whatever uses storage.

What is written to them is really kept until the daemon ends; then the disks are missing. Guests of
a real Xen cannot open them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from . import qemu_img
from .blocking import Threads, Watch
from .directory import failures
from .driver import (
    Access,
    Capability,
    DriverInfo,
    Found,
    NewVolume,
    NoSpace,
    Progress,
    RepositoryNotEmpty,
    ShrinkRefused,
    Space,
    Volume,
    VolumeExists,
    VolumeInUse,
    VolumeLabel,
    VolumeMissing,
)
from .image_names import aligned, image_at
from .sparse import copy_image

SIZE: Final = 1 << 40
"""Bytes that every dummy SR pretends to have; disks are as sparse as files."""

INFO = DriverInfo(
    type="dummy",
    name="Memory of the daemon",
    description="Disks in memory that are lost when the daemon ends; only for tests.",
    configuration={},
    required=frozenset(),
    capabilities=frozenset(Capability)
    - {Capability.SR_PROBE, Capability.VDI_SNAPSHOT_IN_USE, Capability.VDI_RESIZE_ONLINE},
)


@dataclass
class Disk:
    """One disk. fd: its content. state: `staged`, `live` or `retired`."""

    uuid: str
    fd: int
    label: VolumeLabel
    state: str = "staged"


class DummyDriver:
    """Implements `Driver`."""

    info = INFO

    def __init__(self) -> None:
        self._threads = Threads("dummy storage")
        self._repositories: dict[str, DummyRepository] = {}

    def check(self, device_config: Mapping[str, str]) -> None:
        """Anything will do."""

    def check_location(self, location: str) -> None:
        image_at(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        return ()

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        """There is nothing to prepare."""

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> DummyRepository:
        if uuid not in self._repositories:
            forget = partial(self._repositories.pop, uuid, None)
            self._repositories[uuid] = DummyRepository(self._threads, forget)
        return self._repositories[uuid]

    async def close(self) -> None:
        for repository in self._repositories.values():
            repository.clear()
        self._threads.close()


class DummyRepository:
    """Implements `Repository`."""

    def __init__(self, threads: Threads, forget: Callable[[], object]) -> None:
        self._threads = threads
        self._forget = forget
        self._disks: dict[str, Disk] = {}
        self._active: Counter[str] = Counter()

    async def detach(self) -> None:
        """The disks stay in memory for the next time."""

    @property
    def served_by_qemu(self) -> bool:
        return False

    def clear(self) -> None:
        """Free the memory."""
        for disk in self._disks.values():
            os.close(disk.fd)
        self._disks.clear()

    async def destroy(self) -> None:
        if self._disks:
            raise RepositoryNotEmpty("the memory still holds disks")
        self._forget()

    async def stat(self) -> Space:
        return Space(SIZE, sum(_used(disk.fd) for disk in self._disks.values()))

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        return [_volume(disk) for disk in self._disks.values() if disk.state == "live"]

    async def create(self, new: NewVolume) -> Volume:
        return _volume(self._stage(new))

    async def copy(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        if source.format != "raw":
            return await self._converted(source, new, progress)
        fd = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return await self._filled(fd, new, progress)
        finally:
            os.close(fd)

    async def clone(self, location: str, new: NewVolume, progress: Progress) -> Volume:
        return await self._filled(self._get(location).fd, new, progress)

    async def _filled(self, source: int, new: NewVolume, progress: Progress) -> Volume:
        disk = self._stage(new)

        def work(watch: Watch) -> None:
            with failures("cannot copy the disk"):
                copy_image(watch, source, disk.fd, os.lseek(source, 0, os.SEEK_END))
                os.ftruncate(disk.fd, aligned(new.size))

        try:
            await self._threads.run_long(work, progress)
        except BaseException:
            self._drop(disk)
            raise
        return _volume(disk)

    async def _converted(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        disk = self._stage(new)
        try:
            await qemu_img.convert(
                *(source.path, source.format, _path(disk), "raw", aligned(new.size), progress),
                into_empty=True,
            )
        except BaseException:
            self._drop(disk)
            raise
        return _volume(disk)

    def _stage(self, new: NewVolume) -> Disk:
        size = aligned(new.size)
        if size > SIZE:
            raise NoSpace(size, SIZE)
        if new.uuid in self._disks:
            raise VolumeExists(new.uuid)
        fd = os.memfd_create(f"xapid-{new.uuid}")
        os.ftruncate(fd, size)
        disk = self._disks[new.uuid] = Disk(new.uuid, fd, new.label)
        return disk

    async def publish(self, location: str) -> None:
        self._move(location, "live")

    async def retire(self, location: str) -> None:
        if self._active[location]:
            raise VolumeInUse(location)
        self._get(location)
        self._move(location, "retired")

    async def reinstate(self, location: str) -> None:
        self._move(location, "live")

    def _move(self, location: str, state: str) -> None:
        disk = self._disks.get(image_at(location).uuid)
        if disk is None:
            raise VolumeMissing(location)
        disk.state = state

    async def purge(self, location: str) -> None:
        disk = self._disks.get(image_at(location).uuid)
        if disk is not None and disk.state != "live":
            self._drop(disk)

    def _drop(self, disk: Disk) -> None:
        del self._disks[disk.uuid]
        os.close(disk.fd)

    async def resize(self, location: str, size: int) -> Volume:
        disk, size = self._get(location), aligned(size)
        now = os.fstat(disk.fd).st_size
        if size < now:
            raise ShrinkRefused(location, now)
        if size > SIZE:
            raise NoSpace(size, SIZE)
        os.ftruncate(disk.fd, size)
        return _volume(disk)

    async def describe(self, location: str, label: VolumeLabel) -> None:
        disk = self._get(location)
        disk.label = label

    async def look(self, location: str) -> Volume:
        return _volume(self._get(location))

    async def locate(self, uuid: str) -> str:
        return f"{uuid}.raw"

    async def activate(self, location: str, *, writable: bool) -> Access:
        disk = self._get(location)
        self._active[location] += 1
        return Access(_path(disk))

    async def deactivate(self, location: str) -> None:
        if self._active[location] <= 1:
            del self._active[location]
        else:
            self._active[location] -= 1

    async def reclaimable(self) -> bool:
        return False

    async def reclaim(self, progress: Progress) -> None:
        """Nothing is ever left behind."""

    def _get(self, location: str) -> Disk:
        disk = self._disks.get(image_at(location).uuid)
        if disk is None or disk.state != "live":
            raise VolumeMissing(location)
        return disk


def _path(disk: Disk) -> str:
    return f"/proc/{os.getpid()}/fd/{disk.fd}"


def _used(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def _volume(disk: Disk) -> Volume:
    size = os.fstat(disk.fd).st_size
    return Volume(disk.uuid, f"{disk.uuid}.raw", size, _used(disk.fd), disk.label)
