"""An attached volume group as an SR: the states of its disks, and who uses them on this host."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

import structlog

from . import qemu_img
from .blocking import Threads
from .driver import (
    Access,
    BackendFailure,
    NewVolume,
    NoSpace,
    Progress,
    RepositoryNotEmpty,
    ShrinkRefused,
    Space,
    StorageError,
    Volume,
    VolumeExists,
    VolumeInUse,
    VolumeLabel,
    VolumeMissing,
)
from .lvm_commands import LogicalVolume
from .lvm_published import Published
from .lvm_tags import LABEL, RETIRED, STAGED, USED, kept, label_tags, read_label
from .pool_plan import aligned
from .sparse import fill_device
from .volume_group import (
    VolumeGroup,
    as_volume,
    check_pool,
    disk_name,
    disk_uuid,
)

log = structlog.get_logger()

GUARD_S = 2.0
RESERVE = 32
"""A copy ends when less than one part in this many of the pool is free: guests write there too."""
NEARLY_FULL = 0.9
FULL = frozenset({errno.ENOSPC, errno.EIO})

Freed = Callable[[bool], Awaitable[None]]


async def nothing_more(_idle: bool) -> None:
    """For groups whose devices stay where they are."""


class LvmRepository:
    """Implements `Repository`. host: what this host calls itself in the group's tags.

    freed: awaited when the group was let go of, and told whether none of its disks is in use.
    """

    def __init__(
        self, group: VolumeGroup, host: str, threads: Threads, freed: Freed = nothing_more
    ) -> None:
        self._group = group
        self._host = host
        self._threads = threads
        self._freed = freed
        self._changing = asyncio.Lock()  # one queue for each group
        self._active: Counter[str] = Counter()
        self._in_flight: set[str] = set()
        self._published = Published(self._unmark)

    @property
    def served_by_qemu(self) -> bool:
        return False

    async def detach(self) -> None:
        await self._published.close()
        async with self._changing:
            try:
                await self._freed(await self._group.release(self._host))
            finally:
                self._close()

    def _close(self) -> None:
        self._threads.close()
        self._group.close()

    async def destroy(self) -> None:
        left = await self.scan(())
        await self._published.close()
        async with self._changing:
            if left or self._in_flight or await self._group.holds_others():
                raise RepositoryNotEmpty(f"{self._group.name} still holds disks")
            try:
                await self._group.remove()
                await self._freed(True)
            finally:
                self._close()

    async def stat(self) -> Space:
        use = await self._group.use()
        if use.failed or use.metadata > NEARLY_FULL or use.used > NEARLY_FULL * use.total:
            log.warning(
                "thin pool nearly full",
                group=self._group.name,
                used=use.used,
                total=use.total,
                metadata=round(use.metadata, 3),
                takes_writes=not use.failed,
            )
        return Space(use.total, use.used)

    async def locate(self, uuid: str) -> str:
        return disk_name(uuid)

    async def reclaimable(self) -> bool:
        return False

    async def reclaim(self, progress: Progress) -> None:
        """The pool has the space of a volume back as soon as that is purged."""

    # The set of volumes

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        async with self._changing:
            await self._group.grow()
            found = await self._group.volumes(afresh=True)
            for location, each in found.items():
                if each.suspended:
                    log.warning("suspended disk goes on", group=self._group.name, disk=location)
                    await self._group.wake(location)
            await self._settle(found, frozenset(known))
            mapped = await self._group.mapped(found)
        live = (each for each in found.values() if not self._unfinished(each))
        return [as_volume(each, mapped.get(each.name)) for each in live]

    async def _settle(self, found: dict[str, LogicalVolume], known: frozenset[str]) -> None:
        """Finish or take back what an earlier instance began; `found` becomes what is then."""
        gone: list[str] = []
        idle: list[str] = []
        for location, each in list(found.items()):
            state = self._unfinished(each)
            if disk_uuid(location) in self._in_flight:
                continue
            if state and location in known:
                log.info("disk recovered", group=self._group.name, disk=location)
                await self._group.retag(location, drop=state)
                found[location] = (await self._group.volumes())[location]
            elif state and not each.open:
                log.info("half-made disk removed", group=self._group.name, disk=location)
                gone.append(location)
                del found[location]
            if each.active and not each.open and not self._active[location]:
                idle.append(location)
        await self._group.deactivate(*(location for location in idle if location not in gone))
        await self._group.remove_disk(*gone)

    def _unfinished(self, each: LogicalVolume) -> set[str]:
        """The tags that say that a disk is half made or half gone."""
        over = {STAGED} if each.name in self._published else set()
        return ({STAGED, RETIRED} & each.tags) - over

    async def look(self, location: str) -> Volume:
        return await self._as_volume(await self._live(location))

    async def _as_volume(self, each: LogicalVolume) -> Volume:
        return as_volume(each, (await self._group.mapped((each.name,))).get(each.name))

    async def create(self, new: NewVolume) -> Volume:
        location, size = disk_name(new.uuid), aligned(new.size)
        async with self._changing:
            check_pool(await self._group.use(), size)
            async with _Staging(self, new.uuid):
                tags = (STAGED, *label_tags(new.label))
                await self._group.create(location, size, tags)
        return Volume(new.uuid, location, size, 0, kept(new.label))

    async def clone(self, location: str, new: NewVolume, progress: Progress) -> Volume:
        twin, size = disk_name(new.uuid), aligned(new.size)
        async with self._changing:
            check_pool(await self._group.use(), size)
            original = await self._live(location)
            used = (await self._as_volume(original)).physical_utilisation
            async with _Staging(self, new.uuid):
                tags = (STAGED, f"{USED}{used}", *label_tags(new.label))
                await self._group.snapshot(original, twin, tags)
                if size > original.size:
                    await self._group.extend(twin, size)
        progress(1.0)
        return Volume(new.uuid, twin, max(size, original.size), used, kept(new.label))

    async def copy(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        volume = await self.create(new)
        async with _Staging(self, new.uuid, staged=True):
            async with self._changing:
                await self._group.activate(volume.location)
            await self._guarded(self._fill(source, volume, progress), new.size)
            async with self._changing:
                await self._put_to_rest(volume.location)
                return as_volume(await self._found(volume.location), None)

    async def publish(self, location: str) -> None:
        async with self._changing:
            if STAGED in (await self._found(location)).tags:
                self._published.add(location)
            self._in_flight.discard(disk_uuid(location))

    async def _unmark(self, locations: Collection[str]) -> None:
        """Drop the mark of disks that were published, all in one program."""
        async with self._changing:
            found = await self._group.volumes()
            marked = [each for each in locations if each in found and STAGED in found[each].tags]
            await self._group.retag(*marked, drop=(STAGED,))

    async def retire(self, location: str) -> None:
        async with self._changing:
            each = await self._found(location)
            if self._active[location] or each.open:
                raise VolumeInUse(location)
            self._in_flight.add(disk_uuid(location))
            try:
                await self._group.retag(location, add=(RETIRED,), drop=(STAGED,))
            except BaseException:
                with suppress(StorageError):
                    await self._retag(location, drop=RETIRED)
                self._in_flight.discard(disk_uuid(location))
                raise

    async def reinstate(self, location: str) -> None:
        async with self._changing:
            await self._retag(location, drop=RETIRED)
            self._in_flight.discard(disk_uuid(location))

    async def purge(self, location: str) -> None:
        async with self._changing:
            await self._purge(location)

    async def _purge(self, location: str) -> None:
        try:
            each = await self._group.find(location)
            if each is not None and self._unfinished(each):
                await self._group.remove_disk(location)
        finally:
            self._in_flight.discard(disk_uuid(location))

    async def _retag(self, location: str, drop: str) -> None:
        if drop in (await self._found(location)).tags:
            await self._group.retag(location, drop=(drop,))

    # One volume

    async def resize(self, location: str, size: int) -> Volume:
        size = aligned(size)
        async with self._changing:
            each = await self._live(location)
            if size < each.size:
                raise ShrinkRefused(location, each.size)
            if size > each.size:
                await self._group.extend(location, size)
        return await self.look(location)

    async def describe(self, location: str, label: VolumeLabel) -> None:
        async with self._changing:
            each = await self._live(location)
            if read_label(each.tags) == kept(label):
                return
            new = set(label_tags(label))
            old = {tag for tag in each.tags if tag.startswith(LABEL)}
            await self._group.retag(location, add=sorted(new - old), drop=sorted(old - new))

    async def activate(self, location: str, *, writable: bool) -> Access:
        disk_uuid(location)
        async with self._changing:
            if not self._active[location]:
                await self._live(location)
                await self._group.activate(location)
            self._active[location] += 1
        return Access(self._group.path(location), direct_io_safe=True)

    async def deactivate(self, location: str) -> None:
        async with self._changing:
            self._active[location] -= 1
            if self._active[location] > 0:
                return
            del self._active[location]
            try:
                await self._put_to_rest(location)
            except BackendFailure as error:
                # A backend may keep it open a moment longer; the next scan tries again.
                log.warning("disk stays active", disk=location, error=str(error))

    async def _put_to_rest(self, location: str) -> None:
        """Remember how much a disk takes, which only an active one tells, and deactivate it."""
        each = await self._found(location)
        if not each.active:
            return
        mapped = (await self._group.mapped((location,))).get(location, 0)
        tag, old = f"{USED}{mapped}", {tag for tag in each.tags if tag.startswith(USED)}
        if old != {tag}:
            await self._group.retag(location, add=(tag,), drop=old - {tag})
        await self._group.deactivate(location)

    async def _found(self, location: str) -> LogicalVolume:
        disk_uuid(location)
        each = await self._group.find(location)
        if each is None:
            raise VolumeMissing(location)
        return each

    async def _live(self, location: str) -> LogicalVolume:
        each = await self._found(location)
        if RETIRED in each.tags:
            raise VolumeMissing(location)
        return each

    # Copies

    async def _fill(self, source: Access, volume: Volume, progress: Progress) -> None:
        target = self._group.path(volume.location)
        size = volume.virtual_size
        if source.format != "raw":
            await qemu_img.convert_onto(source.path, source.format, target, size, progress)
            return
        await self._threads.run_long(
            fill_device, progress, source.path, target, volume.virtual_size
        )

    async def _guarded(self, work: Awaitable[None], size: int) -> None:
        """Let a copy run as long as it leaves guests room to write. Raises NoSpace."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait((task,), timeout=GUARD_S))[0]:
                space = await self._group.space()
                if space.free < space.total // RESERVE:
                    raise NoSpace(size, space.free)
            await task
        except OSError as error:
            if error.errno not in FULL:
                raise BackendFailure(f"cannot copy: {error.strerror}") from error
            space = await self._group.space()
            if error.errno == errno.EIO and space.free > space.total // RESERVE:
                raise BackendFailure("cannot copy: the device failed") from error
            raise NoSpace(size, space.free) from error
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    async def begin(self, uuid: str) -> None:
        """Take a uuid for a volume that is being staged. Raises VolumeExists."""
        location = disk_name(uuid)
        if uuid in self._in_flight or await self._group.find(location) is not None:
            raise VolumeExists(location)
        self._in_flight.add(uuid)

    async def abandon(self, location: str, *, held: bool) -> None:
        """Remove what was staged. What cannot be removed now, the next scan removes."""
        try:
            if held:
                await self._purge(location)
            else:
                await self.purge(location)
        except StorageError as error:
            log.warning("half-made disk stays until the next scan", disk=location, why=str(error))


class _Staging:
    """A block that stages a volume: leaving it by an error leaves nothing of the volume.

    staged: it is staged already, and the caller has let go of the queue.
    """

    def __init__(self, repository: LvmRepository, uuid: str, *, staged: bool = False) -> None:
        self._repository = repository
        self._uuid = uuid
        self._staged = staged

    async def __aenter__(self) -> None:
        if not self._staged:
            await self._repository.begin(self._uuid)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self._repository.abandon(disk_name(self._uuid), held=not self._staged)
