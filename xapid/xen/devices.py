"""What holds for every device of a VM, whatever it is: when it may be touched, how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from ..datamodel.enums import VmOperations, VmPowerState
from ..datamodel.errors import (
    ApiError,
    DeviceAlreadyAttached,
    DeviceAttachTimeout,
    DeviceDetachRejected,
    DeviceDetachTimeout,
    OperationNotAllowed,
    OtherOperationInProgress,
    VMBadPowerState,
)
from ..datamodel.vbd import VBD
from ..datamodel.vif import VIF
from ..datamodel.vm import VM
from .errors import XenDeviceExists, XenError, XenNotFound, XenTimedOut, XenUnavailable

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


def check_destroyable(device: VBD | VIF, vm: VM) -> None:
    """Whether a device of a VM may be destroyed now. Raises what refuses it."""
    if device.currently_attached or device.current_operations:
        raise OperationNotAllowed(
            f"the {device.wire} is plugged or being worked on: unplug it first"
        )
    if refused := vm_refusal(vm):
        raise refused


def check_domain(vm: VM, domid: int) -> None:
    """Whether a VM still has the domain that a device was plugged into. Raises VM_BAD_POWER_STATE.

    It may have ended, or have been started anew, while Xen worked on the device.
    """
    if vm.power_state not in WITH_DOMAIN or vm.domid != domid:
        raise VMBadPowerState(vm.ref, "Running/Paused", vm.power_state)


@contextmanager
def attaching(device: VBD | VIF) -> Iterator[None]:
    """Raises DEVICE_ALREADY_ATTACHED and DEVICE_ATTACH_TIMEOUT for what Xen says in the block."""
    try:
        yield
    except XenDeviceExists as error:
        raise DeviceAlreadyAttached(device.ref) from error
    except XenTimedOut as error:
        raise DeviceAttachTimeout(device.wire, device.ref) from error


async def detach(
    device: VBD | VIF, removal: Awaitable[None], is_there: Callable[[], Awaitable[bool]]
) -> None:
    """Await a device's removal from a domain; one that is gone already is detached.

    is_there: whether the domain has it all the same.
    Raises DEVICE_DETACH_TIMEOUT, DEVICE_DETACH_REJECTED.
    """
    try:
        await removal
    except XenNotFound:
        return
    except XenUnavailable:
        raise
    except XenTimedOut as error:
        raise DeviceDetachTimeout(device.wire, device.ref) from error
    except XenError as error:
        if await is_there():
            raise DeviceDetachRejected(device.wire, device.ref, str(error)) from error
