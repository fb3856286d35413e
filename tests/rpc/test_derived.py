"""Every derived method of every class, over a real socket, made from the datamodel."""

from __future__ import annotations

import re
import uuid
import xmlrpc.client
from typing import Any

import pytest

from xapid.datamodel.declare import (
    Bool,
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
    Void,
)
from xapid.datamodel.registry import CLASSES, METHODS, Kind, Method

NOBODY = "OpaqueRef:nobody"
METHODS_WITH_SESSION = [m for m in METHODS.values() if m.session]
DERIVED = [m for m in METHODS.values() if m.kind is not Kind.MESSAGE]
SAMPLES: dict[Type[Any], Any] = {String: "text", Int: "7", Float: 0.5, Bool: True}


def named(methods: list[Method]) -> Any:
    return pytest.mark.parametrize("method", methods, ids=lambda method: method.name)


def of_kind(*kinds: Kind) -> Any:
    return named([m for m in DERIVED if m.kind in kinds])


@pytest.fixture(scope="module")
def objects(front: Any) -> dict[str, str]:
    """A reference to one object of each class that the store keeps."""
    classes = [cls for cls in CLASSES.values() if cls.wire not in ("event", "session")]
    return front.transact(lambda tx: {cls.wire: str(tx.create(cls)) for cls in classes})


@pytest.fixture(scope="module")
def client(front: Any) -> Any:
    return front.login()


@pytest.fixture
def call(client: Any, objects: dict[str, str]) -> Any:
    def call(method: Method, *params: Any) -> Any:
        return getattr(client.proxy, method.name)(client.me, *params)

    return call


@pytest.fixture
def this(client: Any, objects: dict[str, str]) -> Any:
    """The reference of the object of a class that exists."""
    return lambda wire: client.me if wire == "session" else objects[wire]


def sample(type_: Type[Any], this: Any) -> Any:
    """A value of the type as a client sends it."""
    match type_:
        case EnumType():
            return str(list(type_.values)[-1])
        case RefType():
            return "OpaqueRef:NULL"
        case SetType():
            return [sample(type_.item, this)]
        case MapType():
            key = sample(type_.key, this)
            return {key: sample(type_.value, this)}
        case RecordType():
            return {
                field.name: this(field.type.target)
                if isinstance(field.type, RefType)
                else sample(field.type, this)
                for field in CLASSES[type_.target].fields.values()
                if field.required
            }
    return SAMPLES.get(type_, xmlrpc.client.DateTime("20300102T03:04:05Z"))


def wrong(type_: Type[Any]) -> Any:
    """A value of another type than a client must send."""
    if type_ is Bool or isinstance(type_, SetType):
        return "text"
    return ["not", "this"] if type_ is not Void else None


def fits(type_: Type[Any], value: Any) -> bool:
    """Whether a decoded value is what the wire has for the type (section 1.3)."""
    match type_:
        case EnumType():
            return value in [str(member) for member in type_.values]
        case RefType():
            return isinstance(value, str) and value.startswith("OpaqueRef:")
        case SetType():
            return isinstance(value, list) and all(fits(type_.item, item) for item in value)
        case MapType():
            return isinstance(value, dict) and all(
                fits(type_.key, k) and fits(type_.value, v) for k, v in value.items()
            )
        case RecordType():
            fields = CLASSES[type_.target].fields
            return list(value) == list(fields) and all(
                fits(fields[name].type, item) for name, item in value.items()
            )
    if type_ is Int:
        return isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None
    if type_ is DateTime:
        form = r"\d{8}T\d\d:\d\d:\d\dZ"
        return isinstance(value, xmlrpc.client.DateTime) and bool(re.fullmatch(form, value.value))
    return type(value) is {String: str, Float: float, Bool: bool, Void: str}[type_]


def arguments(method: Method, this: Any) -> list[Any]:
    """Parameters with which a derived method succeeds."""
    values = []
    for param in method.params:
        on_object = param is method.params[0] and isinstance(param.type, RefType)
        values.append(this(param.type.target) if on_object else sample(param.type, this))
    return values


