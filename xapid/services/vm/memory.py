"""The host's free memory, promised to one build at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from ...datamodel.errors import HostNotEnoughFreeMemory
from ...xen.fresh import Fresh
from ...xen.plan import KIB
from ...xen.types import Domain


class MemoryFacts(Protocol):
    """What the ledger asks of Xen."""

    async def free_memory(self) -> int: ...
    async def domain_list(self) -> Iterable[Domain]: ...


class MemoryLedger:
    """Reserves memory before a build and gives it back after.

    While a domain is being built its promise shrinks by what Xen has already given it, so that the
    same page is never counted both as used and as promised. Builds that begin together share one
    look at the host.
    """

    def __init__(self, xen: MemoryFacts) -> None:
        self._xen = xen
        self._promised: dict[str, int] = {}
        self._ended = 0
        self._look = Fresh(self._measure)

    async def _measure(self) -> tuple[int, dict[str, int]]:
        """The free memory, and what each domain had before it was read: never counted as less."""
        given = {d.uuid: d.current_memkb for d in await self._xen.domain_list()}
        return await self._xen.free_memory(), given

    async def available_kib(self) -> int:
        """What a further domain could have now; what is built meanwhile may count twice."""
        promised = dict(self._promised)
        free, given = await self._look()
        promised |= self._promised
        outstanding = sum(max(0, kib - given.get(u, 0)) for u, kib in promised.items())
        return max(0, free - outstanding)

    @asynccontextmanager
    async def reserved(
        self, uuid: str, needed_kib: int, *, unchecked: bool = False
    ) -> AsyncIterator[None]:
        """Hold memory for the domain `uuid` while it is built.

        unchecked: promise it although it may not be there, and let Xen have the last word.
        Raises HOST_NOT_ENOUGH_FREE_MEMORY with bytes needed and available.
        """
        while not unchecked:
            ended, available = self._ended, await self.available_kib()
            if available >= needed_kib:
                break
            if self._ended == ended:  # else what ended during the look may have counted twice
                raise HostNotEnoughFreeMemory(needed_kib * KIB, available * KIB)
        self._promised[uuid] = needed_kib  # with no await since the look
        try:
            yield
        finally:
            del self._promised[uuid]
            self._ended += 1
