"""The feed of committed changes: rising ids, a bounded past, one wake-up for all who wait."""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from weakref import WeakValueDictionary

from ..datamodel.declare import Class, Ref
from ..datamodel.errors import EventsLost

RING = 50_000
"""Events kept: more than a minute of a host with 1,000 busy guests, whose metrics make 3,000 events
every 5 s. One takes 150 bytes; the record in it is shared by all events of its object."""

EVERY_CLASS = "*"
UNSEEN = frozenset({"session"})  # a session's reference is a secret of its owner


class Operation(enum.StrEnum):
    ADD = "add"
    MOD = "mod"
    DEL = "del"


class _Newest:
    """The newest committed record of one object, shared by all its events in the ring."""

    __slots__ = ("__weakref__", "record")

    def __init__(self, record: Class) -> None:
        self.record = record


class StoredEvent(NamedTuple):
    """One object changed in one transaction.

    snapshot: the object's newest committed record when it is read, at least as new as the
        event, so that the past costs one record an object; the last one if it was destroyed.
    """

    id: int
    timestamp: datetime
    class_name: str
    operation: Operation
    ref: Ref[Class]
    obj_uuid: str
    newest: _Newest

    @property
    def snapshot(self) -> Class:
        return self.newest.record


class EventFeed:
    """Events of committed transactions, in the order of the commits.

    first_id: one more than any id given out by an earlier run.
    """

    def __init__(self, first_id: int, *, size: int = RING) -> None:
        self._floor = first_id  # stands for all that happened before this run
        self._ring: list[StoredEvent | None] = [None] * size
        self._newest: WeakValueDictionary[str, _Newest] = WeakValueDictionary()
        self._waiting: dict[asyncio.Future[bool], float] = {}  # until when each waits
        self._timer: asyncio.TimerHandle | None = None
        self.current_id = first_id

    def append(
        self, changes: Iterable[tuple[Class | None, Class | None]], timestamp: datetime
    ) -> None:
        """Add an event for each changed object, given as (record before, record after)."""
        before = self.current_id
        for old, new in changes:
            record = new or old
            if record is None or record.wire in UNSEEN:
                continue
            operation = (
                Operation.ADD if old is None else Operation.DEL if new is None else Operation.MOD
            )
            self._add(record, operation, timestamp)
        if self.current_id != before:
            self._wake(for_good=False)

    def end_waiting(self) -> None:
        """Let all who wait return, although nothing happened."""
        self._wake(for_good=True)

    def _wake(self, *, for_good: bool) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(for_good)

    def _add(self, record: Class, operation: Operation, timestamp: datetime) -> None:
        newest = self._newest.get(record.ref)
        if newest is None:
            newest = self._newest[record.ref] = _Newest(record)
        newest.record = record
        self.current_id += 1
        self._ring[self.current_id % len(self._ring)] = StoredEvent(
            self.current_id,
            timestamp,
            record.wire,
            operation,
            record.ref,
            record.row.get("uuid", ""),
            newest,
        )

    def read(self, after_id: int, classes: frozenset[str]) -> list[StoredEvent]:
        """The events after `after_id` of the named classes ("*": of all), oldest first.

        Raises EventsLost if some of them are no longer kept, or `after_id` is of no event.
        """
        oldest = max(self._floor, self.current_id - len(self._ring))
        if not oldest <= after_id <= self.current_id:
            raise EventsLost
        size = len(self._ring)
        events = (self._ring[i % size] for i in range(after_id + 1, self.current_id + 1))
        if EVERY_CLASS in classes:
            return [event for event in events if event is not None]
        return [event for event in events if event is not None and event.class_name in classes]

    async def wait(self, after_id: int, *, until: float = math.inf) -> None:
        """Return as soon as there is an event after `after_id`, of whatever class.

        until: the loop's time at which to return in any case.
        """
        while self.current_id <= after_id:
            waiter = self.next_change(until=until)
            try:
                if await waiter:
                    return
            finally:
                self._waiting.pop(waiter, None)

    def next_change(self, *, until: float = math.inf) -> asyncio.Future[bool]:
        """What is done with the next event, or at `until` (the loop's time) without: then True."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = until
        if self._timer is None or until < self._timer.when():
            self._set_timer(until)
        return waiter

    def _set_timer(self, until: float) -> None:
        """One timer for all who wait: it goes off for the one who waits the shortest."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(until, self._late) if until < math.inf else None

    def _late(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for waiter in [waiter for waiter, until in self._waiting.items() if until <= now]:
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_result(True)
        self._set_timer(min(self._waiting.values(), default=math.inf))
