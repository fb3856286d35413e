"""Backups: made beside a daemon, believed only when read back, put back only when it is stopped."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from xapid.admin import backup
from xapid.admin.archive import ArchiveDamaged
from xapid.datamodel.declare import Ref
from xapid.datamodel.vm import VM
from xapid.db import schema
from xapid.db.failures import BackupFailed, SchemaTooNew, StoreInUse
from xapid.db.store import Store

from .conftest import Clock, Host


def restore(host: Host, path: Path, *, database_only: bool = False) -> Path:
    plan = backup.plan_restore(host.places, path, database_only=database_only)
    return backup.restore(host.places, plan, Clock())


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


async def rename(store: Store, uuid: str, name: str) -> None:
    ref: Ref[VM] | None = store.by_uuid(VM, uuid)
    assert ref is not None
    await store.set(ref, VM.name_label, name)


async def test_a_backup_of_a_database_in_use_brings_back_what_was_then(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    await rename(store, vm, "after")
    await store.close()

    aside = restore(host, made.path)

    assert await host.name_of(vm) == "before"
    (host.root / "state/state.db").write_bytes((aside / "state.db").read_bytes())
    assert await host.name_of(vm) == "after"


async def test_a_backup_holds_settings_certificate_and_accounts(
    host: Host, vm: str, store: Store, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    await store.close()
    before = contents(host.root / "etc") | contents(host.root / "tls")
    host.write("tls/server.key", "another key", 0o640)
    host.write("etc/xapid.toml", "[log]\nlevel = 'error'\n")
    (host.root / "etc/conf.d/50-site.toml").unlink()
    (host.root / "state/root-password").unlink()

    aside = restore(host, made.path)

    assert contents(host.root / "etc") | contents(host.root / "tls") == before
    assert (host.root / "state/root-password").read_text() == "first-password\n"
    assert (aside / "tls/server.key").read_text() == "another key"
    assert stat.S_IMODE((host.root / "tls/server.key").stat().st_mode) == 0o640
    assert stat.S_IMODE((host.root / "state/root-password").stat().st_mode) == 0o600


async def test_the_database_alone_can_be_put_back(
    host: Host, vm: str, store: Store, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    await store.close()
    host.write("etc/xapid.toml", "kept")

    restore(host, made.path, database_only=True)

    assert (host.root / "etc/xapid.toml").read_text() == "kept"


async def test_nothing_is_put_back_under_a_running_daemon(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    host.write("etc/xapid.toml", "now")
    before = contents(host.root)

    with pytest.raises(StoreInUse, match="stop that one first"):
        restore(host, made.path)

    assert contents(host.root) == before


async def test_a_plan_alone_changes_nothing(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    host.write("tls/server.crt", "newer")
    (host.root / "state/patch-keys/maker").unlink()
    before = contents(host.root)

    plan = backup.plan_restore(host.places, made.path, database_only=False)

    actions = {step.member.name: step.action for step in plan.steps}
    assert actions["tls/server.crt"] == "replaced"
    assert actions["state/patch-keys/maker"] == "new"
    assert actions["tls/server.key"] == "same"
    assert contents(host.root) == before


async def test_a_lost_database_is_brought_back(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    await store.close()
    (host.root / "state/state.db").write_bytes(b"\0" * 50_000)

    aside = restore(host, made.path)

    assert await host.name_of(vm) == "before"
    assert (aside / "state.db").read_bytes() == b"\0" * 50_000


async def test_a_log_that_a_killed_daemon_left_has_no_part_in_what_is_restored(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    await rename(store, vm, "in the log only")
    log = (host.root / "state/state.db-wal").read_bytes()
    file = (host.root / "state/state.db").read_bytes()
    await store.close()
    (host.root / "state/state.db").write_bytes(file)
    (host.root / "state/state.db-wal").write_bytes(log)

    aside = restore(host, made.path)

    assert await host.name_of(vm) == "before"
    assert (aside / "state.db-wal").read_bytes() == log


async def test_a_whole_new_host_takes_a_backup(
    host: Host, store: Store, vm: str, clock: Clock, tmp_path: Path
) -> None:
    made = backup.create(host.places, clock)
    new = Host(tmp_path / "new")
    new.root.mkdir()

    plan = backup.plan_restore(new.places, made.path, database_only=False)
    backup.restore(new.places, plan, clock)

    assert await new.name_of(vm) == "before"
    assert contents(new.root / "etc") == contents(host.root / "etc")


async def test_only_so_many_are_kept_and_nothing_else_is_deleted(
    host: Host, store: Store, clock: Clock
) -> None:
    host.write("backup/notes.tar.gz", "mine")
    made = [backup.create(host.places, clock) for _ in range(5)]

    kept = [entry.path for entry in backup.entries(host.places)]

    assert kept == [each.path for each in made[-3:]]
    assert made[-1].dropped == (made[-4].path.name,)
    assert (host.root / "backup/notes.tar.gz").read_text() == "mine"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


async def test_a_full_disk_leaves_the_older_backups_and_nothing_half_made(
    host: Host, store: Store, small_disk: Path, clock: Clock
) -> None:
    places = host.places_keeping(small_disk)
    made = [backup.create(places, clock).path for _ in range(3)]
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="space"), ballast.open("wb", 0) as file:
        while True:
            file.write(os.urandom(4096))

    with pytest.raises(BackupFailed, match=r"No space|full"):
        backup.create(places, clock)

    assert contents(small_disk).keys() == {path.name for path in [ballast, *made]}
    ballast.unlink()
    assert backup.create(places, clock).dropped == (made[0].name,)


async def test_there_is_no_backup_without_a_database(host: Host, clock: Clock) -> None:
    with pytest.raises(BackupFailed, match="there is no database at"):
        backup.create(host.places, clock)

    assert list((host.root / "backup").iterdir()) == []


async def test_a_damaged_database_gives_no_backup_and_drops_none(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = [backup.create(host.places, clock).path for _ in range(3)]
    with closing(sqlite3.connect(host.places.database)) as other:
        other.execute("UPDATE object SET body = CAST('no JSON' AS BLOB) WHERE uuid = ?", (vm,))
        other.commit()

    with pytest.raises(BackupFailed, match="damaged"):
        backup.create(host.places, clock)

    assert sorted((host.root / "backup").iterdir()) == made


async def test_a_second_backup_at_the_same_time_is_refused(
    host: Host, store: Store, clock: Clock
) -> None:
    directory = host.root / "backup"
    directory.mkdir()

    with backup._alone(directory), pytest.raises(BackupFailed, match="another one"):
        backup.create(host.places, clock)

    backup.create(host.places, clock)


async def test_two_backups_of_the_same_second_are_both_kept(
    host: Host, store: Store, clock: Clock
) -> None:
    now = clock()
    first, second = (backup.create(host.places, lambda: now) for _ in range(2))

    assert [entry.path for entry in backup.entries(host.places)] == [first.path, second.path]


async def test_what_a_killed_one_left_is_cleared_away(
    host: Host, store: Store, clock: Clock
) -> None:
    left = host.write("backup/.xapid-20260101T000000Z.tar.gz.partial", "half")

    backup.create(host.places, clock)

    assert not left.exists()


async def test_a_backup_of_a_newer_schema_is_refused(
    host: Host, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup.create(host.places, clock)
    monkeypatch.setattr(schema, "migrations", lambda: [])

    with pytest.raises(SchemaTooNew, match="install the version"):
        backup.plan_restore(host.places, made.path, database_only=False)


async def test_a_copy_of_the_database_alone_is_listed_verified_and_restored(
    host: Host, store: Store, vm: str
) -> None:
    (host.root / "backup").mkdir()
    copy = host.root / "backup/state-20260101T000000Z.db"
    await store.backup(copy)
    await rename(store, vm, "after")
    await store.close()
    host.write("etc/xapid.toml", "kept")

    (entry,) = backup.entries(host.places)
    restore(host, copy)

    assert entry.holds == "database"
    assert await host.name_of(vm) == "before"
    assert (host.root / "etc/xapid.toml").read_text() == "kept"


async def test_a_damaged_backup_is_listed_with_what_is_wrong_and_not_restored(
    host: Host, store: Store, vm: str, clock: Clock
) -> None:
    made = backup.create(host.places, clock)
    made.path.write_bytes(made.path.read_bytes()[:60])
    await store.close()
    before = contents(host.root / "state")

    (entry,) = backup.entries(host.places)
    with pytest.raises(ArchiveDamaged):
        restore(host, made.path)

    assert "damaged" in entry.fault
    assert contents(host.root / "state") == before


async def test_one_settings_file_is_put_back_where_it_is(
    host: Host, store: Store, clock: Clock
) -> None:
    places = backup.Places(host.places.config, host.write("own.toml", "[log]\n"))
    made = backup.create(places, clock)
    await store.close()
    places.settings.write_text("changed")

    backup.restore(places, backup.plan_restore(places, made.path, database_only=False), clock)

    assert places.settings.read_text() == "[log]\n"
