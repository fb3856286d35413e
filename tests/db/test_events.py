from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xapid.datamodel.errors import EventsLost
from xapid.db.events import RING, EventFeed
from xapid.db.failures import StorageFailure
from xapid.db.store import Store
from xapid.db.writer import EVENT_ID_BLOCK

from .conftest import OpenStore, failing_writes, stalled_writes
from .model import CLASSES, SR, VDI, VM, Session, Task

ALL = frozenset({"*"})


def seen(store: Store, after: int, classes: frozenset[str] = ALL) -> list[tuple[str, str, str]]:
    return [(e.class_name, e.operation, e.ref) for e in store.feed.read(after, classes)]


async def until(store: Store, after: int) -> None:
    async with asyncio.timeout(5):
        await store.feed.wait(after)


async def test_each_changed_object_gives_one_event_a_transaction(store: Store):
    start = store.feed.current_id
    async with store.transaction() as tx:
        sr = tx.create(SR)
        tx.set(sr, SR.name_label, "x")
    async with store.transaction() as tx:
        vdi = tx.create(VDI, {VDI.SR: sr})
        tx.set(vdi, VDI.size, 1)
        tx.set(vdi, VDI.size, 2)
    await store.transact(lambda tx: tx.destroy(vdi))

    assert seen(store, start) == [
        ("SR", "add", sr),
        ("VDI", "add", vdi),
        ("SR", "mod", sr),
        ("VDI", "del", vdi),
        ("SR", "mod", sr),
    ]
    assert seen(store, start, frozenset({"VDI", "VM"})) == [
        ("VDI", "add", vdi),
        ("VDI", "del", vdi),
    ]
    ids = [event.id for event in store.feed.read(start, ALL)]
    assert ids == list(range(start + 1, start + 6)) and store.feed.current_id == ids[-1]


async def test_an_event_carries_uuid_time_and_the_newest_record(path, tmp_path):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    store = await Store.open(path, CLASSES, clock=lambda: now)
    start = store.feed.current_id
    vm = await store.transact(lambda tx: tx.create(VM))
    await store.set(vm, VM.memory, 5)
    last = store.get(vm)
    await store.transact(lambda tx: tx.destroy(vm))
    events = store.feed.read(start, ALL)
    await store.close()

    assert {event.obj_uuid for event in events} == {last.uuid}
    assert {event.timestamp for event in events} == {now}
    assert [event.snapshot for event in events] == [last] * 3


async def test_sessions_give_no_events(store: Store):
    start = store.feed.current_id
    session = await store.transact(lambda tx: tx.create(Session))
    await store.transact(lambda tx: tx.destroy(session))
    assert store.feed.current_id == start and store.feed.read(start, ALL) == []


async def test_volatile_changes_return_at_once_but_wait_their_turn_in_the_feed(store: Store, path):
    vm = await store.transact(lambda tx: tx.create(VM))
    start = store.feed.current_id
    with stalled_writes(path):
        durable = asyncio.create_task(store.set(vm, VM.memory, 9))
        await asyncio.sleep(0)
        await store.set(vm, VM.domid, 4)
        task = await store.transact(lambda tx: tx.create(Task))
        assert store.get(vm).domid == 4 and not durable.done()
        assert store.feed.current_id == start
    await durable

    assert seen(store, start) == [("VM", "mod", vm), ("VM", "mod", vm), ("task", "add", task)]


async def test_volatile_changes_alone_give_events_at_once(store: Store):
    start = store.feed.current_id
    task = await store.transact(lambda tx: tx.create(Task))
    assert seen(store, start) == [("task", "add", task)]


async def test_a_change_that_could_not_be_written_gives_no_event(store: Store, path):
    vm = await store.transact(lambda tx: tx.create(VM))
    start = store.feed.current_id
    with failing_writes(path), pytest.raises(StorageFailure):
        await store.set(vm, VM.memory, 9)
    assert store.feed.read(start, ALL) == []


async def test_ids_rise_over_restarts_of_both_kinds(open_store: OpenStore):
    ids = []
    for _ in range(3):
        store = await open_store()
        ids.append(store.feed.current_id)
        await store.transact(lambda tx: tx.create(VM))
        await store.transact(lambda tx: tx.create(Task))
        ids.append(store.feed.current_id)
        await store.close()
    assert ids == sorted(set(ids))


