from __future__ import annotations

import asyncio
import re

import pytest

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.errors import (
    DBUniquenessConstraintViolation,
    HandleInvalid,
    InvalidValue,
    OperationNotAllowed,
)
from xapid.db.failures import StoreClosed
from xapid.db.store import Store
from xapid.db.transaction import Transaction

from .model import SR, VBD, VDI, VM, Host, Mood, Session, Task


async def test_a_new_object_has_its_values_and_defaults(store: Store):
    async with store.transaction() as tx:
        vm = tx.create(VM, {VM.name_label: "web", "memory": 7})

    record = store.get(vm)
    assert (record.name_label, record.memory, record.mood, record.domid) == (
        "web",
        7,
        Mood.CROSS,
        -1,
    )
    assert record.row.keys() == VM.fields.keys()


async def test_references_and_uuids_are_random_and_well_formed(store: Store):
    async with store.transaction() as tx:
        first, second = tx.create(VM), tx.create(VM)

    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert first != second and re.fullmatch(f"OpaqueRef:{uuid}", first)
    assert store.get(first).uuid != store.get(second).uuid
    assert re.fullmatch(uuid, store.get(first).uuid)


async def test_an_exception_drops_every_change(store: Store):
    async with store.transaction() as tx:
        sr = tx.create(SR, {SR.name_label: "before"})
        old = tx.create(VDI, {VDI.SR: sr})

    with pytest.raises(ZeroDivisionError):
        async with store.transaction() as tx:
            tx.set(sr, SR.name_label, "after")
            tx.create(VDI, {VDI.SR: sr})
            tx.destroy(old)
            raise ZeroDivisionError

    assert store.get(sr).name_label == "before" and store.get(sr).VDIs == (old,)
    assert store.refs(VDI) == [old] and store.by_name_label(SR, "after") == []


async def test_a_transaction_sees_its_own_changes_and_nobody_else_does(store: Store):
    async with store.transaction() as tx:
        sr = tx.create(SR)

    async with store.transaction() as tx:
        vdi = tx.create(VDI, {VDI.SR: sr})
        tx.set(sr, SR.name_label, "new")
        inside = tx.get(sr)
        outside = store.get(sr)

    assert (inside.name_label, inside.VDIs) == ("new", (vdi,))
    assert (outside.name_label, outside.VDIs) == ("", ())


async def test_a_record_that_was_handed_out_never_changes(store: Store):
    async with store.transaction() as tx:
        vm = tx.create(VM, {VM.name_label: "one"})
        first = tx.get(vm)
        tx.set(vm, VM.name_label, "two")
        second = tx.get(vm)
    async with store.transaction() as tx:
        tx.set(vm, VM.name_label, "three")

    assert [first.name_label, second.name_label, store.get(vm).name_label] == [
        "one",
        "two",
        "three",
    ]


async def test_a_changed_object_is_a_new_instance_without_encoded_form(store: Store):
    async with store.transaction() as tx:
        sr = tx.create(SR)
    before = store.get(sr)
    before.encoded = b"cached"

    async with store.transaction() as tx:
        tx.create(VDI, {VDI.SR: sr})

    assert store.get(sr) is not before and store.get(sr).encoded is None


async def test_setting_an_equal_value_changes_nothing(store: Store):
    async with store.transaction() as tx:
        vm = tx.create(VM, {VM.other_config: {"a": "b"}})
    before, event_id = store.get(vm), store.feed.current_id

    async with store.transaction() as tx:
        tx.set(vm, VM.other_config, {"a": "b"})
        tx.set(vm, VM.memory, 5)
        tx.set(vm, VM.memory, before.memory)

    assert store.get(vm) is before and store.feed.current_id == event_id


async def test_a_second_open_transaction_is_refused(store: Store):
    async with store.transaction():
        with pytest.raises(RuntimeError, match="must not await"):
            await store.transact(lambda tx: None)
    await store.transact(lambda tx: None)


