"""Disks that are published and still carry the mark of a staged one.

Once its record is committed the database decides, so dropping the mark can wait until nobody waits
for LVM: many marks then go in one call. A scan of a later instance finds the disk all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from .driver import StorageError

log = structlog.get_logger()

QUIET_S = 3.0
"""How long after the last one the marks go."""
LONGEST_S = 30.0
MOST = 64


class Published:
    """The disks in question by location. unmark: drops the marks of some."""

    def __init__(
        self, unmark: Callable[[Collection[str]], Awaitable[None]], quiet_s: float = QUIET_S
    ) -> None:
        self._unmark = unmark
        self._quiet_s = quiet_s
        self._marked: dict[str, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None

    def __contains__(self, location: str) -> bool:
        return location in self._marked

    def add(self, location: str) -> None:
        """Drop the mark of a disk soon."""
        loop = asyncio.get_running_loop()
        self._marked.setdefault(location, loop.time())
        waits = loop.time() - next(iter(self._marked.values()))
        if self._timer is not None and (waits > LONGEST_S or len(self._marked) > MOST):
            return
        self._stop_timer()
        self._timer = loop.call_later(self._quiet_s, self._start)

    async def close(self) -> None:
        """Drop the marks now."""
        self._stop_timer()
        if self._work is not None:
            await asyncio.wait((self._work,))
        await self._drop()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._timer = None
        if self._work is None or self._work.done():
            self._work = asyncio.ensure_future(self._drop())

    async def _drop(self) -> None:
        locations = tuple(self._marked)
        if not locations:
            return
        try:
            await self._unmark(locations)
        except StorageError as error:
            log.warning("marks of new disks stay until the next scan", why=str(error))
            return
        for location in locations:
            del self._marked[location]
