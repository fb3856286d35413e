"""The errors have the codes and the parameters that clients know."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import VmPowerState
from xapid.datamodel.errors import (
    BY_CODE,
    ApiError,
    EventsLost,
    HandleInvalid,
    HostNotEnoughFreeMemory,
    VMBadPowerState,
)

KNOWN: dict[str, list[str] | None] = json.loads(
    Path(__file__).with_name("errors.json").read_text(encoding="utf-8")
)
# Names that Python, or the errors' own `code`, needs for something else.
RENAMED = {"class": "cls", "code": "error_code"}
# Codes whose parameters are nowhere written down, and what they carry here.
UNWRITTEN = {
    "BALLOONING_DISABLED": (),
    "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS": (
        "device",
        "mac",
    ),
    "HOST_CANNOT_SEE_SR": ("host", "sr"),
    "NO_LOCAL_STORAGE": ("host",),
    "SR_ATTACHED": ("sr",),
    "SR_NOT_SHARED": ("sr",),
    "SUSPEND_VDI_REPLACEMENT_IS_NOT_IDENTICAL": ("vdi",),
    "VBD_MISSING": ("vm",),
    "VDI_CONTENT_ID_MISSING": ("vdi",),
    "VDI_IO_ERROR": ("vdi",),
    "VDI_IS_SHARABLE": ("vdi",),
    "VM_IS_SNAPSHOT": ("vm",),
    "VM_MEMORY_TARGET_WAIT_TIMEOUT": ("vm",),
}
GENERIC = (
    "MESSAGE_PARAMETER_COUNT_MISMATCH",
    "MESSAGE_METHOD_UNKNOWN",
    "FIELD_TYPE_ERROR",
    "HANDLE_INVALID",
    "UUID_INVALID",
    "SESSION_INVALID",
    "SESSION_AUTHENTICATION_FAILED",
    "SESSION_NOT_REGISTERED",
    "EVENTS_LOST",
    "EVENT_SUBSCRIPTION_PARSE_FAILURE",
    "INVALID_VALUE",
    "VALUE_NOT_SUPPORTED",
    "MAP_DUPLICATE_KEY",
    "NOT_IMPLEMENTED",
    "INTERNAL_ERROR",
    "TASK_CANCELLED",
    "PERMISSION_DENIED",
    "RBAC_PERMISSION_DENIED",
    "OTHER_OPERATION_IN_PROGRESS",
    "OPERATION_NOT_ALLOWED",
    "OPERATION_BLOCKED",
    "OUT_OF_SPACE",
    "USER_IS_NOT_LOCAL_SUPERUSER",
    "VM_BAD_POWER_STATE",
    "VM_IS_TEMPLATE",
    "HOST_NOT_ENOUGH_FREE_MEMORY",
)

every_error = pytest.mark.parametrize("error", BY_CODE.values(), ids=BY_CODE)


def field_name(parameter: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", parameter.strip().lower())
    return RENAMED.get(plain, plain)


@every_error
def test_an_error_has_the_parameters_that_clients_know(error: type[ApiError]) -> None:
    known = KNOWN[error.code]
    expected = UNWRITTEN[error.code] if known is None else tuple(map(field_name, known))

    assert error.parameters() == expected


@every_error
def test_an_error_says_what_is_wrong_in_whole_sentences(error: type[ApiError]) -> None:
    doc = " ".join((error.__doc__ or "").split())

    assert re.fullmatch(r"[A-Z].*\.", doc)
    assert "(" not in doc, "the docstring that dataclasses make by themselves"


@every_error
def test_an_error_travels_as_its_code_and_its_parameters_in_order(error: type[ApiError]) -> None:
    values = [f"value {i}" for i, _ in enumerate(error.parameters())]

    assert error(*values).wire() == [error.code, *values]


def test_every_generic_code_is_there() -> None:
    assert set(GENERIC) <= set(BY_CODE)


def test_every_class_has_a_code_of_its_own() -> None:
    assert len(BY_CODE) == len(ApiError.__subclasses__())
    assert all(code == error.code for code, error in BY_CODE.items())


def test_parameters_travel_as_text() -> None:
    short = HostNotEnoughFreeMemory(needed=2**40, available=3)
    state = VMBadPowerState(Ref("OpaqueRef:1"), "Halted", VmPowerState.RUNNING)

    assert short.wire() == ["HOST_NOT_ENOUGH_FREE_MEMORY", "1099511627776", "3"]
    assert state.wire() == ["VM_BAD_POWER_STATE", "OpaqueRef:1", "Halted", "Running"]
    assert all(type(part) is str for part in (*short.wire(), *state.wire()))


def test_an_error_reads_as_its_code_and_its_parameters() -> None:
    assert str(HandleInvalid(cls="VM", handle="OpaqueRef:1")) == "HANDLE_INVALID(VM, OpaqueRef:1)"
    assert str(EventsLost()) == "EVENTS_LOST()"