async def test_what_came_before_a_restart_is_lost(open_store: OpenStore):
    store = await open_store()
    await store.transact(lambda tx: tx.create(VM))
    last = store.feed.current_id
    await store.close()

    store = await open_store()
    with pytest.raises(EventsLost):
        store.feed.read(last, ALL)
    assert store.feed.read(store.feed.current_id, ALL) == []


async def test_ids_are_reserved_in_time_for_changes_that_are_not_stored(
    open_store: OpenStore, path: Path, tmp_path: Path
):
    store = await open_store()
    task = await store.transact(lambda tx: tx.create(Task))
    for number in range(EVENT_ID_BLOCK // 2):
        await store.set(task, Task.name_label, str(number))
    while not store.commits:
        await asyncio.to_thread(lambda: None)  # nothing in the API tells of this write
    last = store.feed.current_id
    await store.set(task, Task.name_label, "one more commit, so that the reservation is over")
    await store.transact(lambda tx: tx.create(VM))

    left = tmp_path / "left by a crash"
    left.mkdir()
    for name in ("state.db", "state.db-wal"):
        shutil.copy(path.with_name(name), left)
    after_crash = await Store.open(left / "state.db", CLASSES)
    await after_crash.close()
    assert after_crash.feed.current_id > last + EVENT_ID_BLOCK // 2


# The feed by itself


def record(number: int) -> VM:
    return VM(f"OpaqueRef:{number}", {"uuid": str(number)})


def test_a_reader_who_fell_behind_the_ring_lost_events():
    feed = EventFeed(100, size=10)
    for number in range(25):
        feed.append([(None, record(number))], datetime.now(UTC))

    assert feed.current_id == 125
    assert [e.id for e in feed.read(115, ALL)] == list(range(116, 126))
    assert [e.obj_uuid for e in feed.read(123, ALL)] == ["23", "24"]
    assert feed.read(125, ALL) == []
    for lost in (114, 100, 99, 0, -1, 126):
        with pytest.raises(EventsLost):
            feed.read(lost, ALL)


def test_a_young_feed_begins_at_its_first_id():
    feed = EventFeed(7)
    feed.append([(None, record(1))], datetime.now(UTC))
    assert [e.id for e in feed.read(7, ALL)] == [8]
    with pytest.raises(EventsLost):
        feed.read(6, ALL)


def test_the_past_holds_one_record_an_object():
    feed = EventFeed(0)
    records = [record(1) for _ in range(RING)]
    feed.append([(records[i - 1], records[i]) for i in range(1, RING)], datetime.now(UTC))
    assert {id(e.snapshot) for e in feed.read(0, ALL)} == {id(records[-1])}


async def test_one_event_wakes_all_who_wait_and_a_cancelled_one_harms_no_other():
    feed = EventFeed(0)
    waiters = [asyncio.create_task(feed.wait(0)) for _ in range(50)]
    late = asyncio.create_task(feed.wait(1))
    await asyncio.sleep(0)
    waiters[10].cancel()
    await asyncio.sleep(0)
    assert sum(w.done() for w in waiters) == 1

    feed.append([(None, record(1))], datetime.now(UTC))
    done = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(d) for d in done].count(asyncio.CancelledError) == 1
    assert done.count(None) == 49 and not late.done()

    feed.append([(None, record(2))], datetime.now(UTC))
    await late


async def test_each_who_waits_gives_up_at_their_own_time():
    feed = EventFeed(1)
    now = asyncio.get_running_loop().time()

    late, soon, gone = (feed.next_change(until=now + wait_s) for wait_s in (0.05, 0.01, 0.02))
    gone.cancel()

    assert await soon
    assert not late.done()
    assert await late
    assert asyncio.get_running_loop().time() >= now + 0.05


async def test_waiting_for_what_is_there_already_returns(store: Store):
    start = store.feed.current_id
    waiting = asyncio.create_task(until(store, start))
    await store.transact(lambda tx: tx.create(VM))
    await waiting
    await until(store, start)
