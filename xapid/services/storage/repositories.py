"""The SRs that are attached to this host, and their records, kept equal to what storage holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from ...datamodel.declare import Field, Ref
from ...datamodel.enums import VdiType
from ...datamodel.errors import DBUniquenessConstraintViolation, SRNotAttached
from ...datamodel.pbd import PBD
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...db.store import Store
from ...db.transaction import Transaction
from ...storage.driver import Repository, Space, StorageError, Volume, VolumeLabel
from .failures import storage_errors
from .kinds import StorageKinds

log = structlog.get_logger(__name__)


def label_of(vdi: VDI) -> VolumeLabel:
    """What storage is to remember of a disk."""
    return VolumeLabel(
        vdi.name_label, vdi.name_description, str(vdi.type), vdi.read_only, vdi.sharable
    )


def record_size(tx: Transaction, vdi: Ref[VDI], volume: Volume) -> None:
    """Write down how large a disk is."""
    tx.set(vdi, VDI.virtual_size, volume.virtual_size)
    tx.set(vdi, VDI.physical_utilisation, volume.physical_utilisation)


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
        """Make the VDI records and the sizes of an SR what its storage holds."""
        repository = self.get(sr)
        before = {vdi.location for vdi in self._disks(sr)}
        missing = {vdi.ref for vdi in self._disks(sr) if vdi.missing}
        with storage_errors(sr):
            volumes = await repository.scan(before)
            space = await repository.stat()
        async with self._store.transaction() as tx:
            self._record_volumes(tx, sr, volumes, before)
            self._record_sizes(tx, sr, space)
        if any(vdi.ref in missing and not vdi.missing for vdi in self._disks(sr)):
            await self._tell_attached(sr)
        labels = {volume.location: volume.label for volume in volumes}
        for vdi in self._disks(sr):
            if vdi.location in labels and labels[vdi.location] != label_of(vdi):
                await self.describe(vdi.ref)
        self.loosened(sr)

    async def measure(self, sr: Ref[SR]) -> None:
        """Bring the sizes of an SR up to date; what fails is logged, the next scan repeats it."""
        repository = self.find(sr)
        if repository is None or self._store.find(SR, sr) is None:
            return
        try:
            space = await repository.stat()
            async with self._store.transaction() as tx:
                self._record_sizes(tx, sr, space)
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

    def _record_volumes(
        self, tx: Transaction, sr: Ref[SR], volumes: Sequence[Volume], before: set[str]
    ) -> None:
        found = {volume.location: volume for volume in volumes}
        known = set(before)
        for ref in tx.get(sr).VDIs:
            vdi = tx.get(ref)
            known.add(vdi.location)
            volume = found.get(vdi.location)
            if volume is not None:
                record_size(tx, ref, volume)
                tx.set(ref, VDI.missing, False)
            elif vdi.location in before and not vdi.missing:
                log.warning("disk vanished", disk=vdi.name_label, location=vdi.location)
                tx.set(ref, VDI.missing, True)
        # What was known before and is not now was destroyed while the scan went on.
        for location in sorted(found.keys() - known):
            self._introduce(tx, sr, found[location])

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
            tx.create(VDI, values, uuid=volume.uuid)
        except DBUniquenessConstraintViolation:
            log.warning("disk not introduced: its uuid is taken", location=volume.location)

    def _record_sizes(self, tx: Transaction, sr: Ref[SR], space: Space) -> None:
        disks = (tx.get(vdi) for vdi in tx.get(sr).VDIs)
        tx.set(sr, SR.physical_size, space.total)
        tx.set(sr, SR.physical_utilisation, space.used)
        tx.set(sr, SR.virtual_allocation, sum(vdi.virtual_size for vdi in disks))
