"""An attached directory of raw images: what the `file` kind of storage does with it."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

import structlog

from .blocking import Threads, Watch
from .directory import Directory, failures, space
from .driver import (
    Access,
    LocationInvalid,
    NewVolume,
    NoSpace,
    NotSupported,
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
from .label import MARKER, read_label, read_marker, write_label
from .sparse import copy_image

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
LIVE = re.compile(rf"({UUID})\.raw")
OURS = re.compile(rf"({UUID})\.(raw|staged|retired|json|json\.new)")
ALIGNMENT = 4096
MAX_SIZE = 64 << 40
"""More than file systems can hold in one file; beyond it arithmetic on sectors gets unsafe."""


def aligned(size: int) -> int:
    """The size an image gets: whole 4 KiB sectors, which every block size divides.

    Raises NoSpace for more than any image can have.
    """
    if size > MAX_SIZE:
        raise NoSpace(size, MAX_SIZE)
    return -(-size // ALIGNMENT) * ALIGNMENT


class FileRepository:
    """Implements `Repository` on an attached directory."""

    def __init__(
        self, path: PurePosixPath, directory: Directory, lock: int, threads: Threads
    ) -> None:
        self._path = path
        self._directory = directory
        self._flock = lock
        self._threads = threads
        self._changing = asyncio.Lock()  # one change of names at a time
        self._in_flight: set[str] = set()  # staged or retired by this instance, not settled yet
        self._active: Counter[str] = Counter()

    async def detach(self) -> None:
        async with self._changing:
            self._directory.close()
            if self._flock >= 0:
                os.close(self._flock)
                self._flock = -1

    async def destroy(self) -> None:
        async with self._changing:
            await self._threads.run(self._destroy)
        await self.detach()

    async def stat(self) -> Space:
        with failures("cannot read the sizes of the file system"):
            return await self._threads.run(space, self._directory.fd)

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        async with self._changing:
            return await self._threads.run(self._scan, frozenset(known))

    async def create(self, new: NewVolume) -> Volume:
        async with self._changing:
            staging = self._threads.run(self._stage, new, None)
            return await self._or_else(staging, self._purge, new.uuid)

    async def copy(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        if source.format != "raw":
            raise NotSupported(f"this storage cannot read {source.format} images")
        return await self._filled(new, progress, lambda: os.open(source.path, os.O_RDONLY))

    async def clone(self, location: str, new: NewVolume, progress: Progress) -> Volume:
        await self.look(location)
        return await self._filled(
            new, progress, lambda: self._directory.open(location, os.O_RDONLY)
        )

    async def publish(self, location: str) -> None:
        uuid = uuid_of(location)
        async with self._changing:
            await self._threads.run(self._move, uuid, "staged", "raw")
            self._in_flight.discard(uuid)

    async def retire(self, location: str) -> None:
        uuid = uuid_of(location)
        async with self._changing:
            if self._active[uuid]:
                raise VolumeInUse(location)
            self._in_flight.add(uuid)
            retiring = self._threads.run(self._move, uuid, "raw", "retired")
            try:
                await self._or_else(retiring, self._move, uuid, "retired", "raw")
            except BaseException:
                self._in_flight.discard(uuid)
                raise

    async def reinstate(self, location: str) -> None:
        uuid = uuid_of(location)
        async with self._changing:
            await self._threads.run(self._move, uuid, "retired", "raw")
            self._in_flight.discard(uuid)

    async def purge(self, location: str) -> None:
        uuid = uuid_of(location)
        async with self._changing:
            await self._threads.run(self._purge, uuid)

    async def resize(self, location: str, size: int) -> Volume:
        async with self._changing:
            return await self._threads.run(self._resize, uuid_of(location), aligned(size))

    async def describe(self, location: str, label: VolumeLabel) -> None:
        uuid = uuid_of(location)
        async with self._changing:
            await self._threads.run(self._describe, uuid, label)

    async def look(self, location: str) -> Volume:
        return await self._threads.run(self._look, uuid_of(location))

    async def activate(self, location: str, *, writable: bool) -> Access:
        uuid = uuid_of(location)
        async with self._changing:
            await self._threads.run(self._look, uuid)
            self._active[uuid] += 1
        return Access(str(self._path / location))

    async def deactivate(self, location: str) -> None:
        uuid = uuid_of(location)
        async with self._changing:
            if self._active[uuid] <= 1:
                del self._active[uuid]
            else:
                self._active[uuid] -= 1

    async def _filled(
        self, new: NewVolume, progress: Progress, open_source: Callable[[], int]
    ) -> Volume:
        def work(watch: Watch) -> Volume:
            def fill(target: int) -> None:
                source = open_source()
                try:
                    copy_image(watch, source, target, os.lseek(source, 0, os.SEEK_END))
                finally:
                    os.close(source)

            return self._stage(new, fill)

        return await self._or_else(self._threads.run_long(work, progress), self._purge, new.uuid)

    async def _or_else(
        self, work: Awaitable[T], undo: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Await work in a thread; when cancelled, take back what it may have ended with."""
        try:
            return await work
        except asyncio.CancelledError:
            await self._threads.run(undo, *args, **kwargs)
            raise

    # What follows blocks, and runs in a thread.

    def _scan(self, known: frozenset[str]) -> Sequence[Volume]:
        volumes = []
        with failures(f"cannot read {self._path}"):
            self._settle(known)
            for name in self._directory.names():
                match = LIVE.fullmatch(name)
                if match and self._directory.regular(name):
                    volumes.append(self._look(match[1]))
        return volumes

    def _settle(self, known: frozenset[str]) -> None:
        """Finish or take back what an earlier instance left half done."""
        names = set(self._directory.names())
        for name in sorted(names):
            match = OURS.fullmatch(name)
            if match is None or match[1] in self._in_flight:
                continue
            uuid, kind = match.groups()
            if kind in ("staged", "retired"):
                if f"{uuid}.raw" in known and f"{uuid}.raw" not in names:
                    log.info("disk recovered", path=str(self._path), disk=uuid, was=kind)
                    self._directory.rename(name, f"{uuid}.raw")
                else:
                    log.info("half-made disk removed", path=str(self._path), disk=uuid, was=kind)
                    self._directory.remove(name)
            elif kind == "json.new":
                self._directory.remove(name)
        self._drop_orphaned_labels()

    def _drop_orphaned_labels(self) -> None:
        names = self._directory.names()
        matches = [m for m in map(OURS.fullmatch, names) if m]
        with_image = {m[1] for m in matches if not m[2].startswith("json")} | self._in_flight
        for match in matches:
            if match[2] == "json" and match[1] not in with_image:
                self._directory.remove(match[0])

    def _stage(self, new: NewVolume, fill: Callable[[int], None] | None) -> Volume:
        size = aligned(new.size)
        name = f"{new.uuid}.staged"
        self._refuse_existing(new.uuid)
        self._in_flight.add(new.uuid)
        try:
            with failures(
                f"cannot make the disk {new.uuid}", requested=size, fd=self._directory.fd
            ):
                fd = self._directory.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
                try:
                    if fill is not None:
                        fill(fd)
                    os.ftruncate(fd, size)
                    os.fsync(fd)
                    used = os.fstat(fd).st_blocks * 512
                finally:
                    os.close(fd)
                write_label(self._directory, new.uuid, new.label)
        except BaseException:
            self._in_flight.discard(new.uuid)
            with suppress(OSError):
                self._directory.remove(name, f"{new.uuid}.json")
            raise
        return Volume(new.uuid, f"{new.uuid}.raw", size, used, new.label)

    def _refuse_existing(self, uuid: str) -> None:
        if uuid in self._in_flight or any(
            self._directory.exists(f"{uuid}.{kind}") for kind in ("raw", "staged", "retired")
        ):
            raise VolumeExists(f"{uuid}.raw")

    def _look(self, uuid: str) -> Volume:
        location = f"{uuid}.raw"
        with failures(f"cannot read {location}"):
            facts = self._directory.regular(location)
            if facts is None:
                raise VolumeMissing(location)
            label = read_label(self._directory, uuid)
        return Volume(uuid, location, facts.st_size, facts.st_blocks * 512, label)

    def _move(self, uuid: str, old: str, new: str) -> None:
        with failures(f"cannot rename the disk {uuid}"):
            if self._directory.regular(f"{uuid}.{old}"):
                self._directory.rename(f"{uuid}.{old}", f"{uuid}.{new}")
            elif not self._directory.regular(f"{uuid}.{new}"):
                raise VolumeMissing(f"{uuid}.raw")

    def _purge(self, uuid: str) -> None:
        self._in_flight.discard(uuid)
        with failures(f"cannot remove the disk {uuid}"):
            gone = [f"{uuid}.staged", f"{uuid}.retired"]
            if not self._directory.exists(f"{uuid}.raw"):
                gone.append(f"{uuid}.json")
            self._directory.remove(*gone)

    def _resize(self, uuid: str, size: int) -> Volume:
        now = self._look(uuid)
        if size < now.virtual_size:
            raise ShrinkRefused(now.location, now.virtual_size)
        with failures(f"cannot resize the disk {uuid}", requested=size, fd=self._directory.fd):
            fd = self._directory.open(now.location, os.O_RDWR)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)
        return self._look(uuid)

    def _describe(self, uuid: str, label: VolumeLabel) -> None:
        if self._look(uuid).label != label:
            with failures(f"cannot write the label of {uuid}", fd=self._directory.fd):
                write_label(self._directory, uuid, label)

    def _destroy(self) -> None:
        with failures(f"cannot destroy the repository in {self._path}"):
            volumes = self._scan(frozenset())
            if volumes or self._in_flight:
                raise RepositoryNotEmpty(f"{self._path} still holds disks")
            marker = read_marker(self._directory)
            self._directory.remove(MARKER)
        if marker is not None and marker.made:
            with suppress(OSError):  # somebody keeps other files there
                Path(self._path).rmdir()


def uuid_of(location: str) -> str:
    """The volume that a location names. Raises LocationInvalid."""
    match = LIVE.fullmatch(location)
    if match is None:
        raise LocationInvalid(location)
    return match[1]
