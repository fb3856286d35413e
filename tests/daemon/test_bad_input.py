"""What no method accepts, for every parameter of every method, generated from the datamodel."""

from __future__ import annotations

import asyncio
import tempfile
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.bond import Bond
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
from xapid.datamodel.pif import PIF
from xapid.datamodel.pif_metrics import PIFMetrics
from xapid.datamodel.registry import CLASSES, METHODS, Kind, Method
from xapid.datamodel.vlan import VLAN
from xapid.db.store import Store

from .conftest import (
    Client,
    Daemon,
    disk,
    drive,
    eventually,
    patch,
    storage,
    vm_values,
)
from .wire import MALFORMED, VOLATILE, Wire, Xml

NULL = "OpaqueRef:NULL"
TYPE, HANDLE, VALUE = "FIELD_TYPE_ERROR", "HANDLE_INVALID", "INVALID_VALUE"
COUNT = "MESSAGE_PARAMETER_COUNT_MISMATCH"
DATE = xmlrpc.client.DateTime("20300101T00:00:00Z")
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


@dataclass
class World:
    """A daemon with an object of each class."""

    daemon: Daemon
    wire: Wire
    objects: dict[str, str]
    gone: dict[str, str]

    def valid(self, type_: Type[Any]) -> Any:
        """A value that the type check lets pass."""
        match type_:
            case EnumType():
                return str(next(iter(type_.values)))
            case RefType():
                return self.objects.get(type_.target, NULL)
            case SetType():
                return []
            case MapType():
                return {}
            case RecordType():
                return self.record(CLASSES[type_.target])
        return {String: "x", Int: "1", Float: 1.5, Bool: False, DateTime: DATE}[type_]

    def record(self, cls: type[Class]) -> dict[str, Any]:
        fields = (field for field in cls.fields.values() if field.qualifier != "RO/runtime")
        return {field.name: self.valid(field.type) for field in fields}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        daemon = Daemon(Path(directory))
        asyncio.run(seed(daemon.state / "state.db"))
        crashes = daemon.state / "crash"
        (crashes / "202611232144").mkdir(parents=True)
        settings = daemon.state / "settings.toml"
        settings.write_text(f'[host]\ncrash_directory = "{crashes}"\n')
        daemon.arguments = ("--config", str(settings))
        daemon.start()
        wire = Wire(daemon.socket)
        try:
            client = daemon.client()
            wire.session = client.session
            yield World(daemon, wire, *populate(client, daemon))
        finally:
            wire.close()
            daemon.stop()


async def seed(path: Path) -> None:
    """Put objects of the classes that no call makes yet into a new database."""
    store = await Store.open(path, CLASSES)
    async with store.transaction() as tx:
        metrics = tx.create(PIFMetrics, {})
        pifs = [
            tx.create(PIF, {"device": f"eth{n}", "physical": n == 0, "metrics": metrics})
            for n in range(3)
        ]
        tx.create(VLAN, {"tagged_PIF": pifs[0], "untagged_PIF": pifs[1], "tag": 7})
        tx.create(Bond, {"master": pifs[2]})
    await store.close()


def live_guest(client: Client, daemon: Daemon, sr: str, network: str) -> dict[str, str]:
    """A running guest; what only a running or a crashed one has, by class."""
    vm = client("VM.create", vm_values(actions_after_crash="coredump_and_destroy"))
    vbd = drive(client, vm, disk(client, sr))
    vif = card(client, vm, network)
    client("VM.start", vm, False, False)
    daemon.order(client("VM.get_domid", vm), "crash")
    crashdump = eventually(lambda: client("VM.get_crash_dumps", vm))[0]
    eventually(lambda: client("VM.get_power_state", vm) == "Halted")
    client("VM.start", vm, False, False)
    console = eventually(lambda: client("VM.get_consoles", vm))[0]
    found = {"crashdump": crashdump, "console": console}
    for cls, device in (("VBD", vbd), ("VIF", vif)):
        found[f"{cls}_metrics"] = eventually(partial(measured, client, cls, device))
    return found


