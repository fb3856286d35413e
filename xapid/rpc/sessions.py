"""Who is logged in: sessions in memory, found by a hash of their reference."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from ..datamodel.declare import NULL, Field, Ref
from ..datamodel.errors import HandleInvalid, SessionInvalid
from ..datamodel.host import Host
from ..datamodel.session import Session
from ..datamodel.user import User
from ..db.text import clean_text

IDLE_S: Final = 86_400.0
SHOWN: Final = 256  # bytes of a handle that an error repeats


def utc_now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(UTC)


class Subscription(NamedTuple):
    """What a session wants to hear of, and the last event it was given."""

    classes: frozenset[str]
    position: int


class LiveSession:
    """One login."""

    __slots__ = ("digest", "ended", "last_used", "record", "ref", "role", "subscription", "user")

    def __init__(self, ref: Ref[Session], digest: bytes, user: str, role: str) -> None:
        self.ref = ref
        self.digest = digest
        self.user = user
        self.role = role
        self.record: Session
        self.last_used: datetime
        self.subscription: Subscription | None = None
        self.ended = False


class Sessions:
    """All logins, each ended by logout, by idleness, or to make room for a newer one.

    clock: gives the time in UTC. host: what sessions show as `this_host`.
    per_user, total: sessions kept; beyond them the one that was idle longest is ended.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        idle_s: float = IDLE_S,
        per_user: int = 500,
        total: int = 1000,
        host: Ref[Host] = NULL,
    ) -> None:
        self.host = host
        self._clock = clock
        self._idle = timedelta(seconds=idle_s)
        self._per_user = per_user
        self._total = total
        # Both in the order of use, idle longest first.
        self._live: OrderedDict[bytes, LiveSession] = OrderedDict()
        self._of_user: dict[str, OrderedDict[bytes, LiveSession]] = {}

    def limit(self, *, idle_s: float, per_user: int, total: int) -> None:
        """Give the sessions other limits, from the next login or use on."""
        self._idle = timedelta(seconds=idle_s)
        self._per_user = per_user
        self._total = total

    def __len__(self) -> int:
        return len(self._live)

    def begin(self, user: Ref[User], name: str, *, role: str) -> Ref[Session]:
        """A new session of a user who proved who they are."""
        self._expire()
        while len(own := self._of_user.get(name, OrderedDict())) >= self._per_user:
            self._drop(next(iter(own.values())))
        while len(self._live) >= self._total:
            self._drop(next(iter(self._live.values())))
        ref: Ref[Session] = Ref(f"OpaqueRef:{secrets.token_urlsafe(32)}")
        live = LiveSession(ref, _digest(ref), name, role)
        row = {field.name: field.default for field in Session.fields.values()}
        row |= {"uuid": str(uuid.uuid4()), "this_host": self.host, "this_user": user}
        live.record = Session(ref, row)
        self._live[live.digest] = live
        self._of_user.setdefault(name, OrderedDict())[live.digest] = live
        self._touch(live, self._clock())
        return ref

    def check(self, raw_ref: str) -> LiveSession:
        """The session a client names, which is used by that. Raises SessionInvalid."""
        live = self._live.get(_digest(raw_ref))
        if live is None:
            raise SessionInvalid(clean_text(raw_ref, SHOWN))
        now = self._clock()
        if now - live.last_used >= self._idle:
            self._drop(live)
            raise SessionInvalid(clean_text(raw_ref, SHOWN))
        self._touch(live, now)
        return live

    def find(self, ref: Ref[Session]) -> LiveSession | None:
        """A session that has not ended; looking is not using it."""
        return self._live.get(_digest(ref))

    def get(self, ref: Ref[Session]) -> Session:
        """The record of a session, as it is now. Raises HandleInvalid."""
        live = self._live.get(_digest(ref))
        if live is None:
            raise HandleInvalid("session", clean_text(ref, SHOWN))
        if live.record.row["last_active"] != live.last_used:
            live.record = Session(ref, {**live.record.row, "last_active": live.last_used})
        return live.record

    def set(self, ref: Ref[Session], field: Field[Any], value: Any) -> None:
        """Give a field of a session a value."""
        live = self._live.get(_digest(ref))
        if live is None:
            raise HandleInvalid("session", clean_text(ref, SHOWN))
        live.record = Session(ref, {**live.record.row, field.name: value})

    def end(self, ref: Ref[Session]) -> None:
        """Log out."""
        live = self._live.get(_digest(ref))
        if live is not None:
            self._drop(live)

    def end_user(self, name: str, *, but: Ref[Session] = NULL) -> None:
        """Log a user out everywhere, except from the session `but`."""
        for live in [*self._of_user.get(name, {}).values()]:
            if live.ref != but:
                self._drop(live)

    def _touch(self, live: LiveSession, now: datetime) -> None:
        live.last_used = now
        self._live.move_to_end(live.digest)
        self._of_user[live.user].move_to_end(live.digest)

    def _drop(self, live: LiveSession) -> None:
        live.ended = True
        self._live.pop(live.digest, None)
        own = self._of_user[live.user]
        own.pop(live.digest, None)
        if not own:
            del self._of_user[live.user]

    def _expire(self) -> None:
        now = self._clock()
        while self._live:
            oldest = next(iter(self._live.values()))
            if now - oldest.last_used < self._idle:
                return
            self._drop(oldest)


def _digest(raw_ref: str) -> bytes:
    return hashlib.sha256(raw_ref.encode("utf-8", "surrogatepass")).digest()
