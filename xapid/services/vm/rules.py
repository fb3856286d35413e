"""When each VM operation may start: one pure function for claims and `allowed_operations`."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from ...datamodel.declare import Class, Ref
from ...datamodel.enums import DomainType, VmOperations, VmPowerState
from ...datamodel.errors import (
    ApiError,
    OperationNotAllowed,
    OtherOperationInProgress,
    VMBadPowerState,
    VMHVMRequired,
    VMIsTemplate,
)
from ...datamodel.vbd import VBD
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...xen.plan import domain_type
from ..ports import View

Op = VmOperations

BESIDE_OTHERS = frozenset(
    {
        Op.SEND_SYSRQ,
        Op.SEND_TRIGGER,
        Op.GET_BOOT_RECORD,
        Op.ASSERT_OPERATION_VALID,
        Op.UPDATE_ALLOWED_OPERATIONS,
        Op.STATISTICS,
    }
)
"""Operations that change nothing another one relies on."""

CUTS_SHORT = {
    Op.HARD_SHUTDOWN: frozenset({Op.CLEAN_SHUTDOWN, Op.CLEAN_REBOOT}),
    Op.HARD_REBOOT: frozenset({Op.CLEAN_SHUTDOWN, Op.CLEAN_REBOOT}),
}
"""What an administrator may force while the gentle way is still waiting for the guest."""

OF_TEMPLATES = frozenset(
    {Op.CLONE, Op.COPY, Op.PROVISION, Op.DESTROY, Op.UPDATE_ALLOWED_OPERATIONS}
    | {Op.ASSERT_OPERATION_VALID, Op.GET_BOOT_RECORD}
)

HARMLESS = frozenset(
    {Op.GET_BOOT_RECORD, Op.ASSERT_OPERATION_VALID, Op.UPDATE_ALLOWED_OPERATIONS, Op.STATISTICS}
)

NOT_HERE: dict[enum.StrEnum, str] = {
    Op.POOL_MIGRATE: "the pool has no other host to move to",
}
"""Operations that this host cannot do to any VM, and why."""

ALLOWED_IN: dict[enum.StrEnum, tuple[enum.StrEnum, ...]] = {
    **{m.operation: m.allowed_in for m in VM.messages.values() if m.operation is not None},
    Op.DESTROY: (VmPowerState.HALTED,),
}

OPERATIONS: tuple[VmOperations, ...] = tuple(
    op for op in VmOperations if op in ALLOWED_IN and op not in NOT_HERE
)


def vm_refusal(view: View, vm: VM, operation: enum.StrEnum) -> ApiError | None:
    """Why `operation` may not start on this VM now; None when it may."""
    if operation in NOT_HERE:
        return OperationNotAllowed(NOT_HERE[operation])
    if operation not in OPERATIONS:
        return OperationNotAllowed(f"{operation} is not an operation of this host's VMs")
    if vm.is_control_domain and operation not in HARMLESS:
        return OperationNotAllowed(f"{vm.name_label} is the control domain of this host")
    if vm.is_foreign_domain and operation not in HARMLESS:
        return OperationNotAllowed(f"{vm.name_label} was made by another toolstack and is not ours")
    if vm.is_a_template and operation not in OF_TEMPLATES:
        return VMIsTemplate(vm.ref)
    if operation is Op.CHANGING_SHADOW_MEMORY_LIVE and domain_type(vm) is not DomainType.HVM:
        return VMHVMRequired(vm.ref)
    return (
        _conflict(vm, operation)
        or _wrong_state(vm, operation)
        or _device_conflict(view, vm, operation)
    )


def _conflict(vm: VM, operation: enum.StrEnum) -> ApiError | None:
    if operation in BESIDE_OTHERS:
        return None
    gives_way = CUTS_SHORT.get(VmOperations(operation), frozenset())
    for task, running in vm.current_operations.items():
        if running not in BESIDE_OTHERS and running not in gives_way:
            return OtherOperationInProgress("VM", vm.ref, running, task)
    return None


def _wrong_state(vm: VM, operation: enum.StrEnum) -> ApiError | None:
    accepted = ALLOWED_IN[operation]
    if not accepted or vm.power_state in accepted:
        return None
    if vm.is_a_template and operation in OF_TEMPLATES and vm.power_state is VmPowerState.HALTED:
        return None
    return VMBadPowerState(vm.ref, "/".join(sorted(accepted)), vm.power_state)


def _device_conflict(view: View, vm: VM, operation: enum.StrEnum) -> ApiError | None:
    if operation in BESIDE_OTHERS or operation is Op.HARD_SHUTDOWN:
        return None
    for device in _devices(view, vm):
        for task, running in device.row["current_operations"].items():
            return OtherOperationInProgress(device.wire, device.ref, running, task)
    return None


def _devices(view: View, vm: VM) -> Iterator[Class]:
    for cls, refs in ((VBD, vm.VBDs), (VIF, vm.VIFs)):
        for ref in refs:
            device: Class | None = view.find(cls, ref)
            if device is not None:
                yield device


def vm_likeness(view: View, vm: VM) -> Hashable | None:
    """What `vm_refusal` looks at, but for what is under way."""
    if vm.current_operations or any(d.row["current_operations"] for d in _devices(view, vm)):
        return None
    return (
        vm.power_state,
        vm.is_a_template,
        vm.is_control_domain,
        vm.is_foreign_domain,
        domain_type(vm),
    )


def vm_neighbours(view: View, vm: VM) -> Sequence[Ref[Any]]:
    """Whose `allowed_operations` follow this VM's state: its devices'."""
    return (*vm.VBDs, *vm.VIFs)