async def test_a_transaction_cannot_be_used_after_its_end(store: Store):
    async with store.transaction() as tx:
        vm = tx.create(VM)

    for use in (lambda: tx.create(VM), lambda: tx.set(vm, VM.memory, 1), lambda: tx.destroy(vm)):
        with pytest.raises(RuntimeError, match="ended"):
            use()


async def test_transact_gives_the_result_of_its_body(store: Store):
    ref = await store.transact(lambda tx: tx.create(VM))
    assert store.get(ref).ref == ref


async def test_reads_by_reference_class_uuid_and_name(store: Store):
    async with store.transaction() as tx:
        vm = tx.create(VM, {VM.name_label: "twin"}, uuid="00000000-0000-0000-0000-000000000000")
        twin = tx.create(VM, {VM.name_label: "twin"})
        sr = tx.create(SR, {SR.name_label: "twin"})

    assert store.find(VM, str(vm)) is store.get(vm) and store.find(SR, vm) is None
    assert store.refs(VM) == [vm, twin] and store.count(VM) == 2
    assert store.all(SR) == [store.get(sr)] and store.class_of(sr) is SR
    assert store.by_uuid(VM, "00000000-0000-0000-0000-000000000000") == vm
    assert store.by_uuid(SR, "00000000-0000-0000-0000-000000000000") is None
    assert store.by_name_label(VM, "twin") == [vm, twin]


async def test_names_are_found_anew_after_renaming_and_destroying(store: Store):
    async with store.transaction() as tx:
        one, two = (tx.create(VM, {VM.name_label: "same"}) for _ in range(2))
    async with store.transaction() as tx:
        tx.set(one, VM.name_label, "other")
        tx.destroy(two)

    assert store.by_name_label(VM, "same") == [] and store.by_name_label(VM, "other") == [one]


async def test_objects_are_found_by_what_another_field_has(store: Store):
    async with store.transaction() as tx:
        one, two = (tx.create(VM, {VM.recommendations: "same"}) for _ in range(2))
    before = store.having(VM.recommendations, "same")
    async with store.transaction() as tx:
        tx.set(one, VM.recommendations, "other")
        tx.destroy(two)

    assert before == [one, two]
    assert store.having(VM.recommendations, "same") == []
    assert store.having(VM.recommendations, "other") == [one]
    assert "other" in store.values(VM.recommendations)
    assert "same" not in store.values(VM.recommendations)


