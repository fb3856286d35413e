"""Blocking calls on storage, in a few threads of their own and never on the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from .driver import Progress, StorageTimeout

P = ParamSpec("P")
T = TypeVar("T")

DEADLINE_S = 30.0


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Await what must not end half-way: a cancel waits until it is done, and then is raised."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()


Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


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
    """Runs blocking functions; a caller that is cancelled still waits until its function ended.

    One that does not end in time is given up, and until it has ended all others are refused: the
    storage does not answer, and a late change must not meet one that came after it. The threads
    do not keep the process alive.
    """

    def __init__(self, name: str, count: int = 4, deadline_s: float = DEADLINE_S) -> None:
        self._name = name
        self._count = count
        self._deadline_s = deadline_s
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._late = 0

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short function. Raises StorageTimeout after the deadline; its thread goes on."""
        future = self._submit(lambda: work(*args, **kwargs))
        return await self._outcome(future, None, getattr(work, "__name__", "storage"))

    async def run_long(
        self,
        work: Callable[Concatenate[Watch, P], T],
        progress: Progress,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function that reports to a Watch; cancelling stops it and waits for its end."""
        watch = Watch(asyncio.get_running_loop(), progress)
        future = self._submit(lambda: work(watch, *args, **kwargs))
        return await self._outcome(future, watch, getattr(work, "__name__", "storage"))

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        if self._late:
            raise StorageTimeout(f"{self._name} does not answer; an earlier request still waits")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._running += 1
        if self._running > len(self._threads) < self._count:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put((loop, future, work))
        return future

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, work = job
            try:
                done: Callable[[], None] = _Result(self, future, value=work())
            except BaseException as error:
                done = _Result(self, future, error=error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done)
            del job, future, work, done

    def ended(self) -> None:
        self._running -= 1

    async def _outcome(self, future: asyncio.Future[T], watch: Watch | None, name: str) -> T:
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            deadline_s = self._deadline_s if watch is None or cancelled else None
            try:
                done, _ = await asyncio.wait({future}, timeout=deadline_s)
            except asyncio.CancelledError as error:
                cancelled = error
                if watch is not None:
                    watch.stop()
                continue
            if not done:
                self._late += 1
                future.add_done_callback(self._came_late)
                raise cancelled or StorageTimeout(f"{name} did not end within {deadline_s} s")
        if cancelled is not None:
            future.exception()
            raise cancelled
        return future.result()

    def _came_late(self, future: asyncio.Future[Any]) -> None:
        self._late -= 1
        future.exception()  # nobody reads it; asyncio must not complain about that


class _Result:
    """What a thread hands to the loop when its work has ended."""

    def __init__(
        self,
        threads: Threads,
        future: asyncio.Future[Any],
        value: Any = None,
        error: BaseException | None = None,
    ) -> None:
        self._threads, self._future, self._value, self._error = threads, future, value, error

    def __call__(self) -> None:
        self._threads.ended()
        if self._future.done():
            return
        if self._error is not None:
            self._future.set_exception(self._error)
        else:
            self._future.set_result(self._value)
