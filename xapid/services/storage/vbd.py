"""Virtual block devices: disks and drives of VMs, plugged into running guests and out of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...datamodel.declare import NULL, Field, Ref
from ...datamodel.enums import DomainType, VbdMode, VbdType
from ...datamodel.errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyExists,
    OperationNotAllowed,
    VBDCDsMustBeReadonly,
    VDIReadonly,
)
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store
from ...undo import Undo
from ...xen.client import XenClient
from ...xen.devices import WITH_DOMAIN, attaching, check_destroyable, check_domain, detach
from ...xen.errors import (
    XenDomainNotFound,
    XenError,
    XenNotFound,
)
from ...xen.plan import BackendDisk, domain_type, plan_disk
from ..ports import Call, Guests, Operations, checks, implements, overrides
from .devices import check_device, check_kind, check_qos, planned_vbd
from .disks import DiskService

WITHDRAW_WITHIN_S = 30.0
NO_DISC = BackendDisk("", "empty", "qdisk")
WITHOUT_MODEL = "device model required but not running"
"""What libxl says of a qcow2 disk for a running guest whose configuration needed no qemu."""


@dataclass
class VBDService:
    store: Store
    operations: Operations
    disks: DiskService
    guests: Guests
    xen: XenClient

    async def reconcile(self, vm: VM) -> None:
        """Record which of a VM's devices its domain really has, and hold them. Raises XenError."""
        paths = {
            disk.disk.get("vdev"): disk.disk.get("pdev_path")
            for disk in await self.xen.disk_list(vm.domid)
        }
        for record in map(self.store.get, vm.VBDs):
            device = self.disks.device_of(record)
            if record.empty:
                continue
            if record.currently_attached and device not in paths:
                await self._record_detached(record.ref)
            elif not record.currently_attached and device in paths:
                backend = await self.disks.attach(record.ref)
                if backend.path == paths[device]:
                    await self.store.set(record.ref, VBD.currently_attached, True)
                else:
                    await self.disks.detach(record.ref)

    @overrides("VBD.create")
    async def create(self, call: Call, values: Mapping[str, Any]) -> Ref[VBD]:
        """A device of a VM; a running one does not see it before it is plugged."""
        async with self.store.transaction() as tx:
            return tx.create(VBD, planned_vbd(tx, values))

    @overrides("VBD.destroy")
    async def destroy(self, call: Call, vbd: Ref[VBD]) -> None:
        async with self.store.transaction() as tx:
            record = tx.get(vbd)
            check_destroyable(record, tx.get(record.VM))
            tx.destroy(vbd)
            if record.metrics != NULL:
                tx.destroy(record.metrics)
            if record.VDI != NULL:
                tx.touch(record.VDI)

    @implements(VBD.plug)
    async def plug(self, call: Call, vbd: Ref[VBD]) -> None:
        """Give a running guest the disk."""
        async with self.operations.claim(call, vbd, VBD.plug) as record, Undo() as undo:
            domid = self.guests.domid(record.VM)
            backend = await self.disks.attach(vbd)
            undo.add(self.disks.detach, vbd)
            try:
                await self._add(vbd, domid, backend)
            except DeviceAlreadyAttached:
                raise  # the device of that name is somebody else's
            except BaseException:
                undo.add(self._withdraw, vbd, domid)  # it may be there although no answer came
                raise
            undo.add(self._withdraw, vbd, domid)
            async with self.store.transaction() as tx:
                check_domain(tx.get(record.VM), domid)
                tx.set(vbd, VBD.currently_attached, True)
            undo.commit()

    @implements(VBD.unplug)
    async def unplug(self, call: Call, vbd: Ref[VBD]) -> None:
        """Take the disk from a running guest once the guest lets go of it."""
        async with self.operations.claim(call, vbd, VBD.unplug):
            await self._unplug(vbd, force=False)

    @implements(VBD.unplug_force)
    async def unplug_force(self, call: Call, vbd: Ref[VBD]) -> None:
        """Take the disk from a running guest, which may lose what it had not written."""
        async with self.operations.claim(call, vbd, VBD.unplug_force):
            await self._unplug(vbd, force=True)

    async def _unplug(self, vbd: Ref[VBD], *, force: bool) -> None:
        await self._remove(vbd, self.guests.domid(self.store.get(vbd).VM), force=force)
        await self._record_detached(vbd)

    async def _record_detached(self, vbd: Ref[VBD]) -> None:
        async with self.store.transaction() as tx:
            tx.set(vbd, VBD.currently_attached, False)
            tx.set(vbd, VBD.device, "")
            tx.set(vbd, VBD.status_detail, "")
        await self.disks.detach(vbd)

    async def _add(self, vbd: Ref[VBD], domid: int, backend: BackendDisk) -> None:
        """Attach a disk to a domain.

        Raises DEVICE_ALREADY_ATTACHED, DEVICE_ATTACH_TIMEOUT, OPERATION_NOT_ALLOWED.
        """
        record = self.store.get(vbd)
        try:
            with attaching(record):
                await self.xen.disk_add(domid, plan_disk(record, backend, self._kind(record)))
        except XenError as error:
            if any(WITHOUT_MODEL in line for line in error.log):
                raise OperationNotAllowed(
                    "the guest started while no SR had disks that a qemu serves, so it has no "
                    "device model that could serve this one: start it anew"
                ) from error
            raise

    async def _remove(self, vbd: Ref[VBD], domid: int, *, force: bool) -> None:
        """Raises DEVICE_DETACH_TIMEOUT, DEVICE_DETACH_REJECTED."""
        record = self.store.get(vbd)
        device = record.device

        async def is_there() -> bool:
            disks = await self.xen.disk_list(domid)
            return any(disk.disk.get("vdev") == device for disk in disks)

        await detach(record, self.xen.disk_remove(domid, device, force=force), is_there)

    async def _withdraw(self, vbd: Ref[VBD], domid: int) -> None:
        """Take back a plug. A disk that cannot be taken back stays the domain's, in its record."""
        device = self.store.get(vbd).device
        try:
            async with asyncio.timeout(WITHDRAW_WITHIN_S):
                await self.xen.wait_available()
                await self.xen.disk_remove(domid, device, force=True)
        except (XenNotFound, XenDomainNotFound):
            return
        except (XenError, TimeoutError):
            detail = "the disk could not be taken back from the guest: unplug it"
            async with self.store.transaction() as tx:
                tx.set(vbd, VBD.currently_attached, True)
                tx.set(vbd, VBD.status_detail, detail)
            raise

    @implements(VBD.insert)
    async def insert(self, call: Call, vbd: Ref[VBD], vdi: Ref[VDI]) -> None:
        """Put a disc into an empty drive, also of a running guest."""
        async with self.operations.claim(call, vbd, VBD.insert) as record, Undo() as undo:
            check_kind(self.store.get(vdi))
            await self._set_medium(vbd, vdi)
            undo.add(self._set_medium, vbd, NULL)
            if self._seen_by_guest(record):
                backend = await self.disks.attach(vbd)
                undo.add(self.disks.detach, vbd)
                await self._change_medium(vbd, backend)
            undo.commit()

    @implements(VBD.eject)
    async def eject(self, call: Call, vbd: Ref[VBD]) -> None:
        """Take the disc out of a drive, also of a running guest."""
        async with self.operations.claim(call, vbd, VBD.eject) as record:
            if self._seen_by_guest(record):
                await self._change_medium(vbd, NO_DISC)
            await self._set_medium(vbd, NULL)
            await self.disks.detach(vbd)

    def _seen_by_guest(self, record: VBD) -> bool:
        """Whether a domain has the drive, even when it is empty."""
        in_domain = self.store.get(record.VM).power_state in WITH_DOMAIN
        return in_domain and record.currently_attached

    async def _change_medium(self, vbd: Ref[VBD], backend: BackendDisk) -> None:
        """HVM guests have a drive whose disc changes; for others the disc is the device."""
        record = self.store.get(vbd)
        domid = self.guests.domid(record.VM)
        if self._kind(record) is DomainType.HVM:
            with attaching(record):
                await self.xen.cdrom_insert(domid, plan_disk(record, backend, DomainType.HVM))
            return
        await self._remove(vbd, domid, force=False)
        if backend.format != "empty":
            await self._add(vbd, domid, backend)

    async def _set_medium(self, vbd: Ref[VBD], vdi: Ref[VDI]) -> None:
        async with self.store.transaction() as tx:
            before = tx.get(vbd).VDI
            tx.set(vbd, VBD.VDI, vdi)
            tx.set(vbd, VBD.empty, vdi == NULL)
            if before != NULL:
                tx.touch(before)

    def _kind(self, record: VBD) -> DomainType:
        return domain_type(self.store.get(record.VM))

    @implements(VBD.assert_attachable)
    async def assert_attachable(self, call: Call, vbd: Ref[VBD]) -> None:
        """Raises what would keep this VBD from being attached now."""
        record = self.store.get(vbd)
        if record.currently_attached:
            raise DeviceAlreadyAttached(vbd)
        if not record.empty:
            self.disks.check_attachable(vbd, record.VDI)

    @overrides("VBD.set_mode")
    async def set_mode(self, call: Call, vbd: Ref[VBD], value: VbdMode) -> None:
        async with self.store.transaction() as tx:
            record = self._detached(tx.get(vbd))
            if value is VbdMode.RW and record.type is VbdType.CD:
                raise VBDCDsMustBeReadonly()
            vdi = tx.find(VDI, record.VDI)
            if value is VbdMode.RW and vdi is not None and vdi.read_only:
                raise VDIReadonly(vdi.ref)
            tx.set(vbd, VBD.mode, value)

    def _detached(self, record: VBD) -> VBD:
        if record.currently_attached:
            raise DeviceAlreadyAttached(record.ref)
        return record

    @checks(VBD.userdevice)
    def check_userdevice(self, call: Call, vbd: Ref[VBD], field: Field[str], value: str) -> None:
        if vbd == NULL:
            return
        record = self._detached(self.store.get(vbd))
        vm = self.store.get(record.VM)
        others = [self.store.get(ref) for ref in vm.VBDs if ref != vbd]
        index = check_device(vm, value, is_cd=record.type is VbdType.CD)
        if index in {check_device(vm, other.userdevice, is_cd=False) for other in others}:
            raise DeviceAlreadyExists(value)

    @checks(VBD.type)
    def check_type(self, call: Call, vbd: Ref[VBD], field: Field[VbdType], value: VbdType) -> None:
        if vbd == NULL:
            return
        record = self._detached(self.store.get(vbd))
        if value is VbdType.CD and record.mode is VbdMode.RW:
            raise VBDCDsMustBeReadonly()
        check_device(self.store.get(record.VM), record.userdevice, is_cd=value is VbdType.CD)

    @checks(VBD.qos_algorithm_type)
    def check_qos(self, call: Call, vbd: Ref[VBD], field: Field[str], value: str) -> None:
        check_qos(value)
