"""When each host operation may start: one pure function for claims and `allowed_operations`."""

from __future__ import annotations

import enum

from ...datamodel.enums import HostAllowedOperations
from ...datamodel.errors import (
    ApiError,
    HostDisabled,
    HostInUse,
    HostNotDisabled,
    OperationNotAllowed,
    OtherOperationInProgress,
)
from ...datamodel.host import Host
from ...datamodel.vm import VM
from ..ports import View

Op = HostAllowedOperations

OPERATIONS: tuple[HostAllowedOperations, ...] = tuple(Op)
ENDS_THE_HOST = frozenset({Op.SHUTDOWN, Op.REBOOT})


def host_refusal(view: View, host: Host, operation: enum.StrEnum) -> ApiError | None:
    """Why `operation` may not start on this host now; None when it may."""
    if operation not in OPERATIONS:
        return OperationNotAllowed(f"{operation} is not an operation of a host")
    for task, running in host.current_operations.items():
        return OtherOperationInProgress("host", host.ref, running, task)
    if operation is Op.PROVISION and not host.enabled:
        return HostDisabled(host.ref)
    if operation in ENDS_THE_HOST:
        return _in_use(view, host)
    return None


def _in_use(view: View, host: Host) -> ApiError | None:
    if host.enabled:
        return HostNotDisabled()
    for ref in host.resident_VMs:
        vm = view.find(VM, ref)
        if vm is not None and not vm.is_control_domain:
            return HostInUse(host.ref, "VM", ref)
    return None
