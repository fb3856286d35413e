"""What holds for every device of a VM, whatever it is: when it may be touched at all."""

from __future__ import annotations

from ..datamodel.enums import VmOperations, VmPowerState
from ..datamodel.errors import (
    ApiError,
    OperationNotAllowed,
    OtherOperationInProgress,
    VMBadPowerState,
)
from ..datamodel.vm import VM

WITH_DOMAIN = frozenset({VmPowerState.RUNNING, VmPowerState.PAUSED})
"""The states in which a VM has a domain."""

HARMLESS = frozenset(
    {
        VmOperations.GET_BOOT_RECORD,
        VmOperations.ASSERT_OPERATION_VALID,
        VmOperations.UPDATE_ALLOWED_OPERATIONS,
        VmOperations.SEND_SYSRQ,
    }
)
"""What a VM may be doing while its devices change."""


def vm_refusal(vm: VM) -> ApiError | None:
    """Why no device of this VM may be touched now; None when it may."""
    if vm.is_control_domain:
        return OperationNotAllowed(f"{vm.name_label} is the control domain of this host")
    if vm.is_foreign_domain:
        return OperationNotAllowed(f"{vm.name_label} was made by another toolstack and is not ours")
    for task, running in vm.current_operations.items():
        if running not in HARMLESS:
            return OtherOperationInProgress("VM", vm.ref, running, task)
    return None


def check_vm(vm: VM) -> None:
    """Whether a VM may get a further device now. Raises what refuses it."""
    if refused := vm_refusal(vm):
        raise refused
    if vm.power_state is VmPowerState.SUSPENDED:
        raise VMBadPowerState(vm.ref, "Halted/Paused/Running", vm.power_state)
