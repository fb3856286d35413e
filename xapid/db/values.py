"""What values of the datamodel's types may be, and how a stored body becomes one again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..datamodel.declare import (
    NULL,
    Bool,
    DateTime,
    EnumType,
    Field,
    Float,
    Int,
    MapType,
    Ref,
    RefType,
    SetType,
    String,
    Type,
)
from ..datamodel.errors import InvalidValue
from .text import (
    MAX_COLLECTION,
    MAX_ENTRIES,
    MAX_LONG_STRING,
    MAX_RESULT,
    MAX_STRING,
    check_text,
    shown,
)

Check = Callable[[Any], Any]
Decode = Callable[[Any, Mapping[str, Ref[Any]]], Any]
RefsIn = Callable[[Any], Iterable[Ref[Any]]]

LONG_STRINGS = {
    ("VM", "recommendations"): MAX_LONG_STRING,
    ("VM", "last_booted_record"): MAX_LONG_STRING,
    ("task", "result"): MAX_RESULT,
}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1


def check_of(field: Field[Any]) -> Check:
    """A function that returns a value of the field in its normal form.

    It raises InvalidValue for a value that a client could have sent, TypeError for one of
    another Python type, which only a mistake of ours brings here.
    """
    limit = LONG_STRINGS.get((field.owner.wire, field.name), MAX_STRING)
    return _check(field.type, field.name, limit)


def _check(type_: Type[Any], name: str, limit: int) -> Check:
    match type_:
        case EnumType():
            return _check_enum(type_, name)
        case SetType():
            return _check_set(type_, name, limit)
        case MapType():
            return _check_map(type_, name, limit)
        case RefType():
            return lambda value: _check_ref(name, value)
    if type_ is String:
        return lambda value: _check_string(name, value, limit)
    scalars = {Int: _check_int, Float: _check_float, Bool: _check_bool, DateTime: _check_datetime}
    check = scalars.get(type_)
    if check is None:
        raise TypeError(f"field {name}: a {type_.name} cannot be stored")
    return lambda value: check(name, value)


def _check_string(name: str, value: Any, limit: int) -> str:
    if not isinstance(value, str):
        raise TypeError(f"field {name}: {type(value).__name__} is not a string")
    check_text(name, value, limit)
    return value if type(value) is str else str(value)


def _check_int(name: str, value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"field {name}: {type(value).__name__} is not an int")
    if not _INT_MIN <= value <= _INT_MAX:
        raise InvalidValue(name, "an integer beyond 64 bits")
    return value


def _check_float(name: str, value: Any) -> float:
    if type(value) is int:
        value = float(_check_int(name, value))
    if type(value) is not float:
        raise TypeError(f"field {name}: {type(value).__name__} is not a float")
    if not math.isfinite(value):
        raise InvalidValue(name, str(value))
    return value


def _check_bool(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"field {name}: {type(value).__name__} is not a bool")
    return value


def _check_datetime(name: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"field {name}: not a datetime with a time zone")
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _check_ref(name: str, value: Any) -> Ref[Any]:
    if not isinstance(value, str):
        raise TypeError(f"field {name}: {type(value).__name__} is not a reference")
    return value if type(value) is Ref else Ref(value)


def _check_enum(type_: EnumType[Any], name: str) -> Check:
    values = type_.values

    def check(value: Any) -> Any:
        if type(value) is values:
            return value
        if not isinstance(value, str):
            raise TypeError(f"field {name}: {type(value).__name__} is not of {type_.name}")
        try:
            return values(value)
        except ValueError:
            raise InvalidValue(name, shown(value)) from None

    return check


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str) else 8


def _check_set(type_: SetType[Any], name: str, limit: int) -> Check:
    item = _check(type_.item, name, limit)

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple | list):
            raise TypeError(f"field {name}: {type(value).__name__} is not a tuple")
        if len(value) > MAX_ENTRIES:
            raise InvalidValue(name, f"{len(value)} members")
        checked = tuple(map(item, value))
        if sum(map(_size, checked)) > MAX_COLLECTION:
            raise InvalidValue(name, "members longer than 1 MiB together")
        return checked

    return check


def _check_map(type_: MapType[Any, Any], name: str, limit: int) -> Check:
    check_key = _check(type_.key, name, limit)
    check_value = _check(type_.value, name, limit)

    def check(value: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise TypeError(f"field {name}: {type(value).__name__} is not a mapping")
        if len(value) > MAX_ENTRIES:
            raise InvalidValue(name, f"{len(value)} entries")
        checked = {check_key(k): check_value(v) for k, v in value.items()}
        if sum(map(_size, checked)) + sum(map(_size, checked.values())) > MAX_COLLECTION:
            raise InvalidValue(name, "entries longer than 1 MiB together")
        return checked

    return check


def refs_in(type_: Type[Any]) -> RefsIn | None:
    """A function that lists the references within a value of the type; None if it has none."""
    match type_:
        case RefType():
            return lambda value: () if value == NULL else (value,)
        case SetType():
            inner = refs_in(type_.item)
            if inner is None:
                return None
            if isinstance(type_.item, RefType):
                return lambda value: [ref for ref in value if ref != NULL]
            return lambda value: [ref for item in value for ref in inner(item)]
        case MapType():
            parts = [
                (part, half)
                for half, part in enumerate((refs_in(type_.key), refs_in(type_.value)))
                if part is not None
            ]
            if not parts:
                return None
            return lambda value: [
                ref for pair in value.items() for part, half in parts for ref in part(pair[half])
            ]
    return None


def target_of(type_: Type[Any]) -> set[str]:
    """The wire names of the classes that a value of the type refers to."""
    match type_:
        case RefType():
            return {type_.target}
        case SetType():
            return target_of(type_.item)
        case MapType():
            return target_of(type_.key) | target_of(type_.value)
    return set()


def json_type(type_: Type[Any]) -> type:
    """The Python type that a stored value of the type is parsed to."""
    if type_ is Int:
        return int
    if type_ is Float:
        return float
    if type_ is Bool:
        return bool
    if isinstance(type_, SetType):
        return list
    return dict if isinstance(type_, MapType) else str


def decoder_of(type_: Type[Any]) -> Decode | None:
    """A function that turns parsed JSON into a value; None where it is one already.

    It gets the references of all stored objects; one to an object that is gone, as volatile ones
    are after a restart, becomes NULL, or is left out of a set or map.
    """
    match type_:
        case RefType():
            return lambda value, known: known.get(value, NULL)
        case EnumType():
            members = {str(member): member for member in type_.values}
            return lambda value, known: members[value]
        case SetType():
            return _decode_set(type_)
        case MapType():
            return _decode_map(type_)
    if type_ is DateTime:
        return lambda value, known: datetime.fromisoformat(value)
    return None


def _decode_set(type_: SetType[Any]) -> Decode:
    if isinstance(type_.item, RefType):
        return lambda value, known: tuple(known[ref] for ref in value if ref in known)
    item = decoder_of(type_.item)
    if item is None:
        return lambda value, known: tuple(value)
    return lambda value, known: tuple(item(entry, known) for entry in value)


def _decode_map(type_: MapType[Any, Any]) -> Decode | None:
    decode_key, decode_value = _decode_key(type_.key), decoder_of(type_.value)
    if decode_key is None and decode_value is None:
        return None
    key = decode_key or (lambda entry, known: entry)
    value = decode_value or (lambda entry, known: entry)
    gone = [half for half, t in enumerate((type_.key, type_.value)) if isinstance(t, RefType)]

    def decode(entries: Any, known: Mapping[str, Ref[Any]]) -> dict[Any, Any]:
        return {
            key(k, known): value(v, known)
            for k, v in entries.items()
            if all((k, v)[half] in known for half in gone)
        }

    return decode


def _decode_key(type_: Type[Any]) -> Decode | None:
    if type_ is Int:
        return lambda value, known: int(value)
    if type_ is Float:
        return lambda value, known: float(value)
    return decoder_of(type_)
