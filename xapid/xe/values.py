"""Values between what people type or read and what travels on the wire."""

from __future__ import annotations

import re
from typing import Any, Final

from .catalogue import NULL, Type, enum_values, folded
from .failures import UsageError

UNITS: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_TRUE: Final = frozenset({"true", "yes", "on", "1", "t", "y"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "f", "n"})
_MOMENT: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d))?(?:\.\d+)?Z?)?"
)


def read_value(type_: Type, text: str, where: str) -> Any:
    """A value on the wire from what somebody typed; references are not read here.

    where: what the value is for, as the message shall say it. Raises UsageError.
    """
    match type_.kind:
        case "int":
            return str(read_int(text, where))
        case "float":
            try:
                return float(text)
            except ValueError:
                raise UsageError(f"{where}={text}: a number is wanted") from None
        case "bool":
            return read_bool(text, where)
        case "enum":
            return read_enum(type_.target, text, where)
        case "datetime":
            return read_moment(text, where)
        case "set":
            item = type_.item or Type("string")
            return [read_value(item, part, where) for part in split(text)]
        case "map":
            raise UsageError(f"{where} is a map: say {where}:KEY=VALUE for each key")
    return text


def read_int(text: str, where: str) -> int:
    """A number, or a size with KiB, MiB, GiB or TiB after it. Raises UsageError."""
    if re.fullmatch(r"[+-]?[0-9]{1,19}", text.strip()):
        return int(text)
    found = _SIZE.fullmatch(text.strip())
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or (unit == 1 and "." in found[1]) or len(found[1]) > 19:
        raise UsageError(
            f"{where}={text}: a whole number is wanted, or a size such as 512MiB, 4GiB or 1.5TiB"
        )
    whole, _, part = found[1].partition(".")
    return int(whole) * unit + (int(part) * unit // 10 ** len(part) if part else 0)


def read_bool(text: str, where: str) -> bool:
    """True or false. Raises UsageError."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError(f"{where}={text}: true or false is wanted")


def read_enum(name: str, text: str, where: str) -> str:
    """A value of an enumeration, whatever its case. Raises UsageError."""
    values = enum_values(name)
    for value in values:
        if folded(value) == folded(text):
            return value
    raise UsageError(f"{where}={text}: one of {', '.join(values)} is wanted")


def read_moment(text: str, where: str) -> Any:
    """A date, with a time in UTC if one is given. Raises UsageError."""
    from xmlrpc.client import DateTime

    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{where}={text}: a time is wanted, such as 2026-11-24T08:30:00Z")
    year, month, day, hour, minute, second = (part or "00" for part in found.groups())
    return DateTime(f"{year}{month}{day}T{hour}:{minute}:{second}Z")


def split(text: str) -> list[str]:
    """The members of a set as it is typed: with commas or semicolons between them."""
    return [part.strip() for part in re.split(r"[,;]", text) if part.strip()]


def plain(type_: Type, value: Any) -> Any:
    """A value of the wire as JSON has it; a reference stays one, the null reference is None."""
    match type_.kind:
        case "int":
            try:
                return int(value)
            except (TypeError, ValueError):
                return str(value)
        case "float" | "bool":
            return value
        case "ref":
            return None if value in (NULL, "") else str(value)
        case "enum":
            return str(value).lower() if type_.target == "vm_power_state" else str(value)
        case "datetime":
            return moment(value)
        case "set":
            item = type_.item or Type("string")
            return [plain(item, member) for member in value]
        case "map":
            item = type_.item or Type("string")
            return {str(key): plain(item, member) for key, member in value.items()}
    return str(value)


def moment(value: Any) -> str:
    """A time as ISO 8601 has it."""
    found = _MOMENT.fullmatch(str(value))
    if found is None:
        return str(value)
    year, month, day, hour, minute, second = (part or "00" for part in found.groups())
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"


def human_size(count: int) -> str:
    """Bytes for people: exact where a unit fits, else with two figures after the point."""
    for name, unit in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if abs(count) >= unit:
            exact = count % unit == 0
            return f"{count // unit} {name}" if exact else f"{count / unit:.2f} {name}"
    return str(count)
