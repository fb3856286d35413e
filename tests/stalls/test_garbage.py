"""Garbage is found, but not while something waits for an answer."""

from __future__ import annotations

import asyncio
import gc
import weakref

from xapid.garbage import GarbageWatch


class Ring:
    def __init__(self) -> None:
        self.itself = self


async def test_full_looks_find_what_became_garbage_since_the_start() -> None:
    ring = Ring()
    gone = weakref.ref(ring)
    watch = GarbageWatch(every_s=0.01, due_after=0)
    watch.begin()
    watch.start()

    del ring
    found = asyncio.Event()
    young = weakref.ref(Ring(), lambda _: found.set())
    async with asyncio.timeout(30):
        await found.wait()
    watch.stop()

    assert young() is None
    assert gone() is not None  # from before the start: left alone until the end
    gc.collect()
    assert gone() is None


async def test_everything_is_as_before_once_it_stops() -> None:
    before = gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()
    watch = GarbageWatch()

    watch.begin()
    begun = gc.isenabled()
    watch.start()
    started = gc.isenabled(), gc.get_threshold()[:2] == before[0][:2]
    watch.stop()

    assert not begun
    assert started == (True, True)
    assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()) == before
