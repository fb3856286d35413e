"""The pass that proves the declarations sound: what it looks for, a sentence for each fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from .declare import (
    Class,
    DateTime,
    EnumType,
    Field,
    MapType,
    RecordType,
    Ref,
    RefType,
    SetType,
    Type,
)
from .methods import PLAIN, Kind, Method, methods_of, namespace

ANY_CLASS = "<class>"  # a record whose class is told by another field


class DatamodelError(Exception):
    """The declarations contradict themselves; `faults` says each way in which they do."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def conforms(kind: Type[Any], value: object) -> bool:
    """Whether a Python value is one of the type, to any depth."""
    match kind:
        case EnumType():
            return isinstance(value, kind.values)
        case RefType():
            return isinstance(value, Ref)
        case SetType():
            return isinstance(value, tuple) and all(conforms(kind.item, v) for v in value)
        case MapType():
            return isinstance(value, dict) and all(
                conforms(kind.key, k) and conforms(kind.value, v) for k, v in value.items()
            )
        case RecordType():
            return isinstance(value, Mapping)
    python = next((p for p, t in PLAIN.items() if t is kind), None)
    if kind is DateTime:
        return isinstance(value, datetime) and value.tzinfo is not None
    return type(value) is python


def _targets(kind: Type[Any]) -> Iterator[str]:
    """The classes that a type refers to."""
    match kind:
        case RefType() | RecordType():
            yield kind.target
        case SetType():
            yield from _targets(kind.item)
        case MapType():
            yield from _targets(kind.key)
            yield from _targets(kind.value)


def _doc_faults(what: str, doc: str) -> Iterator[str]:
    if not doc.strip():
        yield f"{what} has no doc"
    elif not doc.rstrip().endswith("."):
        yield f"{what}: its doc does not end with a full stop"


def _target_faults(what: str, kind: Type[Any], known: frozenset[str]) -> Iterator[str]:
    for target in _targets(kind):
        if target not in known:
            yield f"{what} refers to the unknown class {target}"


def _inverse_faults(field: Field[Any], by_wire: Mapping[str, type[Class]]) -> Iterator[str]:
    what = f"{field.owner.wire}.{field.name}"
    here = field.type
    target = next(_targets(here), "")
    if target not in by_wire or not isinstance(here, RefType | SetType):
        yield f"{what} has an inverse but is no reference, or set of references"
        return
    other = by_wire[target].fields.get(field.inverse or "")
    if other is None:
        yield f"{what}: its inverse {target}.{field.inverse} does not exist"
        return
    if other.inverse != field.name or next(_targets(other.type), None) != field.owner.wire:
        yield f"{what}: its inverse {target}.{other.name} does not point back"
    if isinstance(here, SetType) == isinstance(other.type, SetType):
        ends = "sets" if isinstance(here, SetType) else "single references"
        yield f"{what} and its inverse {target}.{other.name} are both {ends}"


def _field_faults(field: Field[Any], by_wire: Mapping[str, type[Class]]) -> Iterator[str]:
    what = f"{field.owner.wire}.{field.name}"
    yield from _doc_faults(what, field.doc)
    yield from _target_faults(what, field.type, frozenset(by_wire) | {ANY_CLASS})
    if not conforms(field.type, field.default):
        yield f"{what}: its default {field.default!r} is not a {field.type.name}"
    if field.inverse is not None:
        yield from _inverse_faults(field, by_wire)
    if field.required and field.qualifier == "RO/runtime":
        yield f"{what} is required, but no constructor takes it"


def _message_faults(method: Method, known: frozenset[str]) -> Iterator[str]:
    message = method.message
    yield from _doc_faults(method.name, method.doc)
    for param in method.params:
        what = f"{method.name}({param.name})"
        yield from _doc_faults(what, param.doc)
        yield from _target_faults(what, param.type, known)
        if not param.required and not conforms(param.type, param.default):
            yield f"{what}: its default {param.default!r} is not a {param.type.name}"
    yield from _target_faults(method.name, method.result, known)
    if message is not None and message.operation is not None:
        allowed = method.owner.fields.get("allowed_operations")
        item = allowed.type.item if allowed and isinstance(allowed.type, SetType) else None
        if not (item and conforms(item, message.operation)):
            yield f"{method.name}: {message.operation!r} is no operation of a {method.owner.wire}"


def _class_faults(
    cls: type[Class], by_wire: Mapping[str, type[Class]], names: Mapping[str, Any]
) -> Iterator[str]:
    yield from _doc_faults(f"class {cls.wire}", cls.__doc__ or "")
    for field in cls.fields.values():
        yield from _field_faults(field, by_wire)
    try:
        methods = list(methods_of(cls, names))
    except (NameError, TypeError, AttributeError) as error:
        yield f"class {cls.wire}: {error}"
        return
    seen: set[str] = set()
    for method in methods:
        if method.name in seen:
            yield f"{method.name} is declared twice"
        seen.add(method.name)
        if method.kind is Kind.MESSAGE:
            yield from _message_faults(method, frozenset(by_wire))
        yield from (
            f"{method.name} names the parameter {name} twice"
            for name in {p.name for p in method.params}
            if sum(p.name == name for p in method.params) > 1
        )


def faults(classes: Iterable[type[Class]]) -> Iterator[str]:
    """Everything that is wrong with the declarations, a sentence each."""
    classes = tuple(classes)
    by_wire: dict[str, type[Class]] = {}
    for cls in classes:
        if cls.wire in by_wire:
            yield f"two classes are called {cls.wire}"
        by_wire[cls.wire] = cls
    names = namespace(classes)
    for cls in classes:
        yield from _class_faults(cls, by_wire, names)
