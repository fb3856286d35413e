"""Decides when Python looks through all objects for garbage, and what of free memory is kept."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from contextlib import suppress
from typing import Final

EVERY_S: Final = 5.0
DUE_AFTER: Final = 30
"""Looks at the middle-aged objects, one for each 7,000 more that came than went."""

QUIET: Final = 0.2
"""Share of a core below which the daemon has little to do."""

LATEST_S: Final = 600.0
_NEVER: Final = 1_000_000

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>
_MALLOC: Final = {_M_ARENA_MAX: 1, _M_MMAP_THRESHOLD: 18 << 20, _M_TRIM_THRESHOLD: 18 << 20}
"""The 19 MiB that a password's check takes go back to the kernel; a long answer's stay."""


class GarbageWatch:
    """Full looks wait for a quiet moment, ten minutes at most.

    One takes 0.1 s for a hundred thousand objects; records are never garbage of this kind, and
    those that are there at the start are not looked at again.
    """

    def __init__(self, *, every_s: float = EVERY_S, due_after: int = DUE_AFTER) -> None:
        self._every_s = every_s
        self._due_after = due_after
        self._thresholds = gc.get_threshold()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """While the daemon starts nearly everything stays: nobody looks.

        Threads share one heap: they seldom ask it without the interpreter's lock, and what one of
        many heaps has free is no use to the others.
        """
        gc.disable()
        with suppress(AttributeError):  # another C library
            for option, value in _MALLOC.items():
                ctypes.CDLL(None).mallopt(option, value)

    def start(self) -> None:
        """Leave alone what there is by now, and look at the rest from time to time."""
        gc.freeze()
        _give_back()
        young, middle, _ = self._thresholds
        gc.set_threshold(young, middle, _NEVER)
        gc.enable()
        self._task = asyncio.create_task(self._run(), name="garbage")

    def stop(self) -> None:
        """Leave it to Python again."""
        if self._task is not None:
            self._task.cancel()
        gc.unfreeze()
        gc.set_threshold(*self._thresholds)
        gc.enable()

    async def _run(self) -> None:
        last = time.monotonic()
        while True:
            began, used = time.monotonic(), time.process_time()
            await asyncio.sleep(self._every_s)
            now = time.monotonic()
            quiet = time.process_time() - used < QUIET * (now - began)
            if gc.get_count()[2] >= self._due_after and (quiet or now - last > LATEST_S):
                gc.collect()
                _give_back()
                last = now


def _give_back() -> None:
    """Let the kernel have the pages that the C library keeps free between others."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
