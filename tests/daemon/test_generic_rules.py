"""The rules of the specification's first chapter that hold for every class alike."""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.registry import CLASSES, METHODS, Kind

from .conftest import MIB, Client, Daemon, Failure, disk, drive, storage, vm_values
from .world import World, card, populated

LEFT_TO_THE_SERVER = {
    "VIF.MAC": "an empty one is made up",
    "VIF.device": "the world's VM has an interface 0 already",
    "VBD.device": "what the guest calls it while it has it",
    "PBD.host": "one host has one PBD for an SR",
    "VDI.virtual_size": "it is rounded up",
    "network.bridge": "an empty one is made up",
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with populated() as made:
        yield made


def given(world: World, name: str) -> dict[str, Any]:
    """A whole constructor's record, with what is special for the class."""
    record = world.record(CLASSES[name])
    wanted = {
        "VM": vm_values(name_label="whole", PCI_bus="", is_a_template=False)
        | {"affinity": world.objects["host"], "domain_type": "pvh", "platform": {"acpi": "true"}},
        "VBD": {"userdevice": "7", "mode": "RO", "type": "CD", "empty": True, "VDI": ""},
        "VIF": {"device": "5", "MAC": "02:00:00:00:00:77", "MTU": "1400"},
        "VDI": {"virtual_size": str(64 * MIB), "type": "user"},
        "user": {"short_name": "constructed"},
        "network": {"bridge": "", "MTU": "1400"},
    }.get(name, {})
    taken = {key: value for key, value in wanted.items() if key in record}
    special = {"power_state": "Halted", "last_boot_CPU_flags": {}, "last_booted_record": ""}
    special |= {"suspend_VDI": "", "qos_algorithm_type": "", "currently_attached": False}
    return record | {k: v for k, v in special.items() if k in record} | taken


@pytest.mark.parametrize("name", ["VM", "VBD", "VIF", "VDI", "network", "user", "console"])
def test_a_constructor_takes_every_field_that_clients_give(world: World, name: str) -> None:
    values = given(world, name)

    made = world.wire.call(f"{name}.create", values)

    record = world.wire.call(f"{name}.get_record", made)
    assert record.keys() == CLASSES[name].fields.keys()
    null = ("OpaqueRef:NULL", "")
    for key, value in values.items():
        if f"{name}.{key}" not in LEFT_TO_THE_SERVER and value not in null:
            assert record[key] == value, key
    world.wire.call(f"{name}.destroy", made)


@pytest.mark.parametrize("name", ["VM", "network"])
def test_what_is_not_given_has_its_default(world: World, name: str) -> None:
    required = {k: world.valid(f.type) for k, f in CLASSES[name].fields.items() if f.required}

    made = world.wire.call(f"{name}.create", required)

    record = world.wire.call(f"{name}.get_record", made)
    for key, field in CLASSES[name].fields.items():
        if field.qualifier == "RW" and not field.required:
            assert record[key] == on_the_wire(field.default), key
    world.wire.call(f"{name}.destroy", made)


def on_the_wire(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if type(value) is int else value


def test_a_record_that_was_read_makes_another_object(world: World) -> None:
    record = world.wire.call("VM.get_record", world.objects["VM"])

    made = world.wire.call("VM.create", record)

    copy = world.wire.call("VM.get_record", made)
    assert copy["uuid"] != record["uuid"] and copy["VBDs"] == []
    assert {k: copy[k] for k in ("name_label", "platform", "memory_static_max")} == {
        k: record[k] for k in ("name_label", "platform", "memory_static_max")
    }


def test_uuids_are_unique_across_classes(world: World) -> None:
    found = Counter(
        record["uuid"]
        for name, cls in CLASSES.items()
        if "get_all_records" in cls.derived
        for record in world.wire.call(f"{name}.get_all_records").values()
    )

    assert len(found) > 40 and set(found.values()) == {1}
    assert all(str(uuid.UUID(one)) == one for one in found)


def test_a_uuid_of_another_class_is_not_taken_again(world: World) -> None:
    taken = world.wire.call("VM.get_uuid", world.objects["VM"])
    kind = ("file", "user", False)

    code, told = world.wire.answer("SR.introduce", world.wire.session, taken, "sr", "", *kind)

    assert (code, told) == ("SR_UUID_EXISTS", [taken])
    vm = vm_values(uuid=taken)  # a runtime field is left aside
    assert world.wire.call("VM.get_uuid", world.wire.call("VM.create", vm)) != taken


def test_references_are_opaque_and_never_come_again(world: World) -> None:
    seen = set()
    for _ in range(30):
        made = world.wire.call("network.create", {"name_label": "again"})
        world.wire.call("network.destroy", made)
        seen.add(made)

    assert len(seen) == 30
    assert all(ref.startswith("OpaqueRef:") for ref in seen)
    for ref in seen:
        code, _ = world.wire.answer("network.get_record", world.wire.session, ref)
        assert code == "HANDLE_INVALID"


def test_an_object_keeps_its_reference_over_a_restart_and_a_dead_one_stays_dead() -> None:
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        daemon = Daemon(Path(directory))
        daemon.start()
        client = daemon.client()
        kept, gone = (client("network.create", {"name_label": "n"}) for _ in range(2))
        client("network.destroy", gone)
        identity = client("network.get_uuid", kept)

        daemon.stop()
        daemon.start()

        again = daemon.client()
        assert again("network.get_uuid", kept) == identity
        with pytest.raises(Failure, match="HANDLE_INVALID"):
            again("network.get_uuid", gone)
        daemon.stop()


def test_destroying_does_not_cascade(daemon: Daemon, client: Client) -> None:
    vm, sr = client("VM.create", vm_values()), storage(client, daemon)
    vdi = disk(client, sr)
    vbd = drive(client, vm, vdi)
    network = client("network.create", {"name_label": "n"})
    vif = card(client, vm, network)

    for name, ref in (("VM", vm), ("VDI", vdi), ("network", network), ("SR", sr)):
        with pytest.raises(Failure) as refused:
            client(f"{name}.destroy", ref)
        assert refused.value.code != "INTERNAL_ERROR"

    for name, ref in (("VBD", vbd), ("VIF", vif), ("VM", vm), ("VDI", vdi), ("network", network)):
        client(f"{name}.destroy", ref)
    assert [client(f"{name}.get_all") for name in ("VBD", "VIF", "VDI")] == [[], [], []]
    assert [client(f"{name}_metrics.get_all") for name in ("VBD", "VIF")] == [[], []]


def test_what_a_client_says_of_the_last_boot_is_no_trap(world: World) -> None:
    for text in ("nonsense", "[]", '{"memory_static_max": "x"}', '{"name_label": 7}'):
        vm = world.wire.call("VM.create", vm_values(last_booted_record=text))

        record = world.wire.call("VM.get_boot_record", vm)

        assert (record["name_label"], record["memory_static_max"]) == ("guest", str(256 * MIB))


def test_every_constructor_is_looked_at() -> None:
    looked_at = {"VM", "VBD", "VIF", "VDI", "network", "user", "console"}
    made = {m.owner.wire for m in METHODS.values() if m.kind is Kind.CREATE}

    assert made - looked_at == {"PBD"}  # made with its SR: its tests stand with storage's
