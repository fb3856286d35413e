"""The places among a listener's connections: who has one, and who gives theirs up first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain
from typing import Final

from .connection import Connection

_SHARE: Final = 2  # one address may hold the first half of all places by itself


class Slot:
    """A connection's place, from accept to the end. client: whom it counts for."""

    __slots__ = ("client", "connection", "handshake")

    def __init__(self, client: str) -> None:
        self.client = client
        self.connection: Connection | None = None
        self.handshake: asyncio.Task[None] | None = None

    @property
    def silent(self) -> bool:
        """Whether no whole request has come on it yet."""
        return self.connection is None or not self.connection.spoke

    def give_up(self, *, receiving: bool = True) -> bool:
        """End it unless a whole request is being answered on it.

        receiving: end it also in the middle of a request that is still coming.
        """
        if self.connection is None:
            if self.handshake is not None:
                self.handshake.cancel()
            return True
        if self.connection.engaged or not (receiving or self.connection.idle):
            return False
        self.connection.abort()
        return True


class Slots:
    """At most `cap` places, and for one client at most `client_cap`.

    When they are taken, somebody gives theirs up for a new one: of the client that has most, the
    one that never sent a whole request, the oldest first, else the one that was used longest ago.
    A connection whose request is being answered stays.
    """

    def __init__(self, cap: int, client_cap: int | None = None) -> None:
        self._cap = cap
        self._client_cap = client_cap or cap
        self._by_client: dict[str, dict[Slot, None]] = {}
        self._leaving: set[Slot] = set()
        self._count = 0
        self.changed = asyncio.Event()
        self.ended = 0

    def __len__(self) -> int:
        return self._count

    def all(self) -> list[Slot]:
        return [slot for own in self._by_client.values() for slot in own]

    def free(self, client: str) -> bool:
        """Whether the client may have another place now."""
        return self._count < self._cap and self._held(client) < self._client_cap

    def _held(self, client: str) -> int:
        return len(self._by_client.get(client, ()))

    def crowded(self, client: str) -> bool:
        """Whether the client has all the places that one client may have."""
        return self._client_cap < self._cap and self._held(client) >= self._client_cap

    def take(self, client: str) -> Slot:
        slot = Slot(client)
        self._by_client.setdefault(client, {})[slot] = None
        self._count += 1
        return slot

    def used(self, slot: Slot) -> None:
        """Put a slot behind the others of its client, as the one used last."""
        own = self._by_client.get(slot.client, {})
        if slot in own:
            del own[slot]
            own[slot] = None

    def release(self, slot: Slot) -> None:
        own = self._by_client.get(slot.client, {})
        if slot in own:
            del own[slot]
            self._count -= 1
            self._leaving.discard(slot)
            if not own:
                del self._by_client[slot.client]
        self.changed.set()

    def make_one_leave(self, client: str) -> bool:
        """End a connection, or know of one that is ending; False when all are being answered."""
        if self._leaving:
            return True
        for own in self._holders(client):
            for slot in chain(
                (each for each in own if each.silent), (each for each in own if not each.silent)
            ):
                if slot.give_up():
                    self.ended += 1
                    self._leaving.add(slot)
                    return True
        return False

    def _holders(self, client: str) -> Iterable[dict[Slot, None]]:
        """Whose places may go, those who hold most first."""
        if self.crowded(client):
            return [self._by_client[client]]
        return sorted(self._by_client.values(), key=len, reverse=True)


def client_cap(cap: int) -> int:
    """How many of `cap` places over the network one address may have."""
    return max(cap // _SHARE, 1)
