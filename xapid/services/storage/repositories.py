"""The SRs that are attached to this host, and their records, kept equal to what storage holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from ...datamodel.declare import Field, Ref
from ...datamodel.enums import VdiType
from ...datamodel.errors import DBUniquenessConstraintViolation, SRNotAttached
from ...datamodel.pbd import PBD
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...db.store import Store
from ...db.transaction import Applied, Transaction
from ...storage.driver import Repository, Space, StorageError, Volume, VolumeLabel
from .failures import storage_errors
from .kinds import StorageKinds

T = TypeVar("T")

log = structlog.get_logger(__name__)

BATCH: Final = 100
"""Disks that are looked at while nobody else is heard."""


def label_of(vdi: VDI) -> VolumeLabel:
    """What storage is to remember of a disk."""
    return VolumeLabel(
        vdi.name_label, vdi.name_description, str(vdi.type), vdi.read_only, vdi.sharable
    )


def create_record(tx: Transaction, values: dict[Field[Any], Any], uuid: str) -> Ref[VDI]:
    """The record of a disk, which counts for its SR. Raises DBUniquenessConstraintViolation."""
    vdi = tx.create(VDI, values, uuid=uuid)
    _allocate(tx, tx.get(vdi).SR, tx.get(vdi).virtual_size)
    return vdi


def destroy_record(tx: Transaction, vdi: Ref[VDI]) -> None:
    """Remove a disk's record; what hangs on it is refused as ever."""
    record = tx.get(vdi)
    _allocate(tx, record.SR, -record.virtual_size)
    tx.destroy(vdi)


def record_size(tx: Transaction, vdi: Ref[VDI], volume: Volume) -> None:
    """Write down how large a disk is."""
    record = tx.get(vdi)
    _allocate(tx, record.SR, volume.virtual_size - record.virtual_size)
    tx.set(vdi, VDI.virtual_size, volume.virtual_size)
    tx.set(vdi, VDI.physical_utilisation, volume.physical_utilisation)


def _allocate(tx: Transaction, sr: Ref[SR], by: int) -> None:
    """The sum of all disks of an SR is kept with each of them: adding them up takes too long."""
    if by:
        tx.set(sr, SR.virtual_allocation, tx.get(sr).virtual_allocation + by)