@of_kind(Kind.GET, Kind.GET_RECORD, Kind.GET_ALL, Kind.GET_ALL_RECORDS)
def test_reading_gives_the_declared_type(method: Method, call: Any, this: Any) -> None:
    answer = call(method, *arguments(method, this))

    assert answer["Status"] == "Success"
    assert fits(method.result, answer["Value"])


@of_kind(Kind.GET_BY_UUID)
def test_an_object_is_found_by_its_uuid(method: Method, call: Any, this: Any) -> None:
    wire = method.owner.wire
    identity = call(METHODS[f"{wire}.get_uuid"], this(wire))["Value"]

    assert call(method, identity)["Value"] == this(wire)
    assert call(method, identity.upper())["Value"] == this(wire)
    unknown = str(uuid.uuid4())
    assert call(method, unknown)["ErrorDescription"] == ["UUID_INVALID", wire, unknown]


@of_kind(Kind.GET_BY_NAME_LABEL)
def test_objects_are_found_by_name(method: Method, call: Any, this: Any, front: Any) -> None:
    cls = method.owner
    front.transact(lambda tx: tx.update(this(cls.wire), {"name_label": "the only one"}))

    assert call(method, "the only one")["Value"] == [this(cls.wire)]
    assert call(method, "no such")["Value"] == []


@of_kind(Kind.SET)
def test_what_is_set_is_read_back(method: Method, call: Any, this: Any) -> None:
    self, value = arguments(method, this)

    answer = call(method, self, value)

    assert answer == {"Status": "Success", "Value": ""}
    getter = METHODS[method.name.replace(".set_", ".get_")]
    assert call(getter, self)["Value"] == value


@of_kind(Kind.ADD)
def test_what_is_added_is_there_once_until_it_is_removed(
    method: Method, call: Any, this: Any
) -> None:
    self, *added = arguments(method, this)
    getter = METHODS[method.name.replace(".add_to_", ".get_")]
    remover = METHODS[method.name.replace(".add_to_", ".remove_from_")]
    expected = {added[0]: added[1]} if len(added) == 2 else added

    assert [call(method, self, *added)["Value"] for _ in range(2)] == ["", ""]
    assert call(getter, self)["Value"] == expected
    assert [call(remover, self, added[0])["Value"] for _ in range(2)] == ["", ""]
    assert not call(getter, self)["Value"]


@named([m for m in DERIVED if m.kind is Kind.CREATE])
def test_a_plain_object_is_made_read_and_destroyed(method: Method, call: Any, this: Any) -> None:
    wire = method.owner.wire
    record = sample(method.params[0].type, this)

    made = call(method, record)["Value"]

    stored = call(METHODS[f"{wire}.get_record"], made)["Value"]
    assert {name: stored[name] for name in record} == record
    assert call(METHODS[f"{wire}.destroy"], made) == {"Status": "Success", "Value": ""}
    gone = call(METHODS[f"{wire}.get_record"], made)["ErrorDescription"]
    assert gone == ["HANDLE_INVALID", wire, made]


@named([m for m in DERIVED if m.kind is Kind.CREATE])
def test_a_constructor_refuses_what_it_does_not_know(method: Method, call: Any, this: Any) -> None:
    record = sample(method.params[0].type, this)

    assert call(method, {**record, "colour": "red"})["ErrorDescription"] == [
        "INVALID_VALUE",
        "args",
        "colour",
    ]
    for name in record:
        left_out = {key: value for key, value in record.items() if key != name}
        assert call(method, left_out)["ErrorDescription"] == ["FIELD_TYPE_ERROR", name]
        mistyped = {**record, name: wrong(method.owner.fields[name].type)}
        assert call(method, mistyped)["ErrorDescription"] == ["FIELD_TYPE_ERROR", name]


