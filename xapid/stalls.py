"""Notices when something blocked the event loop, and says so in the log."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

log = structlog.get_logger(__name__)

TICK_S: Final = 0.02
REPORTED_S: Final = 0.1
REPORT_EVERY_S: Final = 60.0
_SCHEDSTAT: Final = "/proc/thread-self/schedstat"
_NS: Final = 1e-9


class StallWatch:
    """Ticks on the loop; a tick that comes late was kept waiting by a callback that blocked.

    The time in which the kernel gave the thread no CPU is taken off: a busy machine is not a
    mistake of ours. worst_s: the longest stall so far, in seconds. observe: takes each tick's.
    """

    def __init__(self) -> None:
        self.worst_s = 0.0
        self.observe: Callable[[float], None] = lambda stall_s: None
        self._unreported_s = 0.0
        self._next_report = 0.0
        self._task: asyncio.Task[None] | None = None
        self._schedstat = -1

    def start(self) -> None:
        self._task = asyncio.create_task(self._tick(), name="stall watch")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _tick(self) -> None:
        with suppress(OSError):
            self._schedstat = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            waited = self._waited_for_cpu_s()
            while True:
                began, waited_before = time.monotonic(), waited
                await asyncio.sleep(TICK_S)
                waited = self._waited_for_cpu_s()
                stall_s = time.monotonic() - began - TICK_S - (waited - waited_before)
                self.worst_s = max(self.worst_s, stall_s)
                self.observe(stall_s)
                self._report(stall_s)
        finally:
            if self._schedstat >= 0:
                os.close(self._schedstat)
                self._schedstat = -1

    def _waited_for_cpu_s(self) -> float:
        """Seconds this thread was ready to run and did not; 0 where the kernel does not tell.

        The file stays open: it is read fifty times a second, and opening costs far more.
        """
        if self._schedstat < 0:
            return 0.0
        try:
            return int(os.pread(self._schedstat, 128, 0).split()[1]) * _NS
        except (OSError, IndexError, ValueError):
            return 0.0

    def _report(self, stall_s: float) -> None:
        """Warn of long stalls, of the worst one at most once a minute."""
        if stall_s > REPORTED_S:
            self._unreported_s = max(self._unreported_s, stall_s)
        now = time.monotonic()
        if self._unreported_s and now >= self._next_report:
            log.warning("the event loop was blocked", stall_ms=round(self._unreported_s * 1000))
            self._unreported_s = 0.0
            self._next_report = now + REPORT_EVERY_S
