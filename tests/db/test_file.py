# ruff: noqa: ASYNC240 (a test may wait for its own small files)

from __future__ import annotations

import asyncio
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from xapid.datamodel.declare import NULL
from xapid.db import schema
from xapid.db.failures import (
    DatabaseDamaged,
    DiskRefused,
    NotOurDatabase,
    SchemaTooNew,
    StorageFailure,
    StoreInUse,
)
from xapid.db.store import Store
from xapid.db.writer import BYTES_AT_ONCE

from .conftest import OpenStore, failing_writes, stalled_writes
from .model import CLASSES, SR, VBD, VDI, VM, Host, Mood, Task


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        for statement in statements:
            other.execute(statement)
        other.commit()


def stored(path: Path, ref: str) -> str | None:
    with closing(sqlite3.connect(path)) as other:
        found = other.execute("SELECT body FROM object WHERE ref = ?", (ref,)).fetchone()
    return None if found is None else found[0].decode()


# Restarts


async def test_a_change_that_returned_is_in_the_file(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM, {VM.name_label: "here"}))
    assert '"name_label":"here"' in str(stored(path, vm))
    await store.transact(lambda tx: tx.destroy(vm))
    assert stored(path, vm) is None


async def test_many_rows_of_one_commit_keep_their_order(open_store: OpenStore):
    store = await open_store()
    names = [str(number) * (BYTES_AT_ONCE // 4 if number % 5 == 0 else 1) for number in range(37)]
    async with store.transaction() as tx:
        made = [tx.create(SR, {"name_label": name}) for name in names]
        tx.create(VDI, {"SR": made[0]})
    async with store.transaction() as tx:
        tx.set(made[1], SR.name_label, "one")
    await store.close()

    store = await open_store()

    assert [sr.name_label for sr in store.all(SR)] == [names[0], "one", *names[2:]]
    assert [sr.ref for sr in store.all(SR)] == made


async def test_a_restart_keeps_what_lasts_and_drops_what_is_volatile(open_store: OpenStore):
    store = await open_store()
    async with store.transaction() as tx:
        host = tx.create(Host)
        sr = tx.create(SR, {SR.name_label: "disks"})
        vdis = [tx.create(VDI, {VDI.SR: sr, VDI.size: i}) for i in range(5)]
        vm = tx.create(VM, {VM.resident_on: host, VM.domid: 3, VM.allowed: ("start",)})
        passing = tx.create(VM, volatile=True)
        tx.create(Task)
        tx.update(vm, {VM.favourites: vdis, VM.mood: Mood.CALM})
    await store.close()

    store = await open_store()
    record = store.get(vm)
    assert (record.resident_on, record.domid, record.allowed) == (NULL, -1, ())
    assert (record.favourites, record.mood) == (tuple(vdis), Mood.CALM)
    assert store.refs(VM) == [vm] and store.find(VM, passing) is None and store.count(Task) == 0
    assert store.get(sr).VDIs == tuple(vdis) and store.get(host).resident_VMs == ()
    assert store.by_name_label(SR, "disks") == [sr]
    assert store.by_uuid(VM, record.uuid) == vm
    assert (vm, VM.favourites) in store.referrers(vdis[0])


async def test_a_reference_to_a_volatile_object_is_null_after_a_restart(open_store: OpenStore):
    store = await open_store()
    async with store.transaction() as tx:
        vdi = tx.create(VDI, volatile=True)
        vbd = tx.create(VBD, {VBD.VDI: vdi})
        vm = tx.create(VM, {VM.favourites: (vdi,), VM.disks_by_name: {"a": vdi}})
    await store.close()

    store = await open_store()
    assert store.get(vbd).VDI == NULL
    assert store.get(vm).favourites == () and store.get(vm).disks_by_name == {}
    assert store.referrers(vdi) == []


async def test_volatile_objects_stay_out_of_the_file_when_changed(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM, volatile=True))
    before = store.commits
    await store.set(vm, VM.name_label, "x")
    await store.transact(lambda tx: tx.destroy(vm))
    assert store.commits == before and stored(path, vm) is None


async def test_credentials_last_and_can_be_removed(open_store: OpenStore):
    store = await open_store()
    await store.set_credential("root", "$argon2id$1")
    await store.set_credential("root", "$argon2id$2")
    await store.set_credential("other", "$argon2id$3")
    await store.set_credential("other", None)
    await store.close()

    store = await open_store()
    assert store.credential("root") == "$argon2id$2" and store.credential("other") is None


async def test_a_body_of_another_version_is_adapted(open_store: OpenStore, path: Path):
    store = await open_store()
    vm = await store.transact(lambda tx: tx.create(VM, {VM.name_label: "kept", VM.memory: 5}))
    await store.close()
    execute(
        path,
        "UPDATE object SET body = CAST(json_remove(json_set(CAST(body AS TEXT), "
        "'$.colour', 'red', '$.load', 'much', '$.mood', 'sad', '$.started', 'noon'), "
        "'$.other_config') AS BLOB)",
        "INSERT INTO object VALUES ('OpaqueRef:x', 'vanished', NULL, CAST('{}' AS BLOB))",
    )

    store = await open_store()
    record = store.get(vm)
    assert (record.name_label, record.memory) == ("kept", 5)
    assert record.row.keys() == VM.fields.keys()
    assert (record.load, record.mood, record.other_config) == (0.0, Mood.CROSS, {})
    assert record.started == VM.started.default
    await store.close()
    assert stored(path, "OpaqueRef:x") == "{}"


@pytest.mark.parametrize("body", ["'{'", "'[]'", "X'7B22FF223A317D'"])
async def test_a_damaged_body_is_named(open_store: OpenStore, path: Path, body: str):
    store = await open_store()
    vm = await store.transact(lambda tx: tx.create(VM))
    await store.close()
    execute(path, f"UPDATE object SET body = CAST({body} AS BLOB)")  # noqa: S608

    with pytest.raises(DatabaseDamaged, match=vm):
        await open_store()


async def test_ten_thousand_objects_load_in_ten_times_the_time_of_a_thousand(tmp_path: Path):
    took_s = {}
    for pairs in (500, 5_000):
        path = tmp_path / str(pairs)
        path.mkdir(mode=0o700)
        store = await Store.open(path / "state.db", CLASSES)
        async with store.transaction() as tx:
            sr = tx.create(SR)
            for number in range(pairs):
                tx.create(VDI, {VDI.SR: sr, VDI.size: number})
                tx.create(VM, {VM.name_label: f"vm{number}", VM.other_config: {"a": "b" * 500}})
        await store.close()

        start = time.process_time()
        store = await Store.open(path / "state.db", CLASSES)
        took_s[pairs] = time.process_time() - start
        assert len(store.get(sr).VDIs) == pairs and store.count(VM) == pairs
        await store.close()

    assert took_s[5_000] < 30 * took_s[500]  # 10, and much more if each object cost more


# The file


async def test_the_file_is_private_and_marked_as_ours(store: Store, path: Path):
    for name in ("state.db", "state.db-wal", "state.db-shm", "state.db.lock"):
        assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
        assert other.execute("PRAGMA user_version").fetchone() == (len(schema.migrations()),)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_closing_leaves_one_whole_file(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM))
    await store.close()
    assert not path.with_name("state.db-wal").exists()
    assert stored(path, vm) is not None


