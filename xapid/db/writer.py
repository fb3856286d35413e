"""The one writer of the database file: all that waits goes into one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TypeVar

import aiosqlite
import structlog

from . import schema
from .transaction import Applied, Change

T = TypeVar("T")

CHECKPOINT_PAGES = 1_000
WAL_LIMIT_PAGES = 16_000  # past it the writer waits for a checkpoint
PAGE = 4096
EVENT_ID = "event_id"  # no event of this or an earlier run has a higher id
EVENT_ID_BLOCK = 20_000

ROWS_AT_ONCE = 8  # more need more of the cache than they gain
BYTES_AT_ONCE = 128 << 10  # SQLite keeps what was given last to each statement


def upsert(rows: int) -> str:
    """The statement that keeps so many rows."""
    places = ", ".join(["(?, ?, ?, ?)"] * rows)
    return (
        f"INSERT INTO object (ref, class, uuid, body) VALUES {places} "  # noqa: S608 - fixed text
        "ON CONFLICT (ref) DO UPDATE SET body = excluded.body WHERE body IS NOT excluded.body"
    )


UPSERT = upsert(1)
_UPSERTS = {rows: upsert(rows) for rows in (1, 2, 4, ROWS_AT_ONCE)}
SET_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
SET_CREDENTIAL = "INSERT OR REPLACE INTO credential (name, hash) VALUES (?, ?)"

_StoredRow = tuple[str, str, str | None, bytes]

log = structlog.get_logger(__name__)


@dataclass
class Stored:
    """What the file holds at the start."""

    objects: list[tuple[str, str, bytes]]
    credentials: dict[str, str]
    event_id: int


class Database:
    """One connection to the file, on a thread of its own."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, path: Path) -> Database:
        connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=32)
        database = cls(connection)
        try:
            await database.run(schema.configure)
        except BaseException:
            await connection.close()
            raise
        return database

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread: one hop, however many statements."""
        # aiosqlite offers one hop a statement in public; a commit would take five of them.
        execute: Callable[..., Awaitable[T]] = self._connection._execute
        return await execute(work, self._connection._conn)

    async def close(self) -> None:
        await self._connection.close()


def load(connection: sqlite3.Connection) -> Stored:
    rows = connection.execute("SELECT ref, class, body FROM object ORDER BY rowid").fetchall()
    credentials = dict(connection.execute("SELECT name, hash FROM credential").fetchall())
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (EVENT_ID,)).fetchone()
    return Stored(rows, credentials, int(found[0]) if found else 0)


class Writer:
    """Writes applied transactions in their order, and tells the store how each batch ended.

    committed, failed: called on the loop with the batch's transactions; `failed` gets every
        transaction that is not on disk, and calls nothing that waits.
    current_id: the newest event's id.
    """

    def __init__(
        self,
        database: Database,
        checkpoints: Database,
        *,
        event_ceiling: int,
        current_id: Callable[[], int],
        committed: Callable[[list[Applied]], None],
        failed: Callable[[list[Applied], Exception], None],
    ) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._event_ceiling = event_ceiling
        self._current_id = current_id
        self._committed = committed
        self._failed = failed
        self._queue: list[Applied] = []
        self._in_flight: list[Applied] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._pages = 0
        self._wal_too_long = False
        self.commits = 0
        self.failing = False
        """Whether the last write failed."""
        self.wrote: Callable[[float], None] = lambda seconds: None
        """Called after each write with the seconds it took."""
        self._checkpointing: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._run(), name="database writer")

    @property
    def busy(self) -> bool:
        """Whether some transaction is not on disk yet."""
        return bool(self._queue or self._in_flight)

    @property
    def waiting(self) -> int:
        """How many transactions are not on disk yet."""
        return len(self._queue) + len(self._in_flight)

    async def check(self) -> None:
        """Write, if the last write failed, to see whether it works again. Raises sqlite3.Error."""
        if self.failing:
            ceiling = self._event_ceiling
            await self._database.run(lambda c: _write(c, [], ceiling))
            self.failing = False

    def last_durable(self) -> Applied | None:
        """The newest transaction that has to be on disk and is not yet."""
        waiting = (a for a in chain(reversed(self._queue), reversed(self._in_flight)) if a.durable)
        return next(waiting, None)

    def submit(self, applied: Applied) -> None:
        self._queue.append(applied)
        self._wake.set()

    def wake_for_ids(self) -> None:
        """Reserve more event ids soon, if the reserved ones run short."""
        if self._ids_short():
            self._wake.set()

    def _ids_short(self) -> bool:
        return self._event_ceiling - self._current_id() < EVENT_ID_BLOCK // 2

    async def close(self) -> None:
        """Write what waits, note the newest event id, empty the log, close the file."""
        self._closing = True
        self._wake.set()
        await self._task
        if self._checkpointing is not None:
            await self._checkpointing
        await self._checkpoints.close()
        last_id = self._current_id()
        try:
            await self._database.run(lambda c: c.execute(SET_META, (EVENT_ID, last_id)).close())
            await self._database.run(_truncate)
        except sqlite3.Error as error:
            log.warning("the database was closed without a checkpoint", error=str(error))
        await self._database.close()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._ids_short():
                if not await self._write_batch():
                    break
            if self._closing and not self._queue:
                return

    async def _write_batch(self) -> bool:
        batch = self._in_flight = self._queue
        self._queue = []
        ceiling = self._current_id() + EVENT_ID_BLOCK if self._ids_short() else None
        durable = [applied for applied in batch if applied.durable]
        try:
            if self._wal_too_long:
                await self._shorten_wal()
            if durable or ceiling is not None:
                await self._write(durable, ceiling)
        except Exception as error:
            if not isinstance(error, sqlite3.Error):
                log.exception("the database writer met a bug")
            self._give_up(error)
            return False
        if ceiling is not None:
            self._event_ceiling = ceiling
        self._in_flight = []
        try:
            self._committed(batch)
        except Exception:
            log.exception("committed changes gave no events")
        self._start_checkpoint()
        return True

    async def _write(self, durable: list[Applied], ceiling: int | None) -> None:
        began = monotonic()
        try:
            pages = await self._database.run(lambda c: _write(c, durable, ceiling))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            await self._shorten_wal()  # the log itself may be what fills the disk
            pages = await self._database.run(lambda c: _write(c, durable, ceiling))
        self._pages += pages
        self.commits += 1
        self.failing = False
        self.wrote(monotonic() - began)

    def _give_up(self, error: Exception) -> None:
        self.failing = True
        lost, self._in_flight, self._queue = self._in_flight + self._queue, [], []
        log.error("the database cannot be written", error=str(error), transactions=len(lost))
        self._failed(lost, error)

    async def _shorten_wal(self) -> None:
        if self._checkpointing is not None:
            await self._checkpointing
        self._wal_too_long = False
        try:
            await self._database.run(_truncate)
            self._pages = 0
        except sqlite3.Error as error:
            log.warning("the database's log cannot be emptied", error=str(error))

    def _start_checkpoint(self) -> None:
        if self._pages < CHECKPOINT_PAGES or self._checkpointing or self._wal_too_long:
            return
        self._pages = 0
        self._checkpointing = asyncio.create_task(self._checkpoint(), name="database checkpoint")

    async def _checkpoint(self) -> None:
        """Move the log's pages into the file beside the writer, which does not wait for it."""
        try:
            _, in_log, _ = await self._checkpoints.run(_passive)
            self._wal_too_long |= in_log > WAL_LIMIT_PAGES
        except sqlite3.Error as error:
            log.warning("the database's log cannot be emptied", error=str(error))
        finally:
            self._checkpointing = None


