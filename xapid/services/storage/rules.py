"""When each operation on an SR, a VDI or a VBD may start: pure functions of the records."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Sequence
from typing import Any

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import (
    DomainType,
    StorageOperations,
    VbdMode,
    VbdOperations,
    VbdType,
    VdiOperations,
    VmPowerState,
)
from ...datamodel.errors import (
    ApiError,
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    OperationNotAllowed,
    OtherOperationInProgress,
    SRHasPBD,
    SRIndestructible,
    SRNotAttached,
    SROperationNotSupported,
    VBDIsEmpty,
    VBDNotEmpty,
    VBDNotRemovableMedia,
    VBDNotUnpluggable,
    VDIInUse,
    VDIMissing,
    VDINotManaged,
    VDIReadonly,
    VMBadPowerState,
)
from ...datamodel.pbd import PBD
from ...datamodel.sr import SR
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store
from ...db.transaction import Transaction
from ...storage.driver import Capability
from ...xen.devices import WITH_DOMAIN, vm_refusal
from ...xen.plan import domain_type
from ..ports import Operations, View
from .kinds import StorageKinds

SrOp = StorageOperations
VdiOp = VdiOperations
VbdOp = VbdOperations

SR_OPERATIONS: tuple[StorageOperations, ...] = tuple(StorageOperations)
VDI_OPERATIONS: tuple[VdiOperations, ...] = tuple(
    op for op in VdiOperations if op not in (VdiOp.SCAN, VdiOp.FORCE_UNLOCK)
)
VBD_OPERATIONS: tuple[VbdOperations, ...] = tuple(
    op for op in VbdOperations if op is not VbdOp.ATTACH
)

ALONE = frozenset({SrOp.DESTROY, SrOp.FORGET, SrOp.PLUG, SrOp.UNPLUG})
WITHOUT_STORAGE = frozenset({SrOp.DESTROY, SrOp.FORGET, SrOp.PLUG})
READERS = frozenset({VdiOp.CLONE, VdiOp.COPY, VdiOp.SNAPSHOT})
RESIZERS = frozenset({VdiOp.RESIZE, VdiOp.RESIZE_ONLINE})

SR_CAPABILITY = {
    SrOp.VDI_CREATE: Capability.VDI_CREATE,
    SrOp.VDI_INTRODUCE: Capability.VDI_INTRODUCE,
    SrOp.VDI_DESTROY: Capability.VDI_DELETE,
    SrOp.VDI_RESIZE: Capability.VDI_RESIZE,
    SrOp.VDI_CLONE: Capability.VDI_CLONE,
    SrOp.VDI_SNAPSHOT: Capability.VDI_SNAPSHOT,
}
VDI_CAPABILITY = {
    VdiOp.DESTROY: Capability.VDI_DELETE,
    VdiOp.CLONE: Capability.VDI_CLONE,
    VdiOp.SNAPSHOT: Capability.VDI_SNAPSHOT,
    VdiOp.RESIZE: Capability.VDI_RESIZE,
    VdiOp.RESIZE_ONLINE: Capability.VDI_RESIZE,
}


class StorageRules:
    """The refusals, which depend on what each kind of storage can do."""

    def __init__(self, kinds: StorageKinds) -> None:
        self._kinds = kinds

    def sr_refusal(self, view: View, sr: SR, operation: enum.StrEnum) -> ApiError | None:
        """Why `operation` may not start on this SR now; None when it may."""
        for task, running in sr.current_operations.items():
            both = {running, operation}
            if both & ALONE or both == {SrOp.SCAN}:
                return OtherOperationInProgress("SR", sr.ref, running, task)
        attached = is_attached(view, sr)
        if operation in (SrOp.DESTROY, SrOp.FORGET) and attached:
            return SRHasPBD(sr.ref)
        if operation is SrOp.DESTROY and sr.other_config.get("indestructible") == "true":
            return SRIndestructible(sr.ref)
        if operation is SrOp.PLUG and attached:
            return OperationNotAllowed(f"{sr.name_label} is plugged already")
        if operation not in WITHOUT_STORAGE and not attached:
            return SRNotAttached(sr.ref)
        capability = SR_CAPABILITY.get(StorageOperations(operation))
        if capability is not None and not self._kinds.can(sr.type, capability):
            return SROperationNotSupported(sr.ref)
        return None

    def vdi_refusal(self, view: View, vdi: VDI, operation: enum.StrEnum) -> ApiError | None:
        """Why `operation` may not start on this VDI now; None when it may."""
        for task, running in vdi.current_operations.items():
            if not {running, operation} <= READERS:
                return OtherOperationInProgress("VDI", vdi.ref, running, task)
        sr = view.get(vdi.SR)
        if operation is not VdiOp.FORGET:
            if not is_attached(view, sr):
                return SRNotAttached(sr.ref)
            if vdi.missing and operation is not VdiOp.DESTROY:
                return VDIMissing(sr.ref, vdi.ref)
            if not vdi.managed:
                return VDINotManaged(vdi.ref)
        capability = VDI_CAPABILITY.get(VdiOperations(operation))
        if capability is not None and not self._kinds.can(sr.type, capability):
            return SROperationNotSupported(sr.ref)
        if operation in RESIZERS and vdi.read_only:
            return VDIReadonly(vdi.ref)
        return self._vdi_in_use(view, sr, vdi, operation)

    def vdi_likeness(self, view: View, vdi: VDI) -> Hashable | None:
        """What `vdi_refusal` looks at, but for what is under way and who has the disk."""
        if vdi.current_operations or any(v.currently_attached for v in map(view.get, vdi.VBDs)):
            return None
        sr = view.get(vdi.SR)
        used = bool(vdi.VBDs)
        return is_attached(view, sr), sr.type, vdi.missing, vdi.managed, vdi.read_only, used

    def _vdi_in_use(self, view: View, sr: SR, vdi: VDI, operation: enum.StrEnum) -> ApiError | None:
        if operation in (VdiOp.DESTROY, VdiOp.FORGET):
            # A record that refers to it, plugged or not, would be left pointing at nothing.
            return VDIInUse(vdi.ref, str(operation)) if vdi.VBDs else None
        holders = [vbd for vbd in map(view.get, vdi.VBDs) if vbd.currently_attached]
        if operation in READERS:
            written = any(vbd.mode is VbdMode.RW for vbd in holders)
            if operation is not VdiOp.COPY and self._kinds.can(
                sr.type, Capability.VDI_SNAPSHOT_IN_USE, vdi.location
            ):
                written = False
            return VDIInUse(vdi.ref, str(operation)) if written else None
        if not holders:
            return None
        if operation is VdiOp.RESIZE_ONLINE:
            if self._kinds.can(sr.type, Capability.VDI_RESIZE_ONLINE, vdi.location):
                return None
            return SROperationNotSupported(sr.ref)
        return VDIInUse(vdi.ref, str(operation))


def is_attached(view: View, sr: SR) -> bool:
    """Whether this host can reach the SR."""
    return any(view.get(pbd).currently_attached for pbd in sr.PBDs)


def vbd_refusal(view: View, vbd: VBD, operation: enum.StrEnum) -> ApiError | None:
    """Why `operation` may not start on this VBD now; None when it may."""
    for task, running in vbd.current_operations.items():
        return OtherOperationInProgress("VBD", vbd.ref, running, task)
    vm = view.get(vbd.VM)
    if refused := vm_refusal(vm):
        return refused
    if operation in (VbdOp.INSERT, VbdOp.EJECT):
        return _medium_refusal(vbd, vm, operation)
    if vm.power_state not in WITH_DOMAIN or (
        operation is VbdOp.UNPLUG and vm.power_state is not VmPowerState.RUNNING
    ):
        expected = "Running" if operation is VbdOp.UNPLUG else "Running/Paused"
        return VMBadPowerState(vm.ref, expected, vm.power_state)
    if vbd.type is VbdType.CD and domain_type(vm) is DomainType.HVM:
        # qemu makes the drives when it starts; only their discs can change.
        return OperationNotAllowed("a CD drive of an HVM guest is there from its start to its end")
    if operation is VbdOp.PLUG:
        if vbd.currently_attached:
            return DeviceAlreadyAttached(vbd.ref)
        return VBDIsEmpty(vbd.ref) if vbd.empty else None
    if not vbd.currently_attached:
        return DeviceAlreadyDetached(vbd.ref)
    if operation is VbdOp.UNPLUG and not vbd.unpluggable:
        return VBDNotUnpluggable(vbd.ref)
    return None


def vbd_likeness(view: View, vbd: VBD) -> Hashable | None:
    """What `vbd_refusal` looks at, but for what is under way."""
    vm = view.get(vbd.VM)
    if vbd.current_operations or vm.current_operations:
        return None
    return (
        vm.power_state,
        vm.is_control_domain,
        vm.is_foreign_domain,
        domain_type(vm),
        vbd.type,
        vbd.currently_attached,
        vbd.empty,
        vbd.unpluggable,
    )


def _medium_refusal(vbd: VBD, vm: VM, operation: enum.StrEnum) -> ApiError | None:
    if vbd.type is VbdType.DISK:
        return VBDNotRemovableMedia(vbd.ref)
    if vm.power_state is VmPowerState.SUSPENDED:
        return VMBadPowerState(vm.ref, "Halted/Paused/Running", vm.power_state)
    if operation is VbdOp.INSERT and not vbd.empty:
        return VBDNotEmpty(vbd.ref)
    if operation is VbdOp.EJECT and vbd.empty:
        return VBDIsEmpty(vbd.ref)
    return None


def vbd_neighbours(view: View, vbd: VBD) -> Sequence[Ref[Any]]:
    """Whose `allowed_operations` follow this VBD's state: its disk's."""
    return () if vbd.VDI == NULL else (vbd.VDI,)


def pbd_neighbours(view: View, pbd: PBD) -> Sequence[Ref[Any]]:
    """Whose `allowed_operations` follow a PBD's state: its SR's and those of the disks there."""
    return (pbd.SR, *view.get(pbd.SR).VDIs)


def govern(store: Store, operations: Operations, kinds: StorageKinds) -> None:
    """Tell who asks for operations on SRs, VDIs and VBDs when they are refused."""
    rules = StorageRules(kinds)
    operations.govern(SR, SR_OPERATIONS, rules.sr_refusal)
    operations.govern(VDI, VDI_OPERATIONS, rules.vdi_refusal, likeness=rules.vdi_likeness)
    operations.govern(VBD, VBD_OPERATIONS, vbd_refusal, vbd_neighbours, vbd_likeness)

    def pbd_changed(tx: Transaction, pbd: Ref[PBD]) -> None:
        for neighbour in pbd_neighbours(tx, tx.get(pbd)):
            tx.touch(neighbour)

    store.on_change(PBD, pbd_changed)