async def test_a_second_opener_is_refused_until_the_first_closes(open_store: OpenStore):
    store = await open_store()
    with pytest.raises(StoreInUse, match="in use"):
        await open_store()
    await store.close()
    await open_store()


async def test_a_newer_schema_is_refused_and_left_alone(open_store: OpenStore, path: Path):
    await (await open_store()).close()
    newer = len(schema.migrations()) + 1
    execute(path, f"PRAGMA user_version = {newer}")

    with pytest.raises(SchemaTooNew, match=f"schema {newer}"):
        await open_store()
    execute(path, f"PRAGMA user_version = {newer - 1}")
    await open_store()


async def test_other_files_are_refused(open_store: OpenStore, path: Path):
    execute(path, "CREATE TABLE theirs (x)")
    with pytest.raises(NotOurDatabase, match="another program"):
        await open_store()

    path.write_bytes(b"This is a letter, not a database. " * 100)
    with pytest.raises(NotOurDatabase, match="not a database"):
        await open_store()
    assert path.read_bytes().startswith(b"This is a letter")


async def test_a_missing_directory_and_a_symbolic_link_are_refused(tmp_path: Path):
    with pytest.raises(DiskRefused, match="No such file"):
        await Store.open(tmp_path / "nowhere" / "state.db", CLASSES)
    (tmp_path / "state.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskRefused, match="symbolic"):
        await Store.open(tmp_path / "state.db", CLASSES)


async def test_damaged_pages_are_refused_and_left_alone(open_store: OpenStore, path: Path):
    store = await open_store()
    async with store.transaction() as tx:
        for number in range(100):
            tx.create(VM, {VM.name_label: f"vm {number}", VM.recommendations: "x" * 500})
    await store.close()
    content = bytearray(path.read_bytes())
    # The index of the uuids: reading all objects does not touch it.
    with closing(sqlite3.connect(path)) as other:
        (page,) = other.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_object_2'"
        ).fetchone()
    content[(page - 1) * 4096 + 100 : page * 4096] = b"\xa5" * 3996
    path.write_bytes(content)

    with pytest.raises(DatabaseDamaged, match="xapid backup restore"):
        await open_store()

    assert path.read_bytes() == content


