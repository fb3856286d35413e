"""Disks for domains and for the daemon: activation, leases, and what a domain is told to open."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import DomainType, VbdMode, VbdType, VdiOperations
from ...datamodel.errors import (
    ApiError,
    DiskVBDMustBeReadwriteForHVM,
    OtherOperationInProgress,
    VDIInUse,
    VDIMissing,
    VDINotManaged,
    VDIReadonly,
)
from ...datamodel.host import Host
from ...datamodel.pbd import PBD
from ...datamodel.sr import SR
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...db.store import Store
from ...storage.driver import Access
from ...undo import Undo
from ...xen.devices import WITH_DOMAIN
from ...xen.plan import BackendDisk, device_index, domain_type, vdev
from ..ports import Call
from .failures import storage_errors
from .leases import Lease, Leases
from .repositories import Repositories
from .rules import READERS
from .volumes import Volumes

log = structlog.get_logger(__name__)

IDE_DISKS = 4
"""The first disks of an HVM guest are also IDE drives, which qemu cannot make read-only."""


@dataclass
class Held:
    """A disk that is active for somebody."""

    lease: Lease
    access: Access


@dataclass
class DiskService:
    """Implements `ports.Disks`."""

    store: Store
    repositories: Repositories
    volumes: Volumes
    leases: Leases
    host: Ref[Host]
    _held: dict[str, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repositories.on_attached(self._hold_for_guests)

    @property
    def served_by_qemu(self) -> bool:
        return self.repositories.served_by_qemu

    async def restore(self) -> None:
        """At the daemon's start: plug again what was plugged, and hold again what domains hold.

        What fails is logged, and leaves its PBD unplugged but wanted.
        """
        plugged = [
            pbd
            for pbd in self.store.all(PBD)
            if pbd.host == self.host and (pbd.currently_attached or pbd.attach_wanted)
        ]
        # All at once, so that one server that does not answer delays no other storage.
        await asyncio.gather(*map(self._replug, plugged))
        for vdi in self.store.all(VDI):
            await self._record_lock(vdi.ref, *vdi.VBDs)

    async def _replug(self, pbd: PBD) -> None:
        name = self.store.get(pbd.SR).name_label
        try:
            await self.repositories.attach(pbd)
            await self.repositories.scan(pbd.SR)
            await self.repositories.record_attached(pbd.ref, attached=True)
        except ApiError as error:
            log.error("storage not attached; it is tried again", sr=name, error=str(error))
            await self.repositories.detach(pbd.SR)
            await self.repositories.record_attached(pbd.ref, attached=False)
            await self.store.set(pbd.ref, PBD.attach_wanted, True)

    async def _hold_for_guests(self, sr: Ref[SR]) -> None:
        """Hold what running guests have of an SR that was not attached; what fails is logged.

        Nothing may be done to their disks before, so this comes first.
        """
        for vbd in [ref for vdi in self.store.get(sr).VDIs for ref in self.store.get(vdi).VBDs]:
            record = self.store.get(vbd)
            vm = self.store.get(record.VM)
            if vm.power_state in WITH_DOMAIN and record.currently_attached:
                try:
                    await self.attach(vbd)
                except ApiError as error:
                    log.error("disk of a running guest not held", vbd=vbd, error=str(error))

    async def stop(self) -> None:
        """At the daemon's end: let go of the SRs; what domains have open stays open."""
        await self.repositories.close()

    async def attach(self, vbd: Ref[VBD]) -> BackendDisk:
        """Make the VBD's disk usable by a domain and hold it for that VBD.

        An empty drive gives format "empty". Doing it again gives the same.
        Raises VDI_IN_USE, VDI_READONLY, VDI_MISSING, SR_NOT_ATTACHED ...
        """
        record = self.store.get(vbd)
        kind = domain_type(self.store.get(record.VM))
        is_cd = record.type is VbdType.CD
        device = self.device_of(record)
        if record.empty or record.VDI == NULL:
            return await self._plugged(vbd, device, BackendDisk("", "empty", "qdisk"))
        writer = record.mode is VbdMode.RW and not is_cd
        if not writer and not is_cd and kind is DomainType.HVM:
            _check_read_only_disk(record)
        access = await self._hold(record.VDI, vbd, "attach", writer=writer)
        form, backend = access.format, access.backend
        if is_cd and kind is DomainType.HVM:
            backend = "qdisk"  # libxl serves the drives of a guest with a device model so alone
        elif form == "qcow2" and not writer:
            # A device model opens it for writing all the same, and fails: block-xapid serves it.
            form, backend = "raw", "phy"
        disk = BackendDisk(access.path, form, backend, access.direct_io_safe)
        return await self._plugged(vbd, device, disk)

    async def _plugged(self, vbd: Ref[VBD], device: str, disk: BackendDisk) -> BackendDisk:
        """Record what a VBD is in its domain."""
        async with self.store.transaction() as tx:
            tx.set(vbd, VBD.device, device)
            properties = {"backend": disk.backend, "format": disk.format}
            tx.set(vbd, VBD.runtime_properties, properties)
        return disk

    async def detach(self, vbd: Ref[VBD]) -> None:
        """Let go of the VBD's disk; nothing happens when it is not held."""
        await self._release(vbd)
        record = self.store.find(VBD, vbd)
        if record is not None and record.runtime_properties:
            await self.store.set(vbd, VBD.runtime_properties, {})

    def device_of(self, record: VBD) -> str:
        """The name that a guest knows the device by. Raises INVALID_VALUE."""
        kind = domain_type(self.store.get(record.VM))
        return vdev(record.userdevice, kind, is_cd=record.type is VbdType.CD)

    def check_attachable(self, vbd: Ref[VBD], vdi: Ref[VDI]) -> None:
        """Check that `attach` would be granted now. Raises as it does."""
        record = self.store.get(vbd)
        writer = record.mode is VbdMode.RW and record.type is not VbdType.CD
        self.repositories.get(self.store.get(vdi).SR)
        self._check_disk(vdi, vbd, writer=writer)
        lease = self.leases.take(vdi, f"check {vbd}", "attach", writer=writer)
        self.leases.release(lease)

    async def open(self, vdi: Ref[VDI]) -> Path:
        """Hold a disk for the daemon itself, writable: the path of a file or block device."""
        access = await self._hold(vdi, f"open {vdi}", "open", writer=True)
        return Path(access.path)

    async def close(self, vdi: Ref[VDI]) -> None:
        """Let go of what `open` held."""
        await self._release(f"open {vdi}")

    async def create(
        self, call: Call, sr: Ref[SR], size: int, label: str, kind: enum.StrEnum
    ) -> Ref[VDI]:
        """A new disk of at least `size` bytes and of the vdi_type `kind`."""
        return await self.volumes.create(call, sr, size, {VDI.name_label: label, VDI.type: kind})

    async def copy(self, call: Call, vdi: Ref[VDI], sr: Ref[SR]) -> Ref[VDI]:
        """A full copy of a disk that nobody writes to; `call` gets the progress."""
        return await self.volumes.copy(call, vdi, sr)

    async def clone(self, call: Call, vdi: Ref[VDI]) -> Ref[VDI]:
        """A disk with the same content in the same SR, as cheaply as its driver can."""
        return await self.volumes.clone(call, vdi, VdiOperations.CLONE, {})

    async def destroy(self, call: Call, vdi: Ref[VDI]) -> None:
        """Delete a disk that nobody uses."""
        await self.volumes.destroy(call, vdi)

    async def _hold(self, vdi: Ref[VDI], holder: str, purpose: str, *, writer: bool) -> Access:
        held = self._held.get(holder)
        if held is not None and held.lease.vdi == vdi and held.lease.writer == writer:
            return held.access
        if held is not None:
            await self._release(holder)
        record = self.store.get(vdi)
        repository = self.repositories.get(record.SR)
        self._check_disk(vdi, holder, writer=writer)
        async with Undo() as undo:
            lease = self.leases.take(vdi, holder, purpose, writer=writer, sharable=record.sharable)
            undo.add(self._give_back, lease)
            with storage_errors(record.SR, vdi):
                access = await repository.activate(record.location, writable=writer)
                undo.add(repository.deactivate, record.location)
            self._held[holder] = Held(lease, access)
            undo.add(self._forget, holder)
            await self._record_lock(vdi, holder)
            undo.commit()
        return access

    async def _give_back(self, lease: Lease) -> None:
        self.leases.release(lease)

    async def _forget(self, holder: str) -> None:
        self._held.pop(holder, None)

    async def _release(self, holder: str) -> None:
        held = self._held.pop(holder, None)
        if held is None:
            return
        self.leases.release(held.lease)
        vdi = self.store.find(VDI, held.lease.vdi)
        if vdi is None:
            return
        repository = self.repositories.find(vdi.SR)
        if repository is not None:
            with storage_errors(vdi.SR, vdi.ref):
                await repository.deactivate(vdi.location)
            self.repositories.loosened(vdi.SR)
        await self._record_lock(vdi.ref, holder)
        if held.lease.writer:
            await self.repositories.refresh(vdi.ref)

    async def _record_lock(self, vdi: Ref[VDI], *holders: str) -> None:
        """storage_lock says whether somebody may write to the disk, and whether a VBD may."""
        written = self.leases.written(vdi)
        async with self.store.transaction() as tx:
            if tx.get(vdi).storage_lock != written:
                tx.set(vdi, VDI.storage_lock, written)
            for holder in holders:
                vbd = tx.find(VBD, Ref(holder))
                writer = self.leases.writes(vdi, holder)
                if vbd is not None and vbd.storage_lock != writer:
                    tx.set(vbd.ref, VBD.storage_lock, writer)

    def _check_disk(self, vdi: Ref[VDI], holder: str, *, writer: bool) -> None:
        record = self.store.get(vdi)
        if record.missing:
            raise VDIMissing(record.SR, vdi)
        if not record.managed:
            raise VDINotManaged(vdi)
        if writer and record.read_only:
            raise VDIReadonly(vdi)
        for task, running in record.current_operations.items():
            if writer or running not in READERS:
                raise OtherOperationInProgress("VDI", vdi, running, task)
        if record.sharable:
            return
        # A suspended guest has no lease, yet its disks are its own until it has resumed.
        for other in map(self.store.get, record.VBDs):
            conflict = writer or other.mode is VbdMode.RW
            if other.ref != holder and other.currently_attached and conflict:
                raise VDIInUse(vdi, "attach")


def _check_read_only_disk(vbd: VBD) -> None:
    if device_index(vbd.userdevice) < IDE_DISKS:
        raise DiskVBDMustBeReadwriteForHVM(vbd.ref)
