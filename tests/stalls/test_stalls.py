"""The watch on the event loop sees what blocks it, and only that."""

from __future__ import annotations

import asyncio
import time

from xapid.stalls import REPORTED_S, StallWatch


async def test_a_blocking_callback_is_a_stall() -> None:
    watch = StallWatch()
    watch.start()
    await asyncio.sleep(0)

    time.sleep(2 * REPORTED_S)  # noqa: ASYNC251 - the very mistake that is to be seen
    await asyncio.sleep(REPORTED_S)
    watch.stop()

    assert watch.worst_s > REPORTED_S


async def test_waiting_is_no_stall() -> None:
    watch = StallWatch()
    watch.start()

    await asyncio.sleep(3 * REPORTED_S)
    watch.stop()

    assert watch.worst_s < REPORTED_S
