"""The host's free memory, promised to one build at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from ...datamodel.errors import HostNotEnoughFreeMemory
from ...xen.plan import KIB
from ...xen.types import Domain


class MemoryFacts(Protocol):
    """What the ledger asks of Xen."""

    async def free_memory(self) -> int: ...
    async def domain_list(self) -> Iterable[Domain]: ...


class MemoryLedger:
    """Reserves memory before a build and gives it back after.

    While a domain is being built its promise shrinks by what Xen has already given it, so that the
    same page is never counted both as used and as promised.
    """

    def __init__(self, xen: MemoryFacts) -> None:
        self._xen = xen
        self._promised: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def available_kib(self) -> int:
        """What a further domain could have now."""
        free = await self._xen.free_memory()
        given = {d.uuid: d.current_memkb for d in await self._xen.domain_list()}
        outstanding = sum(max(0, kib - given.get(u, 0)) for u, kib in self._promised.items())
        return max(0, free - outstanding)

    @asynccontextmanager
    async def reserved(
        self, uuid: str, needed_kib: int, *, unchecked: bool = False
    ) -> AsyncIterator[None]:
        """Hold memory for the domain `uuid` while it is built.

        unchecked: promise it although it may not be there, and let Xen have the last word.
        Raises HOST_NOT_ENOUGH_FREE_MEMORY with bytes needed and available.
        """
        async with self._lock:
            if not unchecked:
                available = await self.available_kib()
                if available < needed_kib:
                    raise HostNotEnoughFreeMemory(needed_kib * KIB, available * KIB)
            self._promised[uuid] = needed_kib
        try:
            yield
        finally:
            del self._promised[uuid]
