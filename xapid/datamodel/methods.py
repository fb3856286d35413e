"""What the remote methods of a class are: its messages, and all that is derived from its fields."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from . import enums
from .declare import (
    Bool,
    Class,
    DateTime,
    EnumOf,
    Field,
    Float,
    Int,
    MapOf,
    MapType,
    Message,
    RecordOf,
    Ref,
    RefTo,
    SetOf,
    SetType,
    String,
    Type,
    Void,
)
from .raises import errors_of_derived

READ_ONLY = "read-only"
SYNCHRONOUS_CLASSES = frozenset({"session", "task", "event"})


class Kind(enum.Enum):
    """What a method does: run a message, or one of the things derived from the declarations."""

    MESSAGE = "message"
    GET = "get"
    SET = "set"
    ADD = "add"
    REMOVE = "remove"
    GET_ALL = "get_all"
    GET_ALL_RECORDS = "get_all_records"
    GET_RECORD = "get_record"
    GET_BY_UUID = "get_by_uuid"
    GET_BY_NAME_LABEL = "get_by_name_label"
    CREATE = "create"
    DESTROY = "destroy"


ACCESSORS = frozenset({Kind.GET, Kind.SET, Kind.ADD, Kind.REMOVE})


class Param(NamedTuple):
    """One parameter of a method; `default` is what an optional one has when it is left out."""

    name: str
    type: Type[Any]
    doc: str
    required: bool = True
    default: Any = None


@dataclass(frozen=True)
class Method:
    """One remote method; `params` are those after the session.

    min_role: the least role that may call it; None when every session may.
    raises: the errors it may answer with, besides those every call may.
    asynchronous: whether `Async.` in front gives a task (section 1.4.3).
    """

    name: str
    owner: type[Class]
    kind: Kind
    params: tuple[Param, ...]
    result: Type[Any]
    doc: str
    min_role: str | None
    field: Field[Any] | None = None
    message: Message[Any, ..., Any] | None = None
    raises: tuple[type[Exception], ...] = ()
    session: bool = True
    extension: str | None = None

    @property
    def asynchronous(self) -> bool:
        return self.owner.wire not in SYNCHRONOUS_CLASSES and self.kind not in ACCESSORS


def namespace(classes: Iterable[type[Class]]) -> dict[str, Any]:
    """The names that an annotation may use, whatever its module imports at run time."""
    names: dict[str, Any] = {values.__name__: values for values in enums.ENUMERATIONS}
    names |= {"Mapping": Mapping, "datetime": datetime}
    for cls in classes:
        names[cls.__module__.rpartition(".")[2]] = sys.modules.get(cls.__module__)
        names[cls.__name__] = cls
    return names


PLAIN: dict[Any, Type[Any]] = {
    str: String,
    int: Int,
    float: Float,
    bool: Bool,
    datetime: DateTime,
    type(None): Void,
}


def type_of(annotation: Any) -> Type[Any]:
    """The API's type for a resolved annotation of a stub; TypeError if there is none."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, enum.StrEnum):
        return EnumOf(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Ref:
        return RefTo(args[0].wire)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return SetOf(type_of(args[0]))
    if origin is Mapping:
        return MapOf(type_of(args[0]), type_of(args[1]))
    if origin is Union and isinstance(args[0], type) and issubclass(args[0], Class):
        return RecordOf(args[0].wire)  # `Record[...]` stands for such a union
    raise TypeError(f"no type of the API is written {annotation!r}")


def _split_doc(doc: str, names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Take a stub's docstring apart: what it says of the message, and of each parameter."""
    prose: list[str] = []
    told: dict[str, str] = {}
    current = ""
    for line in doc.splitlines():
        head, colon, rest = line.partition(": ")
        if colon and head in names:
            current = head
            told[head] = rest.strip()
        elif current and line.startswith(" "):
            told[current] += " " + line.strip()
        else:
            current = ""
            prose.append(line)
    return "\n".join(prose).strip(), told


def _from_message(message: Message[Any, ..., Any], names: Mapping[str, Any]) -> Method:
    stub = message.stub
    hints = get_type_hints(stub, {**stub.__globals__, **names})
    result = type_of(hints.pop("return"))
    doc, told = _split_doc(message.doc, hints)
    defaults = dict(zip(reversed(list(hints)), reversed(stub.__defaults__ or ()), strict=False))
    owner = message.owner
    params = [
        Param(name, type_of(hint), told.get(name, ""), name not in defaults, defaults.get(name))
        for name, hint in hints.items()
    ]
    if not message.static:
        params.insert(0, Param(message.this, RefTo(owner.wire), f"The {owner.wire}."))
    return Method(
        name=message.name,
        owner=owner,
        kind=Kind.MESSAGE,
        params=tuple(params),
        result=result,
        doc=doc,
        min_role=message.min_role,
        message=message,
        raises=message.raises,
        session=message.session,
        extension=message.extension or owner.extension,
    )


def _accessors(field: Field[Any]) -> Iterator[Method]:
    owner, kind_of = field.owner, field.type
    this = Param(field.this, RefTo(owner.wire), f"The {owner.wire}.")

    def accessor(
        kind: Kind, verb: str, params: tuple[Param, ...], result: Type[Any], doc: str
    ) -> Method:
        return Method(
            name=f"{owner.wire}.{verb}_{field.name}",
            owner=owner,
            kind=kind,
            params=params,
            result=result,
            doc=doc,
            min_role=READ_ONLY if kind is Kind.GET else field.min_role or owner.min_role,
            field=field,
            raises=errors_of_derived(f"{owner.wire}.{verb}_{field.name}", kind.value),
            extension=field.extension or owner.extension,
        )

    itself = Param("self", this.type, this.doc)
    yield accessor(Kind.GET, "get", (itself,), kind_of, f"Get {field.name}.")
    if "set" in field.accessors:
        value = Param("value", kind_of, "The new value.")
        doc = f"Set {field.name}."
        yield accessor(Kind.SET, "set", (this, value), Void, doc)
    if isinstance(kind_of, MapType):
        key = Param("key", kind_of.key, "The key.")
        added: tuple[Param, ...] = (key, Param("value", kind_of.value, "The value of the key."))
        removed, what = key, "a key"
        add_doc = f"Put a key into {field.name}, over any value it had."
    elif isinstance(kind_of, SetType):
        removed, what = Param("value", kind_of.item, "The element."), "an element"
        added = (removed,)
        add_doc = f"Put an element into {field.name}, if it is not there."
    else:
        return
    if "add" in field.accessors:
        yield accessor(Kind.ADD, "add_to", (this, *added), Void, add_doc)
    if "remove" in field.accessors:
        doc = f"Take {what} out of {field.name}, if it is there."
        yield accessor(Kind.REMOVE, "remove_from", (this, removed), Void, doc)


def _class_wide(cls: type[Class]) -> Iterator[Method]:
    wire = cls.wire
    ref, record = RefTo(wire), RecordOf(wire)
    this = Param("self", ref, f"The {wire}.")
    shapes: dict[Kind, tuple[tuple[Param, ...], Type[Any], str]] = {
        Kind.GET_ALL: ((), SetOf(ref), f"Get a reference to every {wire}."),
        Kind.GET_ALL_RECORDS: ((), MapOf(ref, record), f"Get the record of every {wire}."),
        Kind.GET_RECORD: ((this,), record, f"Get all fields of one {wire}."),
        Kind.GET_BY_UUID: (
            (Param("uuid", String, "The UUID to look for."),),
            ref,
            f"Get the {wire} that has a UUID.",
        ),
        Kind.GET_BY_NAME_LABEL: (
            (Param("label", String, "The name to look for."),),
            SetOf(ref),
            f"Get every {wire} that has a name.",
        ),
        Kind.CREATE: (
            (Param("args", record, "The values of the fields that can be given."),),
            ref,
            f"Make one {wire} from a record.",
        ),
        Kind.DESTROY: ((this,), Void, f"Destroy one {wire}, unless another object needs it."),
    }
    for kind, (params, result, doc) in shapes.items():
        if kind.value in cls.derived:
            writes = kind in (Kind.CREATE, Kind.DESTROY)
            yield Method(
                name=f"{wire}.{kind.value}",
                owner=cls,
                kind=kind,
                params=params,
                result=result,
                doc=doc,
                min_role=cls.min_role if writes else READ_ONLY,
                raises=errors_of_derived(f"{wire}.{kind.value}", kind.value),
                extension=cls.extension,
            )


def methods_of(cls: type[Class], names: Mapping[str, Any]) -> Iterator[Method]:
    """Every method of a class, declared and derived; a name may come twice if `check` was not run.

    names: what annotations of the stubs may refer to.
    """
    for message in cls.messages.values():
        yield _from_message(message, names)
    yield from _class_wide(cls)
    if cls.accessors:
        for field in cls.fields.values():
            yield from _accessors(field)
