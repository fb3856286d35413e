"""What others may see of how writing goes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from xapid.db.failures import StorageFailure
from xapid.db.store import Store

from .conftest import failing_writes
from .model import CLASSES, VM


async def test_each_write_is_observed_and_nothing_waits_afterwards(store: Store) -> None:
    seen: list[float] = []
    store.observe_commits(seen.append)

    async with store.transaction() as tx:
        tx.create(VM, {VM.name_label: "one"})
        waiting = store.waiting_writes

    assert (waiting, store.waiting_writes) == (0, 0)
    assert len(seen) == 1
    assert seen[0] > 0
    assert set(store.classes) == set(CLASSES.values())


async def test_a_store_that_cannot_write_says_so_until_it_can(store: Store, path: Path) -> None:
    commits = store.commits
    await store.check_writable()
    assert store.commits == commits, "a store that is well is not written to only to see it"

    with failing_writes(path), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'broken'); END"
        )
        with pytest.raises(StorageFailure):
            async with store.transaction() as tx:
                tx.create(VM, {VM.name_label: "two"})
        with pytest.raises(StorageFailure, match="broken"):
            await store.check_writable()
        other.execute("DROP TRIGGER broken")

    await store.check_writable()
    await store.check_writable()
