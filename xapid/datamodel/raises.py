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

OF_DERIVED: Final[dict[str, tuple[type[e.ApiError], ...]]] = {}
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
