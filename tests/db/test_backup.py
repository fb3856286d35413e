"""A backup holds what was changed before it, and is there only if it is good."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from xapid.db.failures import BackupFailed, StorageFailure
from xapid.db.store import Store

from .conftest import failing_writes
from .model import CLASSES, SR


def copies(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if "copy" in path.name]


async def test_a_backup_can_be_opened_and_holds_everything(store: Store, tmp_path: Path) -> None:
    made = await store.transact(lambda tx: [tx.create(SR) for _ in range(50)])
    await store.set_credential("root", "a hash")

    size = await store.backup(tmp_path / "copy.db")

    assert size == (tmp_path / "copy.db").stat().st_size
    copy = await Store.open(tmp_path / "copy.db", CLASSES)
    assert sorted(copy.refs(SR)) == sorted(made)
    assert copy.credential("root") == "a hash"
    await copy.close()


async def test_a_backup_is_readable_by_its_owner_only(store: Store, tmp_path: Path) -> None:
    await store.backup(tmp_path / "copy.db")

    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


async def test_a_backup_that_fails_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed):
        await store.backup(tmp_path / "missing" / "copy.db")

    assert not (tmp_path / "missing").exists()


async def test_a_database_that_is_damaged_gives_no_backup(
    store: Store, path: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("ALTER TABLE meta RENAME TO lost")

    with pytest.raises(BackupFailed, match="no such table"):
        await store.backup(tmp_path / "copy.db")

    assert copies(tmp_path) == []


async def test_a_backup_takes_the_place_of_an_older_one(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("old")

    await store.backup(target)

    assert target.read_bytes().startswith(b"SQLite format 3")


async def test_a_backup_waits_for_changes_that_are_on_their_way(
    store: Store, path: Path, tmp_path: Path
) -> None:
    with failing_writes(path):
        change = asyncio.ensure_future(store.transact(lambda tx: tx.create(SR)))
        await asyncio.sleep(0)
        with pytest.raises(StorageFailure):
            await store.backup(tmp_path / "copy.db")
        with pytest.raises(StorageFailure):
            await change

    assert not (tmp_path / "copy.db").exists()
