"""Decides when Python looks through all objects for garbage, so that no caller waits for it."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final

EVERY_S: Final = 5.0
DUE_AFTER: Final = 30
"""Looks at the middle-aged objects, one for each 7,000 more that came than went."""

QUIET: Final = 0.2
"""Share of a core below which the daemon has little to do."""

LATEST_S: Final = 600.0
_NEVER: Final = 1_000_000


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
        """While the daemon starts nearly everything stays: nobody looks."""
        gc.disable()

    def start(self) -> None:
        """Leave alone what there is by now, and look at the rest from time to time."""
        gc.freeze()
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
                last = now
