"""One answer for all who ask the same at the same time, never older than any of their questions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Asks once for everybody who waits: who comes while an answer is under way gets the next one.

    So a hundred who ask together cost two questions, and nobody decides on what was read before
    it asked. What `ask` raises, all who waited for that answer get.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The answer to a question that is asked after this call began. It is shared: read only."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
            # All who waited may have been cancelled.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[T] | None) -> T:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        return await self._ask()
