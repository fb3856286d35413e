"""Parameters of every method that no method accepts, and odd ones that few do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xapid.datamodel.declare import (
    Bool,
    Class,
    DateTime,
    EnumType,
    Float,
    Int,
    MapType,
    RecordType,
    RefType,
    SetType,
    String,
    Type,
)
from xapid.datamodel.registry import CLASSES, Kind, Method

from .wire import MALFORMED, Xml
from .world import DATE, NULL, World

TYPE, HANDLE, VALUE = "FIELD_TYPE_ERROR", "HANDLE_INVALID", "INVALID_VALUE"
COUNT = "MESSAGE_PARAMETER_COUNT_MISMATCH"
NIL, BASE64 = Xml("<nil/>"), Xml("<base64>eHh4</base64>")
HUGE = "x" * ((1 << 20) + 1)
CONTROL = Xml("<string>a\x01b</string>")
SURROGATE = Xml("<string>&#xD800;</string>")
RAW_SURROGATE = Xml("<string>\ud800</string>")
ON_OBJECT = {Kind.GET, Kind.SET, Kind.ADD, Kind.REMOVE, Kind.GET_RECORD, Kind.DESTROY}

WRONG_TYPES: dict[Any, list[Any]] = {
    String: [7, True, 1.5, [], {}, DATE, NIL, BASE64],
    Int: ["", "x", "1.5", True, 1.5, [], {}, DATE, NIL, BASE64, 1 << 64, str(1 << 64), -(1 << 64)],
    Float: ["x", True, [], {}, DATE, NIL, BASE64],
    Bool: ["true", 1, 1.5, [], {}, DATE, NIL, BASE64],
    DateTime: ["20300101T00:00:00Z", 1, True, [], {}, NIL, BASE64],
}
NOT_A_COLLECTION: list[Any] = ["x", 1, True, 1.5, DATE, NIL, BASE64]
Bad = tuple[Any, set[str]]
"""A value, and the codes of which one is the right answer."""


def on_object(method: Method) -> bool:
    if method.message is not None:
        return not method.message.static
    return method.kind in ON_OBJECT


def bad_references(world: World, target: str, *, null: bool) -> Iterator[Bad]:
    yield from ((value, {TYPE}) for value in (1, True, 1.5, [], {}, DATE, NIL, BASE64))
    other = "host" if target != "host" else "SR"
    yield world.objects[other], {HANDLE}
    yield "OpaqueRef:00000000-0000-0000-0000-000000000000", {HANDLE}
    yield "x", {HANDLE}
    yield HUGE, {HANDLE}
    if target in world.gone:
        yield world.gone[target], {HANDLE}
    if not null:
        yield NULL, {HANDLE}
        yield "", {HANDLE}


def bad_values(world: World, type_: Type[Any], *, null: bool = True) -> Iterator[Bad]:
    """Values that are wrong for the type, each with the codes that say so."""
    match type_:
        case EnumType():
            yield from ((value, {TYPE}) for value in WRONG_TYPES[String])
            yield from ((value, {VALUE}) for value in ("", "no-such-value", HUGE))
        case RefType():
            yield from bad_references(world, type_.target, null=null)
        case SetType():
            yield from ((value, {TYPE}) for value in (*NOT_A_COLLECTION, {}))
            yield from (([v], codes) for v, codes in bad_values(world, type_.item, null=True))
        case MapType():
            yield from ((value, {TYPE}) for value in (*NOT_A_COLLECTION, []))
            key = world.valid(type_.key)
            yield from (({key: v}, codes) for v, codes in bad_values(world, type_.value))
        case RecordType():
            yield from bad_records(world, CLASSES[type_.target])
        case _:
            yield from ((value, {TYPE}) for value in WRONG_TYPES[type_])
    yield from ((value, {MALFORMED}) for value in (CONTROL, SURROGATE, RAW_SURROGATE))


def bad_records(world: World, cls: type[Class]) -> Iterator[Bad]:
    yield from ((value, {TYPE}) for value in (*NOT_A_COLLECTION, []))
    record = world.record(cls)
    yield {**record, "no_such_field": "x"}, {VALUE}
    for field in cls.fields.values():
        if field.qualifier == "RO/runtime":
            continue
        for value, codes in bad_values(world, field.type):
            yield {**record, field.name: value}, codes
        if field.required:
            yield {k: v for k, v in record.items() if k != field.name}, {TYPE}


def cases(world: World, method: Method) -> Iterator[tuple[list[Any], set[str]]]:
    """Parameters of which one is wrong, and the codes of which one is the right answer."""
    valid = [world.valid(param.type) for param in method.params]
    required = sum(param.required for param in method.params)
    if required:
        yield valid[: required - 1], {COUNT}
    yield [*valid, "extra"], {COUNT}
    yield [*valid, *["extra"] * 1000], {COUNT}
    for place, param in enumerate(method.params):
        null = place > 0 or not on_object(method)
        for value, codes in bad_values(world, param.type, null=null):
            yield [*valid[:place], value, *valid[place + 1 :]], codes


def odd_values(world: World, type_: Type[Any]) -> Iterator[Any]:
    """Values of the right type that few fields accept."""
    match type_:
        case RefType():
            yield NULL
        case SetType():
            yield from ([value] for value in odd_values(world, type_.item))
            yield ["x"] * 2000
        case MapType() if type_.key is String:
            for value in odd_values(world, type_.value):
                yield {"x": value}
            yield from ({odd: world.valid(type_.value)} for odd in ("", HUGE))
            yield {f"key {place}": world.valid(type_.value) for place in range(2000)}
        case RecordType():
            record = world.record(CLASSES[type_.target])
            yield record
            for field in CLASSES[type_.target].fields.values():
                if field.qualifier != "RO/runtime":
                    yield from (
                        {**record, field.name: value} for value in odd_values(world, field.type)
                    )
    if type_ is String:
        yield from ("", HUGE, "\t\n", "../../etc/passwd", "-option", "\u202e\U0001f600")
    elif type_ is Int:
        yield from ("0", "-1", str((1 << 63) - 1), str(-(1 << 63)))
    elif type_ is Float:
        yield from (-1.0, 0.0, 1e308)


def odd_cases(world: World, method: Method) -> Iterator[list[Any]]:
    valid = [world.valid(param.type) for param in method.params]
    for place, param in enumerate(method.params):
        if place > 0 or not on_object(method):
            for value in odd_values(world, param.type):
                yield [*valid[:place], value, *valid[place + 1 :]]


def brief(params: list[Any]) -> str:
    return repr([p if len(str(p)) < 80 else f"{str(p)[:60]}..." for p in params])