@of_kind(Kind.DESTROY)
def test_an_object_that_another_needs_is_not_destroyed(
    method: Method, call: Any, this: Any, front: Any
) -> None:
    cls = method.owner
    referring = next(
        (
            field
            for other in CLASSES.values()
            for field in other.fields.values()
            if isinstance(field.type, RefType)
            and field.type.target == cls.wire
            and other.wire not in ("event", "session")
        ),
        None,
    )
    if referring is None:
        pytest.skip(f"nothing refers to a {cls.wire}")
    victim, holder = front.transact(
        lambda tx: (
            made := tx.create(cls),
            tx.create(referring.owner, {referring: made}),
        )
    )

    error = call(method, str(victim))["ErrorDescription"]

    assert error[0] == "OPERATION_NOT_ALLOWED"
    front.transact(lambda tx: (tx.destroy(holder), tx.destroy(victim)))


@named(METHODS_WITH_SESSION)
def test_a_wrong_number_of_parameters_is_refused(method: Method, call: Any) -> None:
    required = sum(param.required for param in method.params)
    expected = ["MESSAGE_PARAMETER_COUNT_MISMATCH", method.name, str(required)]

    too_many = len(method.params) + 1
    assert call(method, *["x"] * too_many)["ErrorDescription"] == [*expected, str(too_many)]
    if required:
        assert call(method, *["x"] * (required - 1))["ErrorDescription"] == [
            *expected,
            str(required - 1),
        ]


@named([m for m in METHODS_WITH_SESSION if m.params])
def test_a_parameter_of_the_wrong_type_is_refused_by_name(
    method: Method, call: Any, this: Any
) -> None:
    for place, param in enumerate(method.params):
        values = arguments(method, this)
        values[place] = wrong(param.type)
        assert call(method, *values)["ErrorDescription"] == ["FIELD_TYPE_ERROR", param.name]


@named([m for m in METHODS_WITH_SESSION if any(isinstance(p.type, RefType) for p in m.params)])
def test_a_reference_to_nothing_is_refused_with_its_class(
    method: Method, call: Any, this: Any
) -> None:
    for place, param in enumerate(method.params):
        if not isinstance(param.type, RefType):
            continue
        values = arguments(method, this)
        values[place] = NOBODY
        refused = ["HANDLE_INVALID", param.type.target, NOBODY]
        assert call(method, *values)["ErrorDescription"] == refused


@of_kind(Kind.GET_RECORD)
def test_a_reference_to_another_class_or_to_nothing_at_all_is_refused(
    method: Method, call: Any, this: Any
) -> None:
    wire = method.owner.wire
    other = this("VM" if wire != "VM" else "host")

    assert call(method, other)["ErrorDescription"] == ["HANDLE_INVALID", wire, other]
    for null in ("", "OpaqueRef:NULL"):
        assert call(method, null)["ErrorDescription"] == [
            "HANDLE_INVALID",
            wire,
            "OpaqueRef:NULL",
        ]


@named(METHODS_WITH_SESSION)
def test_a_session_that_does_not_exist_is_refused_before_anything_else(
    method: Method, client: Any
) -> None:
    answer = getattr(client.proxy, method.name)("OpaqueRef:stranger", *["x"] * 9)

    assert answer["ErrorDescription"] == ["SESSION_INVALID", "OpaqueRef:stranger"]


@named(METHODS_WITH_SESSION)
def test_asynchronous_forms_exist_where_the_specification_has_them(
    method: Method, client: Any
) -> None:
    answer = getattr(client.proxy, f"Async.{method.name}")("OpaqueRef:stranger")

    plain = method.owner.wire in ("session", "task", "event") or method.kind in (
        Kind.GET,
        Kind.SET,
        Kind.ADD,
        Kind.REMOVE,
    )
    expected = "MESSAGE_METHOD_UNKNOWN" if plain else "SESSION_INVALID"
    assert answer["ErrorDescription"][0] == expected
