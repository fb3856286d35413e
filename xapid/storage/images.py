"""An attached directory of images: what every kind of storage on a file system does with it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import structlog

from ..undo import Undo
from . import qemu_img
from .blocking import Threads, Watch, undisturbed
from .branches import Branch
from .chains import Merge
from .directory import Directory, failures, space
from .driver import (
    Access,
    NewVolume,
    Progress,
    ShrinkRefused,
    Space,
    StorageError,
    StorageTimeout,
    Volume,
    VolumeInUse,
    VolumeLabel,
)
from .image_files import ImageFiles
from .image_names import Format, Image, aligned, image_at
from .in_use import InUse
from .served import NO_SERVERS, Served, Servers
from .sparse import copy_image

log = structlog.get_logger()

RAW_KINDS = frozenset({"suspend", "crashdump"})
"""Written and read by Xen itself, which knows no other format."""


@dataclass
class Merging:
    """A merge under way. work: what copies the data; given up: somebody wants one of its disks."""

    merge: Merge
    work: asyncio.Future[None]
    given_up: bool = False


class Released(Protocol):
    """Called once the directory is closed, to let go of what it is on."""

    async def __call__(self, *, destroyed: bool) -> None: ...


async def nothing_to_release(*, destroyed: bool) -> None:
    """For directories of this host."""


class FileRepository:
    """Implements `Repository` on an attached directory. format: what new volumes are.

    lock: a descriptor whose closing lets others attach the directory; -1 for none. threads: for
    this repository alone, so that no other waits for it. servers: who serves qcow2 images.
    """

    def __init__(
        self,
        path: PurePosixPath,
        directory: Directory,
        lock: int,
        threads: Threads,
        format: Format = "raw",  # noqa: A002
        released: Released = nothing_to_release,
        servers: Servers = NO_SERVERS,
    ) -> None:
        self._files = ImageFiles(path, directory)
        self._directory = directory
        self._flock = lock
        self._threads = threads
        self._format = format
        self._released = released
        self._in_use = InUse(self._files, threads, servers)
        self.changing = asyncio.Lock()  # one change of names at a time
        self._active: Counter[str] = Counter()
        self._writers: set[str] = set()
        self._merging: Merging | None = None
        self._unmergeable: set[str] = set()

    @property
    def served_by_qemu(self) -> bool:
        return self._format == "qcow2"

    async def detach(self) -> None:
        await self._detach(destroyed=False)

    async def _detach(self, *, destroyed: bool) -> None:
        async with self.changing:
            if self._directory.fd < 0:
                return
            await self._give_up_merging(None)
            try:
                await self._threads.run(self._close)
            finally:
                self._threads.close()
                await self._released(destroyed=destroyed)

    def _close(self) -> None:
        self._directory.close()
        if self._flock >= 0:
            os.close(self._flock)
            self._flock = -1

    async def destroy(self) -> None:
        async with self.changing:
            await self._give_up_merging(None)
            await self._threads.run(self._files.destroy)
        await self._detach(destroyed=True)

    async def stat(self) -> Space:
        with failures("cannot read the sizes of the file system"):
            return await self._threads.run(space, self._directory.fd)

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        async with self.changing:
            return await self._threads.run(self._files.scan, frozenset(known))

    async def locate(self, uuid: str) -> str:
        found = await self._threads.run(self._files.find, uuid)
        return found or f"{uuid}.{self._format}"

    async def create(self, new: NewVolume) -> Volume:
        image = Image(new.uuid, self._format_of(new))
        async with self.changing, _Staging(self, new.uuid, held=True):
            if image.format == "raw":
                return await self._threads.run(self._files.stage_raw, image, new, None)
            size = aligned(new.size)
            await self._threads.run(self._files.reserve, image)
            await qemu_img.create(self._files.at(image.staged), size)
            return await self._threads.run(self._files.finish_staging, image, new)

    async def copy(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        image = Image(new.uuid, self._format_of(new))
        if source.format == "raw" == image.format:
            return await self._filled(
                image, new, progress, lambda: os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
            )
        return await self._converted(source, image, new, progress)

    async def clone(self, location: str, new: NewVolume, progress: Progress) -> Volume:
        image = image_at(location)
        if image.format == "raw":
            await self.look(location)
            if location in self._writers:
                raise VolumeInUse(location)
            twin = Image(new.uuid, "raw")
            opened = lambda: self._directory.open(location, os.O_RDONLY)  # noqa: E731
            return await self._filled(twin, new, progress, opened)
        async with self.changing:
            if location in self._writers:
                async with self._in_use.served(image) as (served, branch):
                    if branch.too_deep:  # a copy would have to stop the guest
                        raise VolumeInUse(location)
                    volume = await self._branch(image, new, branch, served)
                progress(1.0)
                return volume
            branch = await self._threads.run(self._files.plan_branch, image)
            if not branch.too_deep:
                volume = await self._branch(image, new, branch, None)
                progress(1.0)
                return volume
        source = await self.activate(location, writable=False)
        try:
            return await self._converted(source, Image(new.uuid, "qcow2"), new, progress)
        finally:
            await self.deactivate(location)

    async def publish(self, location: str) -> None:
        image = image_at(location)
        async with self.changing:
            await self._threads.run(self._files.move, image, image.staged, image.live)
            self._files.in_flight.discard(image.uuid)

    async def retire(self, location: str) -> None:
        image = image_at(location)
        async with self.changing:
            if self._active[location]:
                raise VolumeInUse(location)
            await self._give_up_merging(location)
            self._files.in_flight.add(image.uuid)
            try:
                await self._threads.run(self._files.move, image, image.live, image.retired)
            except asyncio.CancelledError:
                await self._threads.run(self._files.move, image, image.retired, image.live)
                self._files.in_flight.discard(image.uuid)
                raise
            except BaseException:
                self._files.in_flight.discard(image.uuid)
                raise

    async def reinstate(self, location: str) -> None:
        image = image_at(location)
        async with self.changing:
            await self._threads.run(self._files.move, image, image.retired, image.live)
            self._files.in_flight.discard(image.uuid)

    async def purge(self, location: str) -> None:
        image = image_at(location)
        async with self.changing:
            await self.abandon(image.uuid)

    async def resize(self, location: str, size: int) -> Volume:
        image, size = image_at(location), aligned(size)
        async with self.changing:
            now = await self._threads.run(self._files.check_chain, image)
            if size < now.virtual_size:
                raise ShrinkRefused(location, now.virtual_size)
            if size == now.virtual_size:
                return now
            await self._give_up_merging(location)
            if self._active[location]:
                await undisturbed(self._in_use.grow(image, size))
            elif image.format == "raw":
                await self._threads.run(self._files.resize_raw, image, size)
            else:
                await qemu_img.resize(self._files.at(location), size)
                await self._threads.run(self._directory.sync_file, location)
            return await self._threads.run(self._files.look, image)

    async def describe(self, location: str, label: VolumeLabel) -> None:
        image = image_at(location)
        async with self.changing:
            await self._threads.run(self._files.describe, image, label)

    async def look(self, location: str) -> Volume:
        return await self._threads.run(self._files.look, image_at(location))

    async def activate(self, location: str, *, writable: bool) -> Access:
        image = image_at(location)
        async with self.changing:
            await self._give_up_merging(location)
            await self._threads.run(self._files.check_chain, image)
            self._active[location] += 1
            if writable:
                self._writers.add(location)
        path = self._files.at(location)
        return Access(path) if image.format == "raw" else Access(path, "qcow2", "qdisk")

    async def deactivate(self, location: str) -> None:
        async with self.changing:
            if self._active[location] <= 1:
                del self._active[location]
                self._writers.discard(location)
            else:
                self._active[location] -= 1

    # Space that chains hold for nothing

    async def reclaimable(self) -> bool:
        async with self.changing:
            return await self._next_merge() is not None

    async def reclaim(self, progress: Progress) -> None:
        done = 0
        while True:
            async with self.changing:
                merge = await self._next_merge()
                if merge is None:
                    return
                report = _part(progress, done)
                size = (
                    await self._threads.run(self._files.chains.header, merge.child)
                ).virtual_size
                work = qemu_img.commit(self._files.at(merge.child), size, report)
                merging = self._merging = Merging(merge, asyncio.ensure_future(work))
            await self._finish_merge(merging)
            done += 1

    async def _next_merge(self) -> Merge | None:
        detached = self._directory.fd < 0
        if detached or self._files.incomplete or self._merging is not None:
            return None
        with failures("cannot read the chains of disks"):
            merges = await self._threads.run(self._files.merges, frozenset(self._active))
        return next((merge for merge in merges if merge.base not in self._unmergeable), None)

    async def _finish_merge(self, merging: Merging) -> None:
        merge = merging.merge
        try:
            await merging.work
            async with self.changing:
                if not merging.given_up:
                    await self._threads.run(self._files.replace, merge.base, merge.child)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not merging.given_up or (task is not None and task.cancelling()):
                raise
        except StorageError:
            self._unmergeable.add(merge.base)  # until the next start, not again and again
            raise
        finally:
            self._merging = None

    async def _give_up_merging(self, location: str | None) -> None:
        """Stop a merge that touches this volume (None: any), which has lost nothing by it."""
        merging = self._merging
        if merging is None or not (location is None or location in merging.merge.leaves):
            return
        merging.given_up = True
        merging.work.cancel()
        await asyncio.wait((merging.work,))

    # Making volumes

    def _format_of(self, new: NewVolume) -> Format:
        return "raw" if new.label.kind in RAW_KINDS else self._format

    async def _branch(
        self, image: Image, new: NewVolume, branch: Branch, served: Served | None
    ) -> Volume:
        """Clone a qcow2 volume by a base that both lean on. served: the guest that writes to it."""
        twin = Image(new.uuid, "qcow2")
        async with _Staging(self, new.uuid, held=True):
            await self._give_up_merging(image.live)
            try:
                await self._threads.run(self._files.reserve_branch, image, twin, branch)
                leaves = [twin.staged, *([branch.next] if branch.splits else [])]
                for leaf in leaves:
                    path = self._files.at(leaf)
                    if branch.base:
                        await qemu_img.create_overlay(path, branch.base, branch.size)
                    else:
                        await qemu_img.create(path, branch.size)
            except BaseException:
                await self._threads.run(self._files.branches.abandon, image.live, branch)
                raise
            if served is not None and branch.splits:
                return await undisturbed(self._in_use.branch(served, image, new, branch))
            return await self._threads.run(self._files.branch, image, new, branch)

    async def _filled(
        self, image: Image, new: NewVolume, progress: Progress, open_source: Callable[[], int]
    ) -> Volume:
        """A raw volume with the content of an open file."""

        def work(watch: Watch) -> Volume:
            def fill(target: int) -> None:
                source = open_source()
                try:
                    copy_image(watch, source, target, os.lseek(source, 0, os.SEEK_END))
                finally:
                    os.close(source)

            return self._files.stage_raw(image, new, fill)

        async with _Staging(self, new.uuid, held=False):
            return await self._threads.run_long(work, progress)

    async def _converted(
        self, source: Access, image: Image, new: NewVolume, progress: Progress
    ) -> Volume:
        """A volume with the content of an image of another format."""
        size = aligned(new.size)
        path = self._files.at(image.staged)
        async with _Staging(self, new.uuid, held=False):
            async with self.changing:
                await self._threads.run(self._files.reserve, image)
            progress(0.0)
            await qemu_img.convert(source.path, source.format, path, image.format, size, progress)
            if image.format == "qcow2":
                await qemu_img.resize(path, size)
            return await self._threads.run(self._files.finish_staging, image, new)

    async def begin(self, uuid: str) -> None:
        """Take a uuid for a volume that is being staged. Raises VolumeExists."""
        await self._threads.run(self._files.refuse_existing, uuid)
        self._files.in_flight.add(uuid)

    async def abandon(self, uuid: str, *, silent: bool = False) -> None:
        """Remove what is staged or retired of a volume. silent: leave that to the next scan."""
        try:
            if not silent:
                await self._threads.run(self._files.purge, uuid)
        finally:
            self._files.in_flight.discard(uuid)


class _Staging:
    """A block that stages a volume: leaving it by an error leaves nothing of the volume.

    held: whether the caller is the one who may change names now. Raises VolumeExists.
    """

    def __init__(self, repository: FileRepository, uuid: str, *, held: bool) -> None:
        self._repository = repository
        self._uuid = uuid
        self._lock = nullcontext() if held else repository.changing

    async def __aenter__(self) -> None:
        async with self._lock:
            await self._repository.begin(self._uuid)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        async with Undo() as undo:  # which a second cancel does not stop
            undo.add(self._abandon, silent=issubclass(kind, StorageTimeout))

    async def _abandon(self, *, silent: bool) -> None:
        async with self._lock:
            await self._repository.abandon(self._uuid, silent=silent)


def _part(progress: Progress, done: int) -> Progress:
    """Progress of one more of an unknown number of steps: each takes half of what is left."""
    return lambda fraction: progress(1 - 0.5**done * (1 - fraction / 2))