async def test_an_unknown_reference_is_refused_with_the_class_it_was_of(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    await store.transact(lambda tx: tx.destroy(vm))

    with pytest.raises(HandleInvalid) as caught:
        store.get(vm)
    assert caught.value.wire() == ["HANDLE_INVALID", "VM", vm]
    with pytest.raises(HandleInvalid) as caught:
        store.get(Ref("OpaqueRef:never"))
    assert caught.value.wire() == ["HANDLE_INVALID", "", "OpaqueRef:never"]


@pytest.mark.parametrize("first", [VM, Session], ids=["durable", "volatile"])
async def test_a_uuid_is_unique_across_classes(store: Store, first: type):
    uuid = "11111111-2222-3333-4444-555555555555"
    await store.transact(lambda tx: tx.create(first, uuid=uuid))

    for cls in (SR, VM, Task):
        with pytest.raises(DBUniquenessConstraintViolation) as caught:
            await store.transact(lambda tx, cls=cls: tx.create(cls, uuid=uuid))
        assert caught.value.wire()[1:] == [cls.wire, "uuid", uuid]


async def test_a_uuid_is_unique_within_a_transaction_and_free_after_its_holder(store: Store):
    uuid = "11111111-2222-3333-4444-555555555555"
    with pytest.raises(DBUniquenessConstraintViolation):
        async with store.transaction() as tx:
            tx.create(SR, uuid=uuid)
            tx.create(VM, {"uuid": uuid})

    sr = await store.transact(lambda tx: tx.create(SR, uuid=uuid))
    async with store.transaction() as tx:
        tx.destroy(sr)
        vm = tx.create(VM, uuid=uuid)
    assert store.by_uuid(VM, uuid) == vm and store.by_uuid(SR, uuid) is None


@pytest.mark.parametrize("uuid", ["x", "11111111-2222-3333-4444-55555555555G", "{}", "A" * 36])
async def test_a_malformed_uuid_is_refused(store: Store, uuid: str):
    with pytest.raises(InvalidValue):
        await store.transact(lambda tx: tx.create(VM, uuid=uuid))


async def test_a_uuid_never_changes(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    with pytest.raises(TypeError, match="cannot change"):
        await store.set(vm, VM.uuid, "11111111-2222-3333-4444-555555555555")


async def test_a_reference_is_never_used_twice(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    for taken in (vm, NULL):
        with pytest.raises(ValueError, match="taken"):
            await store.transact(lambda tx, taken=taken: tx.create(VM, ref=taken))


async def test_a_derived_set_and_an_unknown_field_cannot_be_written(store: Store):
    sr = await store.transact(lambda tx: tx.create(SR))
    with pytest.raises(TypeError, match="kept by the store"):
        await store.set(sr, SR.VDIs, ())
    with pytest.raises(TypeError, match="does not exist"):
        await store.transact(lambda tx: tx.update(sr, {"colour": "red"}))
    with pytest.raises(TypeError, match="not a field of SR"):
        await store.set(sr, VM.name_label, "x")


# References and bound fields


async def test_bound_sets_follow_their_references(store: Store):
    async with store.transaction() as tx:
        here, there = tx.create(Host), tx.create(Host)
        vms = [tx.create(VM, {VM.resident_on: here}) for _ in range(3)]
    assert store.get(here).resident_VMs == tuple(vms)

    async with store.transaction() as tx:
        tx.set(vms[0], VM.resident_on, there)
        tx.set(vms[1], VM.resident_on, NULL)
    assert store.get(here).resident_VMs == (vms[2],)
    assert store.get(there).resident_VMs == (vms[0],)

    await store.transact(lambda tx: tx.destroy(vms[2]))
    assert store.get(here).resident_VMs == ()


async def test_an_older_record_keeps_the_set_it_had(store: Store):
    sr = await store.transact(lambda tx: tx.create(SR))
    records, expected = [store.get(sr)], [()]
    for step in range(150):  # past several compactions of the shared log
        async with store.transaction() as tx:
            if step % 3 == 2:
                tx.destroy(expected[-1][0])
                expected.append(expected[-1][1:])
            else:
                expected.append((*expected[-1], tx.create(VDI, {VDI.SR: sr})))
        records.append(store.get(sr))

    assert [record.VDIs for record in reversed(records)] == expected[::-1]


async def test_a_dropped_transaction_leaves_bound_sets_as_they_were(store: Store):
    sr = await store.transact(lambda tx: tx.create(SR))
    vdis = []
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with store.transaction() as tx:
                tx.create(VDI, {VDI.SR: sr})
                raise ZeroDivisionError
        vdis.append(await store.transact(lambda tx: tx.create(VDI, {VDI.SR: sr})))

    assert store.get(sr).VDIs == tuple(vdis)


async def test_a_record_shows_its_bound_sets_however_it_is_read(store: Store):
    async with store.transaction() as tx:
        sr = tx.create(SR)
    vdi = await store.transact(lambda tx: tx.create(VDI, {VDI.SR: sr}))

    async def fresh():
        await store.set(sr, SR.name_label, store.get(sr).name_label + "x")
        return store.get(sr).row

    assert (await fresh()).get("VDIs") == (vdi,)
    assert dict(await fresh())["VDIs"] == (vdi,)
    assert {**await fresh()}["VDIs"] == (vdi,)
    assert ((await fresh()) | {})["VDIs"] == (vdi,)
    assert ("VDIs", (vdi,)) in (await fresh()).items()
    assert set(await fresh()) == set((await fresh()).keys()) == set(SR.fields)
    assert len(await fresh()) == len((await fresh()).values()) == len(SR.fields)
    assert "VDIs" in await fresh()


@pytest.mark.parametrize("bad", ["OpaqueRef:nothing", "", "SR"])
async def test_a_reference_must_name_an_object_of_the_right_class(store: Store, bad: str):
    sr = await store.transact(lambda tx: tx.create(SR))
    raw = Ref(sr if bad == "SR" else bad)

    async with store.transaction() as tx:
        vbd = tx.create(VBD)
        vm = tx.create(VM)
        for write in (
            lambda: tx.create(VBD, {VBD.VDI: raw}),
            lambda: tx.set(vbd, VBD.VDI, raw),
            lambda: tx.set(vm, VM.favourites, (raw,)),
            lambda: tx.set(vm, VM.disks_by_name, {"a": raw}),
        ):
            with pytest.raises(HandleInvalid) as caught:
                write()
            assert caught.value.wire() == ["HANDLE_INVALID", "VDI", raw]
    assert store.refs(VBD) == [vbd] and store.get(vbd).VDI == NULL


async def test_referrers_are_found_in_references_sets_and_maps(store: Store):
    async with store.transaction() as tx:
        vdi = tx.create(VDI)
        vbd = tx.create(VBD, {VBD.VDI: vdi})
        child = tx.create(VDI, {VDI.parent: vdi})
        vm = tx.create(VM, {VM.favourites: (vdi, child), VM.disks_by_name: {"x": vdi}})
    assert set(store.referrers(vdi)) == {
        (vbd, VBD.VDI),
        (child, VDI.parent),
        (vm, VM.favourites),
        (vm, VM.disks_by_name),
    }

    async with store.transaction() as tx:
        tx.update(vm, {VM.favourites: (child,), VM.disks_by_name: {}})
        tx.destroy(vbd)
    assert store.referrers(vdi) == [(child, VDI.parent)]


async def test_a_referenced_object_cannot_be_destroyed(store: Store):
    async with store.transaction() as tx:
        sr = tx.create(SR, {SR.name_label: "local"})
        vdi = tx.create(VDI, {VDI.SR: sr})

    with pytest.raises(OperationNotAllowed) as caught:
        await store.transact(lambda tx: tx.destroy(sr))
    for told in (store.get(sr).uuid, "local", "SR of VDI", store.get(vdi).uuid):
        assert told in caught.value.reason
    assert store.get(sr).VDIs == (vdi,)


async def test_a_volatile_object_holds_what_it_refers_to(store: Store):
    async with store.transaction() as tx:
        host = tx.create(Host)
        task = tx.create(Task, {Task.host: host})
    with pytest.raises(OperationNotAllowed):
        await store.transact(lambda tx: tx.destroy(host))
    await store.transact(lambda tx: (tx.destroy(host), tx.destroy(task)))
    assert store.count(Host) == 0


async def test_referrers_may_go_or_let_go_in_the_same_transaction_in_any_order(store: Store):
    async with store.transaction() as tx:
        sr = tx.create(SR)
        parent = tx.create(VDI, {VDI.SR: sr})
        child = tx.create(VDI, {VDI.SR: sr, VDI.parent: parent})
        vbd = tx.create(VBD, {VBD.VDI: parent})

    async with store.transaction() as tx:
        tx.destroy(sr)
        tx.destroy(parent)
        tx.set(vbd, VBD.VDI, NULL)
        tx.destroy(child)

    assert store.refs(VDI) == store.refs(SR) == [] and store.get(vbd).VDI == NULL


async def test_a_reference_made_in_the_transaction_counts_too(store: Store):
    vdi = await store.transact(lambda tx: tx.create(VDI))
    with pytest.raises(OperationNotAllowed):
        async with store.transaction() as tx:
            tx.create(VBD, {VBD.VDI: vdi})
            tx.destroy(vdi)
    assert store.refs(VDI) == [vdi] and store.count(VBD) == 0


async def test_an_object_made_and_destroyed_in_one_transaction_was_never_there(store: Store):
    before = store.feed.current_id
    async with store.transaction() as tx:
        vm = tx.create(VM)
        tx.destroy(vm)
        with pytest.raises(HandleInvalid):
            tx.get(vm)
    assert store.count(VM) == 0 and store.feed.current_id == before


# Hooks


async def test_a_hook_derives_fields_within_the_transaction(store: Store):
    def allow(tx: Transaction, vm: Ref[VM]) -> None:
        tx.set(vm, VM.allowed, ("start",) if tx.get(vm).ready else ())

    store.on_change(VM, allow)
    before = store.feed.current_id
    vm = await store.transact(lambda tx: tx.create(VM, {VM.ready: True}))
    assert store.get(vm).allowed == ("start",)

    await store.set(vm, VM.ready, False)
    assert store.get(vm).allowed == ()
    assert len(store.feed.read(before, frozenset("*"))) == 2


async def test_hooks_of_other_objects_follow(store: Store):
    seen = []
    store.on_change(VDI, lambda tx, vdi: tx.set(tx.get(vdi).SR, SR.name_label, "has disks"))
    store.on_change(SR, lambda tx, sr: seen.append(tx.get(sr).name_label))
    sr = await store.transact(lambda tx: tx.create(SR))
    await store.transact(lambda tx: tx.create(VDI, {VDI.SR: sr}))

    assert store.get(sr).name_label == "has disks" and seen[0] == "" and seen[-1] == "has disks"


async def test_a_hook_is_not_called_for_destroyed_objects(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    called = []
    store.on_change(VM, lambda tx, ref: called.append(ref))

    async with store.transaction() as tx:
        tx.set(vm, VM.memory, 1)
        tx.destroy(vm)
    assert called == []


async def test_a_hook_is_not_called_for_fields_that_are_quiet_to_it(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    called = []
    store.on_change(VM, lambda tx, ref: called.append(ref), quiet=frozenset({"name_label"}))

    await store.set(vm, VM.name_label, "quiet")
    assert called == []

    async with store.transaction() as tx:
        tx.set(vm, VM.name_label, "with another")
        tx.set(vm, VM.memory, 7)
    async with store.transaction() as tx:
        tx.touch(vm)
    new = await store.transact(lambda tx: tx.create(VM, {VM.name_label: "new"}))
    assert called == [vm, vm, new]


async def test_a_hook_that_never_rests_drops_the_transaction(store: Store):
    store.on_change(VM, lambda tx, vm: tx.set(vm, VM.memory, tx.get(vm).memory + 1))
    with pytest.raises(RuntimeError, match="come to rest"):
        await store.transact(lambda tx: tx.create(VM))
    assert store.count(VM) == 0


async def test_a_failing_hook_drops_the_transaction(store: Store):
    def refuse(tx: Transaction, vm: Ref[VM]) -> None:
        raise InvalidValue("memory", "1")

    vm = await store.transact(lambda tx: tx.create(VM))
    store.on_change(VM, refuse)
    with pytest.raises(InvalidValue):
        await store.set(vm, VM.memory, 1)
    assert store.get(vm).memory == 1 << 20


async def test_touch_runs_the_hooks_of_an_unchanged_object(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    store.on_change(VM, lambda tx, ref: tx.set(ref, VM.domid, 9))
    await store.transact(lambda tx: tx.touch(vm))
    assert store.get(vm).domid == 9


async def test_a_closed_store_takes_no_changes(store: Store):
    vm = await store.transact(lambda tx: tx.create(VM))
    await store.close()
    with pytest.raises(StoreClosed):
        await store.set(vm, VM.memory, 1)
    assert store.get(vm).memory == 1 << 20


async def test_changes_that_wait_when_the_store_closes_are_written(open_store):
    store = await open_store()
    vm = await store.transact(lambda tx: tx.create(VM))
    waiting = asyncio.create_task(store.set(vm, VM.memory, 77))
    await asyncio.sleep(0)
    await store.close()

    await waiting
    assert (await open_store()).get(vm).memory == 77
