"""Which errors a method may answer with beside those of its declaration."""

from __future__ import annotations

from typing import Final

from . import errors as e

GENERIC: Final[frozenset[type[e.ApiError]]] = frozenset(
    {
        e.MessageMethodUnknown,
        e.MessageParameterCountMismatch,
        e.FieldTypeError,
        e.InvalidValue,
        e.ValueNotSupported,
        e.HandleInvalid,
        e.UUIDInvalid,
        e.SessionInvalid,
        e.SessionAuthenticationFailed,
        e.RBACPermissionDenied,
        e.PermissionDenied,
        e.NotImplementedYet,
        e.TooBusy,
        e.TooManyPendingTasks,
        e.TaskCancelled,
        e.InternalError,
    }
)
"""Errors about the call itself and its parameters: any method may answer with them."""

SET: Final = (e.OperationNotAllowed, e.DBUniquenessConstraintViolation)
"""Errors of every setter, adder and remover, whose value a rule of the object refuses."""

CREATE: Final = (e.OperationNotAllowed, e.DBUniquenessConstraintViolation)
DESTROY: Final = (e.OperationNotAllowed, e.OtherOperationInProgress)

_SIZES: Final = (e.MemoryConstraintViolationOrder,)
_DEVICE: Final = (
    e.VMBadPowerState,
    e.OtherOperationInProgress,
    e.DeviceAlreadyExists,
    e.InvalidDevice,
)

OF_DERIVED: Final[dict[str, tuple[type[e.ApiError], ...]]] = {
    "PBD.create": (
        e.HostNotLive,
        e.PBDExists,
        e.SRBackendFailure,
        e.SRUnknownDriver,
        e.SRNotSharable,
    ),
    "PBD.set_device_config": (e.SRBackendFailure,),
    "VBD.create": (
        *_DEVICE,
        e.VMIsTemplate,
        e.VBDCDsMustBeReadonly,
        e.VBDNotRemovableMedia,
        e.VDIIncompatibleType,
        e.VDIInUse,
        e.VDIReadonly,
    ),
    "VBD.destroy": _DEVICE,
    "VBD.set_mode": (*_DEVICE, e.DeviceAlreadyAttached, e.VBDCDsMustBeReadonly, e.VDIReadonly),
    "VBD.set_type": (*_DEVICE, e.DeviceAlreadyAttached, e.VBDCDsMustBeReadonly),
    "VBD.set_userdevice": (*_DEVICE, e.DeviceAlreadyAttached),
    "VDI.create": (
        e.OtherOperationInProgress,
        e.SRBackendFailure,
        e.SRFull,
        e.SRNotAttached,
        e.SROperationNotSupported,
    ),
    "VDI.destroy": (
        e.SRBackendFailure,
        e.SRNotAttached,
        e.SROperationNotSupported,
        e.VDIInUse,
        e.VDIMissing,
    ),
    "VIF.create": (*_DEVICE, e.MACInvalid, e.MACStillExists),
    "VIF.destroy": _DEVICE,
    "VM.create": _SIZES,
    "VM.destroy": (e.VMBadPowerState, e.VMCannotDeleteDefaultTemplate),
    "VM.set_HVM_boot_policy": (e.VMBadPowerState,),
    "VM.set_domain_type": (e.VMBadPowerState,),
    "VM.set_is_a_template": (e.VMBadPowerState,),
    "network.create": (e.BridgeNameExists,),
    "network.destroy": (e.NetworkContainsVIF, e.NetworkContainsPIF),
}
"""Errors of single derived methods, by their names, beside those of their kind."""


def errors_of_derived(name: str, kind: str) -> tuple[type[e.ApiError], ...]:
    """What a derived method may answer with. kind: as `Kind` spells it."""
    match kind:
        case "set" | "add" | "remove":
            usual: tuple[type[e.ApiError], ...] = SET
        case "create":
            usual = CREATE
        case "destroy":
            usual = DESTROY
        case "get_by_uuid":
            usual = (e.UUIDInvalid,)
        case _:
            usual = ()
    return (*usual, *OF_DERIVED.get(name, ()))