async def test_a_migration_keeps_a_copy_of_what_was_before(
    open_store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = await open_store()
    vm = await store.transact(lambda tx: tx.create(VM, {VM.name_label: "before"}))
    await store.close()
    steps = [*schema.migrations(), "UPDATE meta SET value = value;"]
    monkeypatch.setattr(schema, "migrations", lambda: steps)

    await (await open_store()).close()

    (copy,) = (path.parent / "backup").iterdir()
    assert copy.name.startswith(f"before-schema-{len(steps)}-")
    monkeypatch.setattr(schema, "migrations", lambda: steps[:-1])
    with pytest.raises(SchemaTooNew, match=f"before-schema-{len(steps)}"):
        await open_store()
    copy.replace(path)
    assert (await open_store()).get(vm).name_label == "before"


async def test_a_migration_that_cannot_be_copied_before_is_not_made(
    open_store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
):
    await (await open_store()).close()
    before = path.read_bytes()
    steps = [*schema.migrations(), "UPDATE meta SET value = value;"]
    monkeypatch.setattr(schema, "migrations", lambda: steps)
    (path.parent / "backup").write_text("in the way")

    with pytest.raises(DiskRefused, match="stays as it is"):
        await open_store()

    assert path.read_bytes() == before


def test_migrations_are_gapless_and_each_is_whole(tmp_path: Path):
    steps = schema.migrations()
    assert len(steps) >= 1
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as connection:
        schema.prepare(connection, tmp_path / "x.db")
        schema.prepare(connection, tmp_path / "x.db")
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        assert {name for (name,) in tables} == {"object", "meta", "credential"}


# Trouble with the disk


async def test_a_failed_write_is_taken_back_and_the_next_one_tried(store: Store, path: Path):
    async with store.transaction() as tx:
        sr = tx.create(SR, {SR.name_label: "before"})
        vdi = tx.create(VDI, {VDI.SR: sr})
    before = store.get(sr)

    with failing_writes(path):
        for _ in range(3):
            with pytest.raises(StorageFailure, match="disk is broken"):
                async with store.transaction() as tx:
                    tx.set(sr, SR.name_label, "after")
                    tx.destroy(vdi)
                    tx.create(VDI, {VDI.SR: sr})
            assert store.get(sr) is before and store.refs(VDI) == [vdi]
            assert store.by_name_label(SR, "after") == [] and store.by_name_label(SR, "before") == [
                sr
            ]
            assert store.referrers(sr) == [(vdi, VDI.SR)] and before.VDIs == (vdi,)

    other = await store.transact(lambda tx: tx.create(VDI, {VDI.SR: sr}))
    assert store.get(sr).VDIs == (vdi, other) and stored(path, other) is not None


async def test_all_that_waited_behind_a_failed_write_is_taken_back(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM, {VM.memory: 0}))

    async def write(number: int) -> None:
        await store.set(vm, VM.memory, number)

    with failing_writes(path):
        results = await asyncio.gather(*map(write, range(1, 40)), return_exceptions=True)
    assert {type(r) for r in results} == {StorageFailure}
    assert store.get(vm).memory == 0


