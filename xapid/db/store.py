"""The object store: memory is the truth for reads, a change that returned is on disk."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import structlog

from ..datamodel.declare import NULL, Class, Field, Ref
from ..datamodel.errors import ApiError, HandleInvalid
from . import schema
from .backup import BACKUPS, write_copy
from .events import EventFeed
from .failures import BackupFailed, DiskRefused, StorageFailure, StoreClosed
from .layout import Layout, layouts_of
from .memory import Link, Memory
from .transaction import Applied, Change, Hook, Transaction
from .writer import EVENT_ID, EVENT_ID_BLOCK, SET_META, Database, Stored, Writer, load

T = TypeVar("T")
E = TypeVar("E", bound=Class)

log = structlog.get_logger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """All objects of the API. Reads are synchronous; changes go through `transaction`."""

    def __init__(
        self,
        layouts: dict[type[Class], Layout],
        lock: int,
        clock: Callable[[], datetime],
        path: Path,
    ) -> None:
        self._lock = lock
        self._path = path
        self._clock = clock
        self._credentials: dict[str, str] = {}
        self._transaction: Transaction | None = None
        self._writer: Writer
        self._closed = False
        self.memory = Memory(layouts)
        self.hooks: dict[type[Class], list[tuple[Hook, frozenset[str]]]] = {}
        self.feed: EventFeed

    @classmethod
    async def open(
        cls,
        path: Path | str,
        classes: Mapping[str, type[Class]],
        *,
        clock: Callable[[], datetime] = _utc_now,
    ) -> Self:
        """Open or make the database at `path` and load it.

        classes: all classes of the datamodel by wire name.
        clock: gives the time stamps of events, in UTC.
        Raises CannotOpen: StoreInUse, SchemaTooNew, NotOurDatabase, DatabaseDamaged, DiskRefused.
        """
        path = Path(path)
        layouts = layouts_of(classes)
        lock = schema.lock(path)
        databases: list[Database] = []
        try:
            schema.touch_private(path)
            databases.append(await Database.connect(path))
            stored = await databases[0].run(lambda c: _prepared(c, path))
            databases.append(await Database.connect(path))
            store = cls(layouts, lock, clock, path)
            store._load(stored, classes)
            store._start(stored.event_id + 1, *databases)
        except BaseException as error:
            for database in databases:
                await database.close()
            os.close(lock)
            if isinstance(error, sqlite3.Error):
                raise schema.told(path, error) from error
            if isinstance(error, OSError):
                raise schema.refused(path, error) from error
            raise
        return store

    def _load(self, stored: Stored, classes: Mapping[str, type[Class]]) -> None:
        self._credentials = stored.credentials
        known: dict[str, Ref[Any]] = {NULL: NULL}
        for ref, class_name, _ in stored.objects:
            if classes.get(class_name) in self.memory.layouts:
                known[ref] = Ref(ref)
        unknown = len(stored.objects) + 1 - len(known)
        if unknown:
            log.warning("stored objects of classes that this version lacks", count=unknown)
        with _no_garbage_collection():
            self.memory.load(
                cls(known[ref], self.memory.layouts[cls].decode(ref, body, known))
                for ref, class_name, body in stored.objects
                if (cls := classes.get(class_name)) in self.memory.layouts
            )

    def _start(self, first_id: int, database: Database, checkpoints: Database) -> None:
        self.feed = EventFeed(first_id)
        self._writer = Writer(
            database,
            checkpoints,
            event_ceiling=first_id - 1 + EVENT_ID_BLOCK,
            current_id=lambda: self.feed.current_id,
            committed=self._committed,
            failed=self._failed,
        )

    async def close(self) -> None:
        """Write what waits and close; what is changed from now on raises StoreClosed."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._writer.close()
        finally:
            os.close(self._lock)

    async def backup(self, target: Path) -> int:
        """Copy all that is changed so far to a new file; returns its size in bytes.

        The copy is checked, readable by its owner only, and there only if it is whole.
        Raises BackupFailed, StorageFailure.
        """
        waiting = self._writer.last_durable()
        if waiting is not None:
            await self.settled(waiting)
        return await asyncio.to_thread(write_copy, self._path, target)

    # Reading

    def get(self, ref: Ref[E]) -> E:
        """The record of an object; raises HandleInvalid."""
        record = self.memory.objects.get(ref)
        if record is None:
            raise HandleInvalid(self.memory.class_name(ref), ref)
        return cast(E, record)

    def find(self, cls: type[E], raw_ref: str) -> E | None:
        """The record that a reference from outside names, if it is of the class."""
        record = self.memory.by_class[cls].get(cast("Ref[Any]", raw_ref))
        return cast("E | None", record)

    def all(self, cls: type[E]) -> list[E]:
        return cast("list[E]", list(self.memory.by_class[cls].values()))

    def refs(self, cls: type[E]) -> list[Ref[E]]:
        return list(self.memory.by_class[cls])

    def count(self, cls: type[Class]) -> int:
        return len(self.memory.by_class[cls])

    def by_uuid(self, cls: type[E], uuid: str) -> Ref[E] | None:
        ref = self.memory.uuids.get(uuid)
        return ref if ref is not None and ref in self.memory.by_class[cls] else None

    def by_name_label(self, cls: type[E], name: str) -> list[Ref[E]]:
        return list(self.memory.index(cls, "name_label").get(name, ()))

    def having(self, field: Field[Any], value: object) -> list[Ref[Any]]:
        """The objects whose field has this value, without a look at all of them."""
        return list(self.memory.index(field.owner, field.name).get(value, ()))

    def values(self, field: Field[T]) -> Collection[T]:
        """What the field has in all objects together; it follows what changes."""
        return self.memory.index(field.owner, field.name).keys()

    def class_of(self, ref: str) -> type[Class] | None:
        record = self.memory.objects.get(ref)
        return None if record is None else type(record)

    def referrers(self, ref: Ref[Any]) -> list[Link]:
        """The objects that refer to `ref`, each with the field; derived sets do not count."""
        return self.memory.links_to(ref)

    def credential(self, name: str) -> str | None:
        """The stored hash of an account's password."""
        return self._credentials.get(name)

    @property
    def commits(self) -> int:
        """How many times this run wrote to the file; changes that wait together share one."""
        return self._writer.commits

    @property
    def waiting_writes(self) -> int:
        """How many transactions are not on disk yet."""
        return self._writer.waiting

    @property
    def classes(self) -> list[type[Class]]:
        """The classes whose objects are kept."""
        return list(self.memory.by_class)

    def observe_commits(self, observer: Callable[[float], None]) -> None:
        """Call `observer` after each write to the file with the seconds it took."""
        self._writer.wrote = observer

    async def check_writable(self) -> None:
        """Raise StorageFailure while the file cannot be written; writes only to find that out."""
        try:
            await self._writer.check()
        except sqlite3.Error as error:
            raise StorageFailure(str(error)) from error

    # Changing

    def transaction(self) -> Transaction:
        """A block of changes that take effect together: see Transaction."""
        return Transaction(self)

    async def transact(self, body: Callable[[Transaction], T]) -> T:
        """Run `body` in a transaction and return its result once that is on disk."""
        async with self.transaction() as tx:
            result = body(tx)
        return result

    def change(self, body: Callable[[Transaction], object]) -> Applied | None:
        """Run `body` in a transaction that is in memory then.

        Returns what will be `settled`, and have a `failure` unless it is on disk; None: it is.
        """
        return Transaction(self).run(body)

    async def set(self, ref: Ref[Any], field: Field[T], value: T) -> None:
        """Set one field in a transaction of its own."""
        async with self.transaction() as tx:
            tx.set(ref, field, value)

    async def set_credential(self, name: str, hashed: str | None) -> None:
        """Keep the hash of an account's password; None removes it."""
        async with self.transaction() as tx:
            tx.set_credential(name, hashed)

    def on_change(
        self,
        cls: type[E],
        hook: Callable[[Transaction, Ref[E]], None],
        *,
        quiet: frozenset[str] = frozenset(),
    ) -> None:
        """Call `hook` in each transaction that made or changed an object of `cls`, at its end.

        What the hook changes calls the hooks again, until nothing changes any more.
        quiet: fields whose change alone is none to the hook.
        """
        self.hooks.setdefault(cls, []).append((hook, quiet))

    # For transactions

    def begin(self, transaction: Transaction) -> None:
        if self._closed:
            raise StoreClosed("the database is closed")
        if self._transaction is not None:
            raise RuntimeError("a transaction is open: its body must not await")
        self._transaction = transaction

    def end(self) -> None:
        self._transaction = None

    def apply(
        self,
        changes: list[Change],
        credentials: list[tuple[str, str | None, str | None]],
        meant_to_last: bool,
    ) -> Applied | None:
        """Take a finished transaction into memory and queue its write.

        Returns what the caller must wait for, if anything.
        """
        writer = self._writer
        if not changes and not credentials:
            # What it found as it wanted it to be may itself be on its way to the disk.
            return writer.last_durable() if meant_to_last else None
        applied = Applied(changes, credentials)
        applied.durable = bool(credentials)
        for change in changes:
            applied.durable |= change.stored
            self._replace(change, change.old, change.new)
        for name, _, new in credentials:
            self._keep_credential(name, new)
        if applied.durable or writer.busy:
            writer.submit(applied)
        else:
            self._committed([applied])
        if applied.durable:
            return applied
        return writer.last_durable() if meant_to_last else None

    async def settled(self, applied: Applied) -> None:
        """Wait until a transaction is on disk; raises StorageFailure if it cannot be written."""
        cancellation: asyncio.CancelledError | None = None
        while not applied.settled:
            waiter = asyncio.get_running_loop().create_future()
            applied.waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError as error:
                cancellation = error
        if cancellation is not None:
            _cancel_later(cancellation)
        if applied.failure is not None:
            raise StorageFailure(str(applied.failure)) from applied.failure

    def _replace(self, change: Change, old: Class | None, new: Class | None) -> None:
        self.memory.replace(old, new)
        if change.volatile and old is None and new is not None:
            self.memory.volatile.add(new.ref)
        elif change.volatile and new is None and old is not None:
            self.memory.volatile.discard(old.ref)

    def _keep_credential(self, name: str, hashed: str | None) -> None:
        if hashed is None:
            self._credentials.pop(name, None)
        else:
            self._credentials[name] = hashed

    # How writes end

    def _committed(self, batch: list[Applied]) -> None:
        for applied in batch:
            _settle(applied, None)
        changes = [(c.old, c.new) for applied in batch for c in applied.changes]
        self.feed.append(changes, self._clock())
        self._writer.wake_for_ids()

    def _failed(self, lost: list[Applied], error: Exception) -> None:
        """Take back all that is not on disk, then repeat what needed no disk."""
        for applied in lost:
            _settle(applied, error)
        for applied in reversed(lost):
            for change in reversed(applied.changes):
                self._replace(change, change.new, change.old)
            for name, old, _ in reversed(applied.credentials):
                self._keep_credential(name, old)
        for applied in lost:
            if not (applied.durable or self._closed):
                self._repeat(applied)

    def _repeat(self, applied: Applied) -> None:
        """Apply a volatile transaction once more, after those before it were taken back.

        What it says of the world is still true, and its caller was told that it is done.
        """
        try:
            Transaction(self).repeat(applied.changes)
        except (ApiError, RuntimeError) as error:
            log.warning("a volatile change was lost with what it built on", error=str(error))


def _prepared(connection: Any, path: Path) -> Stored:
    schema.prepare(connection, path, partial(_keep_copy, path))
    stored = load(connection)
    connection.execute(SET_META, (EVENT_ID, stored.event_id + EVENT_ID_BLOCK))
    return stored


def _keep_copy(path: Path, newest: int) -> None:
    """A copy from before a migration: the way back to the older version."""
    directory = path.parent / BACKUPS
    target = directory / f"before-schema-{newest}-{_utc_now():%Y%m%dT%H%M%SZ}.db"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        write_copy(path, target)
    except (BackupFailed, OSError) as error:
        raise DiskRefused(f"{path} stays as it is: {error}") from error
    log.info("the database was copied before its schema changes", path=str(target))


def _settle(applied: Applied, failure: Exception | None) -> None:
    applied.settled = True
    applied.failure = failure
    for waiter in applied.waiters:
        if not waiter.done():
            waiter.set_result(None)


def _cancel_later(cancellation: asyncio.CancelledError) -> None:
    """Let the task meet its cancellation at its next await, counted once."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel(*cancellation.args)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Many objects are made and none becomes garbage: looking for some takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
