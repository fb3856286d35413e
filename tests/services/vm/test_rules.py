"""What is allowed to a VM, asked of each and taken from one that is alike."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import Bool, EnumType, Field, Int, MapType, Ref, String
from xapid.datamodel.enums import DomainType, VbdOperations, VmOperations, VmPowerState
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.operations import Operations
from xapid.services.vm.rules import OPERATIONS, vm_likeness, vm_neighbours, vm_refusal


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    Operations(store).govern(VM, OPERATIONS, vm_refusal, vm_neighbours, vm_likeness)
    yield store
    await store.close()


def asked(store: Store, vm: Ref[VM]) -> tuple[Any, ...]:
    """The operations that are not refused, one by one."""
    record = store.get(vm)
    return tuple(op for op in OPERATIONS if vm_refusal(store, record, op) is None)


def others(field: Field[Any]) -> Iterator[Any]:
    """Values of a field that differ from its default."""
    match field.type:
        case EnumType() as type_:
            yield from type_.values.__members__.values()
        case MapType():
            yield {"key": "value"}
    samples = {String: "text", Bool: not field.default, Int: 1}
    if field.type in samples:
        yield samples[field.type]


async def test_vms_that_are_alike_may_do_the_same(store: Store) -> None:
    states = itertools.product(
        VmPowerState, (False, True), (False, True), (False, True), DomainType, ("", "BIOS order")
    )
    deciding = (
        "power_state", "is_a_template", "is_control_domain", "is_foreign_domain", "domain_type",
        "HVM_boot_policy",
    )  # fmt: skip
    async with store.transaction() as tx:
        made = [tx.create(VM, dict(zip(deciding, values, strict=True))) for values in states]

    seen = {store.get(vm).allowed_operations for vm in made}
    assert all(store.get(vm).allowed_operations == asked(store, vm) for vm in made)
    assert len(seen) >= 8


async def test_no_other_field_decides(store: Store) -> None:
    kept = {"uuid", "allowed_operations", "current_operations"}
    fields = [
        f
        for n, f in VM.fields.items()
        if n not in kept and n not in store.memory.layouts[VM].derived
    ]
    plain = await store.transact(lambda tx: tx.create(VM))
    async with store.transaction() as tx:
        vms = [tx.create(VM, {f.name: value}) for f in fields for value in others(f)]

    alike = [
        vm
        for vm in vms
        if vm_likeness(store, store.get(vm)) == vm_likeness(store, store.get(plain))
    ]
    assert all(store.get(vm).allowed_operations == asked(store, vm) for vm in vms)
    assert len(alike) > len(fields) // 2


async def test_what_is_under_way_is_looked_at_each_time(store: Store) -> None:
    async with store.transaction() as tx:
        vm, idle = tx.create(VM), tx.create(VM)
        vbd = tx.create(VBD, {"VM": vm, "userdevice": "0"})
    allowed = store.get(vm).allowed_operations
    assert VmOperations.START in allowed

    await store.transact(
        lambda tx: tx.set(vbd, VBD.current_operations, {"task": VbdOperations.PLUG})
    )
    await store.transact(lambda tx: tx.touch(vm))

    assert VmOperations.START not in store.get(vm).allowed_operations
    assert store.get(idle).allowed_operations == allowed
    await store.transact(
        lambda tx: tx.set(idle, VM.current_operations, {"task": VmOperations.CLONE})
    )
    assert store.get(idle).allowed_operations == asked(store, idle) != allowed
