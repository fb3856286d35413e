"""When each operation on a network or a VIF may start: pure functions of the records."""

from __future__ import annotations

import enum

from ...datamodel.enums import NetworkOperations, VifOperations, VmPowerState
from ...datamodel.errors import (
    ApiError,
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    OtherOperationInProgress,
    VMBadPowerState,
)
from ...datamodel.network import Network
from ...datamodel.vif import VIF
from ...xen.devices import WITH_DOMAIN, vm_refusal
from ..ports import Operations, View

Op = VifOperations
VIF_OPERATIONS = (Op.PLUG, Op.UNPLUG)


def vif_refusal(view: View, vif: VIF, operation: enum.StrEnum) -> ApiError | None:
    """Why `operation` may not start on this VIF now; None when it may."""
    for task, running in vif.current_operations.items():
        return OtherOperationInProgress("VIF", vif.ref, running, task)
    vm = view.get(vif.VM)
    if refused := vm_refusal(vm):
        return refused
    if operation is Op.PLUG:
        if vm.power_state not in WITH_DOMAIN:
            return VMBadPowerState(vm.ref, "Running/Paused", vm.power_state)
        return DeviceAlreadyAttached(vif.ref) if vif.currently_attached else None
    if vm.power_state is not VmPowerState.RUNNING:
        return VMBadPowerState(vm.ref, "Running", vm.power_state)
    return None if vif.currently_attached else DeviceAlreadyDetached(vif.ref)


def network_refusal(view: View, network: Network, operation: enum.StrEnum) -> ApiError | None:
    """A network can always be attached to: what keeps its bridge away is found out then."""
    return None


def govern(operations: Operations) -> None:
    """Tell who asks for operations on networks and VIFs when they are refused."""
    operations.govern(VIF, VIF_OPERATIONS, vif_refusal)
    operations.govern(Network, (NetworkOperations.ATTACHING,), network_refusal)