async def test_volatile_changes_survive_the_failure_of_those_around_them(store: Store, path: Path):
    async with store.transaction() as tx:
        vm, host, doomed = tx.create(VM), tx.create(Host), tx.create(Task)
    store.on_change(VM, lambda tx, ref: tx.set(ref, VM.allowed, (str(tx.get(ref).memory),)))
    start = store.feed.current_id

    with failing_writes(path):
        first = asyncio.create_task(store.set(vm, VM.memory, 1))
        await asyncio.sleep(0)
        async with store.transaction() as tx:
            tx.set(vm, VM.domid, 5)
            tx.set(vm, VM.resident_on, host)
            task = tx.create(Task, {Task.host: host}, uuid="11111111-2222-3333-4444-555555555555")
            tx.destroy(doomed)
        last = asyncio.create_task(store.set(vm, VM.memory, 2))
        results = await asyncio.gather(first, last, return_exceptions=True)

    assert {type(r) for r in results} == {StorageFailure}
    record = store.get(vm)
    assert (record.memory, record.domid, record.resident_on) == (1 << 20, 5, host)
    assert record.allowed == (str(1 << 20),)
    assert store.get(host).resident_VMs == (vm,)
    assert store.refs(Task) == [task]
    assert store.by_uuid(Task, "11111111-2222-3333-4444-555555555555") == task
    assert [(e.operation, e.ref) for e in store.feed.read(start, frozenset("*"))] == [
        ("mod", vm),
        ("mod", host),
        ("add", task),
        ("del", doomed),
    ]


async def test_a_volatile_change_of_an_object_that_was_never_written_goes_with_it(
    store: Store, path: Path
):
    with failing_writes(path):
        made = asyncio.create_task(store.transact(lambda tx: tx.create(VM)))
        await asyncio.sleep(0)
        (vm,) = store.refs(VM)
        await store.set(vm, VM.domid, 5)
        with pytest.raises(StorageFailure):
            await made
    assert store.count(VM) == 0
    await store.transact(lambda tx: tx.create(VM))


async def test_a_failed_credential_is_taken_back(store: Store, path: Path):
    await store.set_credential("root", "old")
    with failing_writes(path), pytest.raises(StorageFailure):
        async with store.transaction() as tx:
            tx.set_credential("root", "new")
            tx.set_credential("other", "new")
            tx.create(VM)
    assert store.credential("root") == "old" and store.credential("other") is None


async def test_a_full_disk_loses_nothing_and_recovers(small_disk: Path):
    store = await Store.open(small_disk / "state.db", CLASSES)
    vm = await store.transact(lambda tx: tx.create(VM, {VM.name_label: "small"}))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 300_000)
    kept = []
    with pytest.raises(StorageFailure, match="full"):
        while True:
            kept.append(
                await store.transact(lambda tx: tx.create(VM, {VM.recommendations: "x" * 50_000}))
            )
    assert store.refs(VM) == [vm, *kept]
    with pytest.raises(StorageFailure):
        await store.transact(lambda tx: tx.create(VM, {VM.recommendations: "x" * 200_000}))

    ballast.unlink()
    await store.set(vm, VM.name_label, "after")
    await store.close()
    store = await Store.open(small_disk / "state.db", CLASSES)
    found = store.refs(VM), store.get(vm).name_label
    await store.close()
    assert found == ([vm, *kept], "after")


