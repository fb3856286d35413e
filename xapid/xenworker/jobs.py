"""Jobs, the threads that run them, and the limits on how many run at once."""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .context import Context
from .native import LibxlError, Native

_ABORT_EVERY_S = 0.05


class Kind(enum.Enum):
    """What an operation costs, which decides where it runs and how many run beside it."""

    READ = "read"
    """Asks libxl something and answers at once; runs in the context kept for that."""
    QUICK = "quick"
    """Changes something in a short time."""
    SLOW = "slow"
    """Waits for a guest or moves its memory."""
    BUILD = "build"
    """Fills a domain with memory: bound by the host's memory bandwidth."""


class Job:
    """One request on its way: waiting, running, being aborted, cleaning up, ended."""

    def __init__(
        self, native: Native, name: str, kind: Kind, work: Callable[[Context, Job], Any]
    ) -> None:
        self.name = name
        self.kind = kind
        self.excludes: int | None = None
        """A domid: two jobs that name the same one never run at the same time."""
        self.on_end: Callable[[Any, LibxlError | None, list[str]], None] = lambda *_: None
        self.on_progress: Callable[[float], None] | None = None
        self.call = ""
        """The id of the client's call that it is part of, if it is."""
        self.elapsed_s = 0.0
        """How long it ran, once it has."""
        self._native = native
        self._work = work
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._context: Context | None = None

    @property
    def cancelled(self) -> bool:
        """Whether someone has asked for its end."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask for the job's end; returns at once. Its answer still comes."""
        if self._cancelled.is_set():
            return
        self._cancelled.set()
        # Not on this thread: libxl_ao_abort waits for the context's lock, which a build holds.
        threading.Thread(target=self._abort_until_ended, name="abort", daemon=True).start()

    def check_cancelled(self) -> None:
        """Raise ERROR_ABORTED when the job's end was asked for."""
        if self._cancelled.is_set():
            raise LibxlError(self._native.lib.ERROR_ABORTED, self.name, "cancelled")

    def pause(self, seconds: float) -> None:
        """Wait, unless the job is cancelled: then raise ERROR_ABORTED."""
        if self._cancelled.wait(seconds):
            self.check_cancelled()

    @contextlib.contextmanager
    def unabortable(self) -> Iterator[None]:
        """Let what runs inside come to its own end, even when the job is cancelled."""
        with self._lock:
            context, self._context = self._context, None
        try:
            yield
        finally:
            with self._lock:
                self._context = context

    def run(self, context: Context) -> tuple[Any, LibxlError | None, list[str]]:
        """Do the work in `context`: its value or error, and its log lines."""
        value, error = None, None
        began = time.monotonic()
        context.begin(self.on_progress, self.call)
        with self._lock:
            self._context = context
        try:
            self.check_cancelled()
            value = self._work(context, self)
        except LibxlError as raised:
            error = raised
        except OverflowError as raised:
            error = self._native.refusal(self.name, str(raised))
        finally:
            with self._lock:
                self._context = None
            self._ended.set()
            lines = context.end()
            self.elapsed_s = time.monotonic() - began
        return value, error, lines

    def _abort_until_ended(self) -> None:
        # Repeated, because between two calls of libxl there is nothing to abort.
        while True:
            with self._lock:
                if self._context is not None:
                    self._native.lib.libxl_ao_abort(self._context.handle, self._native.null)
            if self._ended.wait(_ABORT_EVERY_S):
                return


class Pool:
    """Threads that each own a context, made when needed, and the jobs that wait for them."""

    def __init__(
        self,
        native: Native,
        make_context: Callable[[], Context],
        size: int,
        limits: Mapping[Kind, int],
        on_bug: Callable[[str], None],
    ) -> None:
        self._native = native
        self._make_context = make_context
        self._size = size
        self._limits = dict(limits)
        self._on_bug = on_bug
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Counter[Kind] = Counter()
        self._excluded: set[int] = set()
        self._threads = 0
        self._idle = 0

    def submit(self, job: Job) -> None:
        """Queue `job`; its `on_end` is called on one of the pool's threads."""
        with self._changed:
            self._waiting.append(job)
            if self._idle < len(self._waiting) and self._threads < self._size:
                self._threads += 1
                threading.Thread(
                    target=self._serve, name=f"libxl-{self._threads}", daemon=True
                ).start()
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """End `job` early: at once when it waits, otherwise as soon as libxl lets go."""
        with self._changed:
            waiting = job in self._waiting
            if waiting:
                self._waiting.remove(job)
        if not waiting:
            job.cancel()
            return
        aborted = LibxlError(self._native.lib.ERROR_ABORTED, job.name, "cancelled while it waited")
        job.on_end(None, aborted, [])

    def _serve(self) -> None:
        context: Context | None = None
        while True:
            job = self._take()
            try:
                if context is None:
                    context = self._make_context()
                outcome = job.run(context)
            except LibxlError as error:
                outcome = (None, error, [])
            except Exception as error:
                self._on_bug(f"{job.name}: {error!r}")
                bug = LibxlError(
                    self._native.lib.ERROR_FAIL, job.name, f"internal error: {error!r}"
                )
                outcome = (None, bug, [])
            self._give_back(job)
            job.on_end(*outcome)

    def _take(self) -> Job:
        with self._changed:
            self._idle += 1
            while (job := self._first_allowed()) is None:
                self._changed.wait()
            self._idle -= 1
            self._waiting.remove(job)
            self._running[job.kind] += 1
            if job.excludes is not None:
                self._excluded.add(job.excludes)
            return job

    def _first_allowed(self) -> Job | None:
        for job in self._waiting:
            limit = self._limits.get(job.kind, self._size)
            if self._running[job.kind] < limit and job.excludes not in self._excluded:
                return job
        return None

    def _give_back(self, job: Job) -> None:
        with self._changed:
            self._running[job.kind] -= 1
            if job.excludes is not None:
                self._excluded.discard(job.excludes)
            self._changed.notify_all()