def measured(client: Client, cls: str, device: str) -> str | None:
    """The metrics of a device, once there are some."""
    metrics: str = client(f"{cls}.get_metrics", device)
    return None if metrics == NULL else metrics


def card(client: Client, vm: str, network: str) -> str:
    values = {
        "device": "0", "network": network, "VM": vm, "MAC": "", "MTU": "1500",
        "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {},
    }  # fmt: skip
    ref: str = client("VIF.create", values)
    return ref


def populate(client: Client, daemon: Daemon) -> tuple[dict[str, str], dict[str, str]]:
    """Make objects; their references by class, and those of objects that are gone again."""
    sr = storage(client, daemon)
    network = client(
        "network.create", {"name_label": "n", "name_description": "", "other_config": {}}
    )
    gone = {}
    for _ in range(2):
        vm = client("VM.create", vm_values())
        vdi = disk(client, sr)
        vbd = drive(client, vm, vdi)
        vif = card(client, vm, network)
        user = client("user.create", {"short_name": "somebody", "fullname": ""})
        if not gone:
            gone = {"VBD": vbd, "VIF": vif, "VDI": vdi, "VM": vm, "user": user}
            for name, ref in gone.items():
                client(f"{name}.destroy", ref)
    objects = {"VM": vm, "VDI": vdi, "VBD": vbd, "VIF": vif, "network": network, "SR": sr}
    objects |= {"user": user, "session": client.session}
    objects |= live_guest(client, daemon, sr, network)
    backend = client("VM.create", vm_values())
    objects["VTPM"] = client("VTPM.create", {"VM": vm, "backend": backend})
    client("pool_patch.apply", patch(client, daemon), client("host.get_all")[0])
    for name, cls in CLASSES.items():
        if name not in objects and "get_all" in cls.derived:
            found = client(f"{name}.get_all")
            if found:
                objects[name] = found[0]
    objects["task"] = client("task.create", "mine", "")
    return objects, gone


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


@pytest.mark.parametrize("name", CLASSES)
def test_wrong_parameters_get_their_own_error_and_change_nothing(world: World, name: str) -> None:
    before = world.wire.everything()
    faults = []

    for method in METHODS.values():
        if method.owner.wire != name:
            continue
        for params, codes in cases(world, method):
            session = [world.wire.session] if method.session else []
            code, told = world.wire.answer(method.name, *session, *params)
            if code not in codes:
                faults.append((method.name, brief(params), code, told, codes))

    assert not faults, "\n".join(map(str, faults[:40]))
    assert world.wire.everything() == before


def test_the_world_has_an_object_of_every_class(world: World) -> None:
    assert CLASSES.keys() - world.objects.keys() == {"event", "VM_guest_metrics"}


READS = (Kind.GET, Kind.GET_ALL, Kind.GET_ALL_RECORDS, Kind.GET_RECORD, Kind.GET_BY_NAME_LABEL)
WATCHED = ("VM", "VBD", "VIF", "VDI", "SR")


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


@pytest.mark.parametrize("name", CLASSES)
def test_odd_values_are_taken_or_refused_with_a_reason_and_without_a_trace(
    world: World, name: str
) -> None:
    faults = []

    for method in METHODS.values():
        if method.owner.wire != name or method.kind in READS:
            continue
        before = records(world, method.owner)
        for params in odd_cases(world, method):
            session = [world.wire.session] if method.session else []
            code, told = world.wire.answer(method.name, *session, *params)
            after = records(world, method.owner)
            if code == "INTERNAL_ERROR" or (code != "Success" and after != before):
                faults.append((method.name, brief(params), code, told))
            before = after

    assert not faults, "\n".join(map(str, faults[:40]))


def records(world: World, cls: type[Class]) -> dict[str, Any]:
    """What a call to a method of the class could have changed."""
    own = {cls.wire} if "get_all_records" in cls.derived and cls.wire not in VOLATILE else set()
    return {name: world.wire.call(f"{name}.get_all_records") for name in {*WATCHED, *own}}


def brief(params: list[Any]) -> str:
    return repr([p if len(str(p)) < 80 else f"{str(p)[:60]}..." for p in params])