class Repositories:
    """Attached SRs by reference."""

    def __init__(self, store: Store, kinds: StorageKinds) -> None:
        self._store = store
        self._kinds = kinds
        self._attached: dict[str, Repository] = {}
        self._on_attached: list[Callable[[Ref[SR]], Awaitable[None]]] = []
        self._on_loosened: list[Callable[[Ref[SR]], None]] = []

    def on_attached(self, listener: Callable[[Ref[SR]], Awaitable[None]]) -> None:
        """Await `listener` with each SR as soon as it is attached, before anybody else uses it.

        It hears again of an SR in which a disk that was missing is found.
        """
        self._on_attached.append(listener)

    def on_loosened(self, listener: Callable[[Ref[SR]], None]) -> None:
        """Call `listener` with each SR in which a disk was let go, or which was scanned."""
        self._on_loosened.append(listener)

    def loosened(self, sr: Ref[SR]) -> None:
        """Something of the SR was let go."""
        for listener in self._on_loosened:
            listener(sr)

    def get(self, sr: Ref[SR]) -> Repository:
        """The SR, attached. Raises SR_NOT_ATTACHED."""
        try:
            return self._attached[sr]
        except KeyError:
            raise SRNotAttached(sr) from None

    def find(self, sr: Ref[SR]) -> Repository | None:
        return self._attached.get(sr)

    @property
    def served_by_qemu(self) -> bool:
        """Whether guests get the disks of any attached SR through a qemu."""
        return any(repository.served_by_qemu for repository in self._attached.values())

    def attached(self) -> list[Ref[SR]]:
        """The SRs that are attached now."""
        return [Ref(sr) for sr in self._attached]

    async def attach(self, pbd: PBD) -> None:
        """Attach a PBD's SR to this host. Raises SR_UNKNOWN_DRIVER, SR_BACKEND_FAILURE ..."""
        sr = self._store.get(pbd.SR)
        driver = self._kinds.get(sr.type)
        with storage_errors(sr.ref):
            driver.check(pbd.device_config)
            self._attached[sr.ref] = await driver.attach(sr.uuid, pbd.device_config)
        await self._tell_attached(sr.ref)

    async def _tell_attached(self, sr: Ref[SR]) -> None:
        for listener in self._on_attached:
            await listener(sr)

    async def record_attached(self, pbd: Ref[PBD], *, attached: bool) -> None:
        """Record that an SR is attached and is to be, or neither."""
        async with self._store.transaction() as tx:
            tx.set(pbd, PBD.currently_attached, attached)
            tx.set(pbd, PBD.attach_wanted, attached)

    async def detach(self, sr: Ref[SR]) -> None:
        """Let go of an SR; nothing happens when it is not attached."""
        repository = self._attached.pop(sr, None)
        if repository is not None:
            with storage_errors(sr):
                await repository.detach()

    async def close(self) -> None:
        """Let go of all SRs, at the daemon's end; guests keep their disks."""
        for sr in tuple(self._attached):
            try:
                await self.detach(Ref(sr))
            except Exception:
                log.exception("storage not detached", sr=sr)

    async def scan(self, sr: Ref[SR]) -> None:
        """Make the VDI records and the sizes of an SR what its storage holds.

        Others are heard between some disks and the next: what they change meanwhile stays.
        """
        repository = self.get(sr)
        before = {vdi.location for vdi in self._disks(sr)}
        with storage_errors(sr):
            volumes = await repository.scan(before)
            space = await repository.stat()
        found = {volume.location: volume for volume in volumes}
        known = self._disks(sr)
        # What was known before and is not now was destroyed while the scan went on.
        new = sorted(found.keys() - before - {vdi.location for vdi in known})
        back = False
        for disks in _batches(known):
            back |= await self._record_known(disks, found, before)
        await self._introduce_all(sr, {vdi.ref for vdi in known}, [found[each] for each in new])
        async with self._store.transaction() as tx:
            sizes = (tx.get(vdi).virtual_size for vdi in tx.get(sr).VDIs)
            tx.set(sr, SR.virtual_allocation, sum(sizes))
            _record_space(tx, sr, space)
        if back:
            await self._tell_attached(sr)
        for disks in _batches(self._disks(sr)):
            await self._describe_all(disks, found)
        self.loosened(sr)

    async def measure(self, sr: Ref[SR]) -> None:
        """Bring the sizes of an SR up to date; what fails is logged, the next scan repeats it."""
        repository = self.find(sr)
        if repository is None or self._store.find(SR, sr) is None:
            return
        try:
            space = await repository.stat()
            async with self._store.transaction() as tx:
                _record_space(tx, sr, space)
        except StorageError as error:
            log.warning("sizes not known", sr=self._store.get(sr).name_label, error=str(error))

    async def refresh(self, vdi: Ref[VDI]) -> None:
        """Record how much space a disk takes after a guest wrote to it; as `measure` otherwise."""
        record = self._store.find(VDI, vdi)
        repository = None if record is None else self.find(record.SR)
        if record is None or repository is None:
            return
        try:
            volume = await repository.look(record.location)
            async with self._store.transaction() as tx:
                if tx.find(VDI, vdi) is not None:
                    record_size(tx, vdi, volume)
        except StorageError as error:
            log.warning("disk's size not known", disk=record.name_label, error=str(error))
        await self.measure(record.SR)

    async def describe(self, vdi: Ref[VDI]) -> None:
        """Let storage remember a disk's names; what fails is logged, the next scan repeats it."""
        record = self._store.get(vdi)
        repository = self.find(record.SR)
        if repository is None or record.missing:
            return
        try:
            await repository.describe(record.location, label_of(record))
        except StorageError as error:
            log.warning("disk's label not kept", disk=record.name_label, error=str(error))

    def _disks(self, sr: Ref[SR]) -> list[VDI]:
        return [self._store.get(vdi) for vdi in self._store.get(sr).VDIs]

    async def _record_known(
        self, disks: Sequence[VDI], found: Mapping[str, Volume], before: Collection[str]
    ) -> bool:
        """Record what was found of disks that are known; whether one is back that was missing."""
        changed: list[tuple[VDI, Volume | None]] = []
        for vdi in disks:
            volume = found.get(vdi.location)
            if volume is not None and (vdi.missing or not _has_size(vdi, volume)):
                changed.append((vdi, volume))
            elif volume is None and vdi.location in before and not vdi.missing:
                changed.append((vdi, None))
        await asyncio.sleep(0)
        if not changed:
            return False
        back = False
        async with self._store.transaction() as tx:
            for vdi, volume in changed:
                if tx.find(VDI, vdi.ref) is not vdi:
                    continue  # whoever changed it since the scan knows better
                if volume is not None:
                    record_size(tx, vdi.ref, volume)
                    back |= vdi.missing
                else:
                    log.warning("disk vanished", disk=vdi.name_label, location=vdi.location)
                tx.set(vdi.ref, VDI.missing, volume is None)
        return back

    async def _introduce_all(
        self, sr: Ref[SR], seen: set[Ref[VDI]], volumes: Sequence[Volume]
    ) -> None:
        """Record disks that nobody knows; seen: records that are none of theirs."""
        taken: set[str] = set()

        def introduce(some: Sequence[Volume], tx: Transaction) -> None:
            fresh = [ref for ref in tx.get(sr).VDIs if ref not in seen]
            seen.update(fresh)
            taken.update(tx.get(ref).location for ref in fresh)
            for volume in some:
                if volume.location not in taken:
                    self._introduce(tx, sr, volume)

        written: list[Applied | None] = []
        for some in _batches(volumes):  # none waits until the one before is on disk
            written.append(self._store.change(partial(introduce, some)))
            await asyncio.sleep(0)
        for applied in filter(None, written):
            await self._store.settled(applied)

    async def _describe_all(self, disks: Sequence[VDI], found: Mapping[str, Volume]) -> None:
        """Let storage remember the names that it does not."""
        for vdi in disks:
            volume = found.get(vdi.location)
            if volume is not None and (volume.label or VolumeLabel()) != label_of(vdi):
                await self.describe(vdi.ref)
        await asyncio.sleep(0)

    def _introduce(self, tx: Transaction, sr: Ref[SR], volume: Volume) -> None:
        label = volume.label or VolumeLabel()
        kinds = {str(kind): kind for kind in VdiType}
        values: dict[Field[Any], Any] = {
            VDI.SR: sr,
            VDI.name_label: label.name,
            VDI.name_description: label.description,
            VDI.type: kinds.get(label.kind, VdiType.USER),
            VDI.read_only: label.read_only,
            VDI.sharable: label.sharable,
            VDI.location: volume.location,
            VDI.virtual_size: volume.virtual_size,
            VDI.physical_utilisation: volume.physical_utilisation,
        }
        try:
            create_record(tx, values, volume.uuid)
        except DBUniquenessConstraintViolation:
            log.warning("disk not introduced: its uuid is taken", location=volume.location)


def _record_space(tx: Transaction, sr: Ref[SR], space: Space) -> None:
    tx.set(sr, SR.physical_size, space.total)
    tx.set(sr, SR.physical_utilisation, space.used)


def _has_size(vdi: VDI, volume: Volume) -> bool:
    return (vdi.virtual_size, vdi.physical_utilisation) == (
        volume.virtual_size,
        volume.physical_utilisation,
    )


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, some at a time."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
