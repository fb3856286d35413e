from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from xapid.db.store import Store

from .model import CLASSES

OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def open_store(path: Path) -> AsyncIterator[OpenStore]:
    opened: list[Store] = []

    async def open_() -> Store:
        opened.append(await Store.open(path, CLASSES))
        return opened[-1]

    yield open_
    for store in opened:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    return await open_store()


@contextmanager
def failing_writes(path: Path) -> Iterator[None]:
    """Let every write to the table of objects fail, as on a broken disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for verb in ("INSERT", "DELETE"):
            other.execute(
                f"CREATE TRIGGER broken_{verb} BEFORE {verb} ON object "
                "BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END"
            )
        try:
            yield
        finally:
            for verb in ("INSERT", "DELETE"):
                other.execute(f"DROP TRIGGER broken_{verb}")


@contextmanager
def stalled_writes(path: Path) -> Iterator[None]:
    """Let no write reach the file until the block is left."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