async def test_a_disk_that_the_log_has_filled_is_helped_by_emptying_it(small_disk: Path):
    store = await Store.open(small_disk / "state.db", CLASSES)
    vm = await store.transact(lambda tx: tx.create(VM, {VM.recommendations: "x" * 50_000}))
    await store.set(vm, VM.recommendations, "y" * 50_000)
    await store.close()
    store = await Store.open(small_disk / "state.db", CLASSES)
    for number in range(60):  # 3 MB through the log of a disk of 1 MB
        await store.set(vm, VM.recommendations, f"{number:02}" * 25_000)
    await store.close()

    store = await Store.open(small_disk / "state.db", CLASSES)
    text = store.get(vm).recommendations
    await store.close()
    assert text == "59" * 25_000


async def test_a_directory_that_cannot_hold_a_database_is_told(small_disk: Path):
    (small_disk / "ballast").write_bytes(b"x" * ((1 << 20) - 8192))
    with pytest.raises(DiskRefused, match=r"cannot be opened: .* KiB free: make room"):
        await Store.open(small_disk / "state.db", CLASSES)


# Waiting for the disk


async def test_two_hundred_writers_share_few_commits(store: Store, path: Path):
    async with store.transaction() as tx:
        vms = [tx.create(VM) for _ in range(200)]
    before = store.commits
    with stalled_writes(path):
        writers = [
            asyncio.create_task(store.set(vm, VM.memory, number)) for number, vm in enumerate(vms)
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*writers)

    assert 1 <= store.commits - before <= 2
    assert [store.get(vm).memory for vm in vms] == list(range(200))
    assert all(f'"memory":{n}' in str(stored(path, vm)) for n, vm in enumerate(vms))


async def test_repeating_a_change_waits_until_the_first_is_on_disk(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM))
    with stalled_writes(path):
        first = asyncio.create_task(store.set(vm, VM.memory, 3))
        await asyncio.sleep(0)
        again = asyncio.create_task(store.set(vm, VM.memory, 3))
        await asyncio.sleep(0.02)
        assert not first.done() and not again.done()
    await again
    assert '"memory":3' in str(stored(path, vm))
    await first


async def test_repeating_a_change_fails_with_it(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM))
    with failing_writes(path):
        writes = (store.set(vm, VM.memory, 3) for _ in range(3))
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(r) for r in results] == [StorageFailure] * 3


async def test_a_cancellation_is_delivered_after_the_write(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM))
    left = []

    async def change() -> None:
        await store.set(vm, VM.memory, 3)
        left.append(stored(path, vm))
        await asyncio.sleep(0)
        left.append("too far")

    with stalled_writes(path):
        task = asyncio.create_task(change())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(left) == 1 and '"memory":3' in str(left[0])


async def test_a_timeout_during_a_write_is_still_a_timeout(store: Store, path: Path):
    vm = await store.transact(lambda tx: tx.create(VM))

    async def change() -> None:
        async with asyncio.timeout(0.01):
            await store.set(vm, VM.memory, 3)
            await asyncio.sleep(10)

    with stalled_writes(path):
        task = asyncio.create_task(change())
        await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError):
        await task
    assert store.get(vm).memory == 3 and task.cancelling() == 0


async def test_the_log_is_moved_into_the_file_while_writing_goes_on(store: Store, path: Path):
    vms = await store.transact(lambda tx: [tx.create(VM) for _ in range(50)])
    size = path.stat().st_size
    for number in range(60):
        async with store.transaction() as tx:
            for vm in vms:
                tx.set(vm, VM.name_label, str(number) * 2000)
    assert path.stat().st_size > size
    assert path.with_name("state.db-wal").stat().st_size < 64 << 20


async def test_a_log_that_a_reader_held_up_is_shortened_without_waiting_for_it(
    store: Store, path: Path
):
    async def write(rounds: int) -> None:
        for number in range(rounds):
            async with store.transaction() as tx:
                for vm in vms:
                    tx.set(vm, VM.recommendations, str(number % 10) * 1_000_000)

    vms = await store.transact(lambda tx: [tx.create(VM) for _ in range(10)])
    log = path.with_name("state.db-wal")
    loop = asyncio.get_running_loop()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM object").fetchone()
        start = loop.time()
        await write(9)
        assert loop.time() - start < 5
        assert log.stat().st_size > 80 << 20
    await write(3)
    assert log.stat().st_size < 80 << 20
