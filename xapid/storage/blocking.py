"""Blocking calls on storage, in a few threads of their own and never on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from .driver import Progress, StorageTimeout

P = ParamSpec("P")
T = TypeVar("T")

DEADLINE_S = 30.0


class Stop(Exception):  # noqa: N818
    """Raised inside a long piece of work that was told to end."""


class Watch:
    """A long piece of work's line to the loop: it reports progress and learns when to stop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, progress: Progress) -> None:
        self._loop = loop
        self._progress = progress
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def report(self, fraction: float) -> None:
        """Say how far the work has come. Raises Stop when nobody wants it any more."""
        if self._stop.is_set():
            raise Stop
        self._loop.call_soon_threadsafe(self._progress, fraction)


class Threads:
    """Runs blocking functions; a caller that is cancelled still waits until its function ended."""

    def __init__(self, name: str, count: int = 4) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short function. Raises StorageTimeout after DEADLINE_S; its thread goes on."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))
        return await _outcome(future, DEADLINE_S, None, getattr(work, "__name__", "storage"))

    async def run_long(
        self,
        work: Callable[Concatenate[Watch, P], T],
        progress: Progress,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function that reports to a Watch; cancelling stops it and waits for its end."""
        loop = asyncio.get_running_loop()
        watch = Watch(loop, progress)
        future = loop.run_in_executor(self._pool, lambda: work(watch, *args, **kwargs))
        return await _outcome(future, None, watch, getattr(work, "__name__", "storage"))


async def _outcome(
    future: asyncio.Future[T], deadline_s: float | None, watch: Watch | None, name: str
) -> T:
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            done, _ = await asyncio.wait({future}, timeout=deadline_s)
        except asyncio.CancelledError as error:
            cancelled = error
            if watch is not None:
                watch.stop()
            continue
        if not done:
            # Nobody will read what comes of it; asyncio must not complain about that later.
            future.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise cancelled or StorageTimeout(f"{name} did not end within {deadline_s} s")
    if cancelled is not None:
        future.exception()
        raise cancelled
    return future.result()
