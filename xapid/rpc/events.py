"""The messages of class event: what each session wants to hear, and what it has not heard yet."""

from __future__ import annotations

import asyncio
from functools import partial
from operator import is_not
from typing import Any, Final

from ..datamodel.declare import Class
from ..datamodel.errors import (
    EventSubscriptionParseFailure,
    SessionInvalid,
    SessionNotRegistered,
)
from ..datamodel.event import Event
from ..datamodel.registry import CLASSES, METHODS
from ..db.events import EVERY_CLASS, StoredEvent
from ..db.store import Store
from ..db.text import shown
from ..services.ports import Call, implements_static
from .answers import Answer, Later, member_of, success
from .sessions import LiveSession, Sessions, Subscription

WAIT_S: Final = 30.0
AT_ONCE: Final = 500
"""Events in one answer; who is further behind gets the rest by the next calls."""

ENCODED_AT_ONCE: Final = 50
TOLD_KEPT: Final = 1024
"""Encoded events kept for readers who are still to hear of them."""

_EVENTS: Final = METHODS["event.next"].result
_BY_FOLDED_NAME: Final = {name.lower(): name for name in CLASSES}


class Events:
    """Gives sessions the changes of the classes they registered for.

    wait_s: how long `event.next` waits for a change before it answers with none.
    """

    def __init__(self, store: Store, sessions: Sessions, *, wait_s: float = WAIT_S) -> None:
        self._feed = store.feed
        self._sessions = sessions
        self._wait_s = wait_s
        self._told: dict[int, Event] = {}
        self._last = success(_EVENTS, ())
        self._last_found: list[StoredEvent] = []
        self._last_newest: list[Class] = []
        self._stopping = False

    def stop(self) -> None:
        """Let those who wait go at once, and nobody wait any more."""
        self._stopping = True
        self._feed.end_waiting()

    @implements_static(Event.register)
    async def register(self, call: Call, classes: tuple[str, ...]) -> None:
        live = self._live(call)
        wanted = frozenset(_class_name(name) for name in classes)
        now = live.subscription
        if now is None:
            live.subscription = Subscription(wanted, self._feed.current_id)
        else:
            live.subscription = Subscription(now.classes | wanted, now.position)

    @implements_static(Event.unregister)
    async def unregister(self, call: Call, classes: tuple[str, ...]) -> None:
        live = self._live(call)
        unwanted = frozenset(_class_name(name) for name in classes)
        now = live.subscription
        left = now.classes - unwanted if now and EVERY_CLASS not in unwanted else frozenset()
        live.subscription = Subscription(left, now.position) if now and left else None

    @implements_static(Event.get_current_id)
    async def get_current_id(self, call: Call) -> int:
        return self._feed.current_id

    @implements_static(Event.next)
    async def next(self, call: Call) -> tuple[Event, ...]:
        live = self._live(call)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait_s
        while True:
            found = self._read(call, live)
            if found or self._stopping or loop.time() >= deadline:
                return await self._encoded(found)
            await self._feed.wait(self._feed.current_id, until=deadline)
            live = self._live(call)  # it may have been ended meanwhile

    def next_at_once(self, call: Call) -> Answer | Later | None:
        """`next` without a task; None: there is more to tell than can be encoded in one go."""
        live = self._live(call)
        now = live.subscription
        if now is not None and self._feed.current_id - now.position > ENCODED_AT_ONCE:
            return None
        deadline = asyncio.get_running_loop().time() + self._wait_s
        return self._answer_or_wait(call, live, deadline)

    def _answer_or_wait(self, call: Call, live: LiveSession, deadline: float) -> Answer | Later:
        found = self._read(call, live, most=ENCODED_AT_ONCE)
        late = asyncio.get_running_loop().time() >= deadline
        if found or self._stopping or late:
            return self._answer(found)
        ready = self._feed.next_change(until=deadline)
        return Later(ready, partial(self._heard, call, live, deadline))

    def _heard(self, call: Call, live: LiveSession, deadline: float) -> Answer | Later:
        if live.ended:
            raise SessionInvalid(call.session)
        return self._answer_or_wait(call, live, deadline)

    def _read(self, call: Call, live: LiveSession, most: int = AT_ONCE) -> list[StoredEvent]:
        """What the session has not heard yet, which it has then; no more than one answer holds."""
        now = live.subscription
        if now is None:
            raise SessionNotRegistered(call.session)
        newest = self._feed.current_id
        if now.position == newest:
            return []
        live.subscription = Subscription(now.classes, newest)
        found = self._feed.read(now.position, now.classes)
        if len(found) > most:
            del found[most:]
            live.subscription = Subscription(now.classes, found[-1].id)
        return found

    async def _encoded(self, found: list[StoredEvent]) -> tuple[Event, ...]:
        """The events as clients see them; a few are made at a time."""
        events = []
        for place, stored in enumerate(found, 1):
            events.append(self._event(stored))
            if place % ENCODED_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._forget_old()
        return tuple(events)

    def _answer(self, found: list[StoredEvent]) -> Answer:
        """The answer that tells of some events; who hears of the same ones gets the same bytes."""
        newest = [stored.newest.record for stored in found]
        if found != self._last_found or any(map(is_not, newest, self._last_newest)):
            answer = success(_EVENTS, tuple(map(self._event, found)))
            self._forget_old()
            self._last = Answer((b"".join(answer.pieces),), answer.length)
            self._last_found, self._last_newest = found, newest
        return self._last

    def _event(self, stored: StoredEvent) -> Event:
        """An event as clients see it, made and encoded once for all who hear of it."""
        event = self._told.get(stored.id)
        if event is None or event.row["snapshot"] is not stored.snapshot:
            event = self._told[stored.id] = _record(stored)
            member_of(event)
        return event

    def _forget_old(self) -> None:
        while len(self._told) > TOLD_KEPT:
            del self._told[next(iter(self._told))]

    def _live(self, call: Call) -> LiveSession:
        live = self._sessions.find(call.session)
        if live is None:
            raise SessionInvalid(call.session)
        return live


def _class_name(raw_name: str) -> str:
    """A class as the specification spells it, however the client does. "*" is every class."""
    if raw_name == EVERY_CLASS:
        return EVERY_CLASS
    name = _BY_FOLDED_NAME.get(raw_name.lower())
    if name is None:
        raise EventSubscriptionParseFailure(shown(raw_name))
    return name


def _record(event: StoredEvent) -> Event:
    row: dict[str, Any] = {
        "id": event.id,
        "timestamp": event.timestamp,
        "class": event.class_name,
        "operation": event.operation,
        "ref": event.ref,
        "obj_uuid": event.obj_uuid,
        "snapshot": event.snapshot,
    }
    return Event(event.ref, row)
