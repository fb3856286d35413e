"""From a request's raw values to values of the declared types, or the error that says why not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from ..datamodel.declare import (
    NULL,
    Bool,
    Class,
    DateTime,
    EnumType,
    Field,
    Float,
    Int,
    MapType,
    RecordType,
    Ref,
    RefType,
    SetType,
    String,
    Type,
)
from ..datamodel.errors import FieldTypeError, HandleInvalid, InvalidValue
from ..datamodel.registry import CLASSES
from ..db.text import clean_text, shown
from .sessions import SHOWN
from .xmlrpc import RawDateTime

Check = Callable[[Any, Any], Any]
"""(raw value, the call) -> value of the declared type; raises ApiError."""


class Objects(Protocol):
    """Where references lead."""

    def resolve(self, cls: type[Class], raw_ref: str, call: Any) -> Ref[Any] | None:
        """The reference, if it names an object of the class that the call may name."""


_INT: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MIN, _MAX = -(1 << 63), (1 << 63) - 1
_DATE: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d{1,9})?(Z|[+-]00:?00)?", re.ASCII
)


def checker(name: str, type_: Type[Any], objects: Objects, *, null: bool = True) -> Check:
    """The check of a parameter or field called `name`.

    null: whether a reference may be the null reference.
    """
    match type_:
        case EnumType():
            return _enum(name, type_)
        case RefType():
            return _ref(name, CLASSES[type_.target], objects, null=null)
        case SetType():
            return _set(name, checker(name, type_.item, objects))
        case MapType():
            return _map(name, type_, objects)
        case RecordType():
            return _record(name, CLASSES[type_.target], objects)
    plain = _PLAIN[type_]
    return lambda raw, _: plain(name, raw)


def _string(name: str, raw: Any) -> str:
    if type(raw) is not str:
        raise FieldTypeError(name)
    return raw


def _int(name: str, raw: Any) -> int:
    if type(raw) is str and _INT.fullmatch(raw):
        raw = int(raw)
    if type(raw) is not int or not _MIN <= raw <= _MAX:
        raise FieldTypeError(name)
    return raw


def _float(name: str, raw: Any) -> float:
    if type(raw) is int:
        raw = float(raw)
    if type(raw) is not float or not math.isfinite(raw):
        raise FieldTypeError(name)
    return raw


def _bool(name: str, raw: Any) -> bool:
    if type(raw) is not bool:
        raise FieldTypeError(name)
    return raw


def _datetime(name: str, raw: Any) -> datetime:
    found = _DATE.fullmatch(raw) if type(raw) is RawDateTime else None
    if found is None:
        raise FieldTypeError(name)
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise FieldTypeError(name) from None


_PLAIN: dict[Type[Any], Callable[[str, Any], Any]] = {
    String: _string,
    Int: _int,
    Float: _float,
    Bool: _bool,
    DateTime: _datetime,
}


def _enum(name: str, type_: EnumType[Any]) -> Check:
    members = {str(member.value): member for member in type_.values}

    def check(raw: Any, call: Any) -> Any:
        if type(raw) is not str:
            raise FieldTypeError(name)
        member = members.get(raw)
        if member is None:
            raise InvalidValue(name, shown(raw))
        return member

    return check


def _ref(name: str, cls: type[Class], objects: Objects, *, null: bool) -> Check:
    def check(raw: Any, call: Any) -> Ref[Any]:
        if type(raw) is not str:
            raise FieldTypeError(name)
        if raw in ("", NULL):
            if null:
                return NULL
            raise HandleInvalid(cls.wire, NULL)
        ref = objects.resolve(cls, raw, call)
        if ref is None:
            raise HandleInvalid(cls.wire, clean_text(raw, SHOWN))
        return ref

    return check


def _set(name: str, item: Check) -> Check:
    def check(raw: Any, call: Any) -> tuple[Any, ...]:
        if type(raw) is not list:
            raise FieldTypeError(name)
        return tuple(dict.fromkeys(item(value, call) for value in raw))

    return check


def _map(name: str, type_: MapType[Any, Any], objects: Objects) -> Check:
    key_of, value_of = checker(name, type_.key, objects), checker(name, type_.value, objects)

    def check(raw: Any, call: Any) -> dict[Any, Any]:
        if type(raw) is not dict:
            raise FieldTypeError(name)
        return {key_of(key, call): value_of(value, call) for key, value in raw.items()}

    return check


def given_fields(cls: type[Class]) -> dict[str, Field[Any]]:
    """The fields a constructor takes: all that are RW or RO/constructor (section 1.2)."""
    return {name: field for name, field in cls.fields.items() if field.qualifier != "RO/runtime"}


def _record(name: str, cls: type[Class], objects: Objects) -> Check:
    """A constructor's record: every field a client may give, those left out at their defaults.

    Runtime fields are accepted and left aside, so that a record that was read can be sent back.
    """
    fields = given_fields(cls)
    checks = {
        key: checker(key, field.type, objects, null=not field.required)
        for key, field in fields.items()
    }

    def check(raw: Any, call: Any) -> Mapping[str, Any]:
        if type(raw) is not dict:
            raise FieldTypeError(name)
        for key in raw:
            if key not in cls.fields:
                raise InvalidValue(name, shown(key))
        record = {}
        for key, field in fields.items():
            if key in raw:
                record[key] = checks[key](raw[key], call)
            elif field.required:
                raise FieldTypeError(key)
            else:
                record[key] = field.default
        return record

    return check