def _write(connection: sqlite3.Connection, batch: list[Applied], ceiling: int | None) -> int:
    """Commit the batch; returns about how many pages that wrote."""
    newest: dict[str, Change] = {}
    for applied in batch:
        for change in applied.changes:
            if change.stored:
                record = change.new or change.old
                newest[record.ref] = change  # type: ignore[union-attr]
    gone = [(ref,) for ref, change in newest.items() if change.new is None]
    kept = [_row(change) for change in newest.values() if change.new is not None]
    credentials = {n: hashed for applied in batch for n, _, hashed in applied.credentials}
    connection.execute("BEGIN IMMEDIATE")
    try:
        if gone:
            connection.executemany("DELETE FROM object WHERE ref = ?", gone)
        for rows in _together(kept):
            connection.execute(_UPSERTS[len(rows)], [*chain.from_iterable(rows)])
        for name, hashed in credentials.items():
            if hashed is None:
                connection.execute("DELETE FROM credential WHERE name = ?", (name,))
            else:
                connection.execute(SET_CREDENTIAL, (name, hashed))
        if ceiling is not None:
            connection.execute(SET_META, (EVENT_ID, ceiling))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return 2 * len(gone) + sum(2 + len(row[3]) // PAGE for row in kept) + len(credentials) + 1


def _together(rows: list[_StoredRow]) -> Iterator[list[_StoredRow]]:
    """The rows in their order, as many at a time as one statement takes.

    A statement gives the interpreter's lock away and must wait for it afterwards, which takes
    longer than a row while the loop is busy.
    """
    at = 0
    while at < len(rows):
        count = min(1 << (len(rows) - at).bit_length() - 1, ROWS_AT_ONCE)
        while count > 1 and sum(len(row[3]) for row in rows[at : at + count]) > BYTES_AT_ONCE:
            count //= 2
        yield rows[at : at + count]
        at += count


def _row(change: Change) -> _StoredRow:
    record = change.new
    assert record is not None  # noqa: S101 - the caller kept these only
    uuid = record.row["uuid"] if change.layout.has_uuid else None
    return record.ref, record.wire, uuid, change.layout.encode(record.row)  # type: ignore[arg-type]


def _passive(connection: sqlite3.Connection) -> tuple[int, int, int]:
    busy, in_log, done = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return busy, in_log, done


def _truncate(connection: sqlite3.Connection) -> None:
    """Empty the log, unless a reader still needs it: the writer does not wait for readers."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {schema.BUSY_TIMEOUT_MS}")
