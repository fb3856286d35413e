"""The worker's main loop: one client at a time, the parent, the signals, and an orderly end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xapid.xen.protocol import EXIT_STUCK, MAX_FRAME, READY

# Each of these modules enters its operations into the table.
from . import devices, host, lifecycle, mock_controls, sampling, tuning  # noqa: F401
from .context import Context, LogReader
from .domains import DomainNotes, Watcher
from .jobs import Job, Kind, Pool
from .log import Log
from .native import LibxlError, Native
from .registry import JSON, TABLE, Run
from .scopes import Scopes
from .session import Session


@dataclass(frozen=True)
class Settings:
    """What the command line decides."""

    socket_path: Path
    contexts: int = 16
    builds: int = 4
    poll_s: float = 2.0
    stop_within_s: float = 60.0
    parent_fd: int | None = None


class Server:
    """Owns the contexts, the pools, the watcher, and the client of the moment."""

    def __init__(self, settings: Settings, native: Native, log: Log) -> None:
        """Allocate the first contexts. Raises LibxlError when there is no Xen to speak to."""
        self._settings = settings
        self._native = native
        self._log = log
        self._log_reader = LogReader()
        reads = self._make_context("reads")
        self.notes = DomainNotes(native)
        self._watcher = Watcher(
            native,
            self.notes,
            events=self._make_context("events"),
            reads=self._make_context("domains"),
            poll_s=settings.poll_s,
            log=log,
            send=self._send_domains,
        )
        self._reads = Pool(native, lambda: reads, 1, {}, log.error)
        slow = max(1, settings.contexts - settings.builds - max(1, settings.contexts // 4))
        limits = {Kind.BUILD: settings.builds, Kind.SLOW: slow}
        make = lambda: self._make_context("operation")  # noqa: E731
        self._operations = Pool(native, make, settings.contexts, limits, log.error)
        self._scopes = Scopes(log)
        self._session: Session | None = None
        self._leaving = False
        self._stopping_since: float | None = None
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    def run(self) -> int:
        """Serve until a signal or the parent's end; returns the process's exit code."""
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._drain_wakes)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop("a signal"))
        self._listen()
        self._watch_parent()
        self._watcher.start()
        self._scopes.start()
        while not self._ended():
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._settle()
            if not self._ended() and self._patience() == 0:
                self._log.error("operations did not end in time; leaving them")
                return EXIT_STUCK
        return 0

    def _make_context(self, purpose: str) -> Context:
        return Context(self._native, self._log_reader, self._log, purpose)

    def _listen(self) -> None:
        path = self._settings.socket_path
        unready = path.with_name(f"{path.name}.new")
        # The lock is ours, so what stands there is a dead worker's.
        unready.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(unready))
        finally:
            os.umask(before)
        self._listener.listen(8)
        self._listener.setblocking(False)
        # Whoever sees the path can connect to it.
        unready.rename(path)
        _tell_systemd("READY=1")
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _watch_parent(self) -> None:
        fd = self._settings.parent_fd
        if fd is None:
            return
        self._selector.register(fd, selectors.EVENT_READ, lambda: self._read_parent(fd))
        # A plain pipe cannot be written to: then nobody waits for the word.
        with contextlib.suppress(OSError):
            os.write(fd, READY)

    def _read_parent(self, fd: int) -> None:
        if not os.read(fd, 64):
            self._selector.unregister(fd)
            self._stop("the end of the parent")

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        self._selector.unregister(self._listener)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_FRAME // 16)
        session = Session(
            connection,
            self._native,
            self._log,
            self._start_job,
            lambda job: self._pool_of(job).submit(job),
            lambda job: self._pool_of(job).cancel(job),
            self._after_job,
        )
        self._session = session
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(session))
        self._watcher.resend()

    def _read(self, session: Session) -> None:
        if not session.read():
            self._leave(session)

    def _leave(self, session: Session) -> None:
        self._selector.unregister(session.connection)
        self._leaving = True
        session.abort_all()
        session.close()

    def _settle(self) -> None:
        """Once the last job of a client that left has ended, wait for the next client."""
        if self._session is not None and self._leaving and not self._session.busy:
            self._session = None
            self._leaving = False
            if self._stopping_since is None:
                self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _stop(self, reason: str) -> None:
        if self._stopping_since is not None:
            return
        self._log.info(f"stopping at {reason}")
        self._stopping_since = time.monotonic()
        if self._session is None:
            self._selector.unregister(self._listener)
        elif not self._leaving:
            self._leave(self._session)
        self._listener.close()
        self._settings.socket_path.unlink(missing_ok=True)

    def _ended(self) -> bool:
        return self._stopping_since is not None and self._session is None

    def _patience(self) -> float | None:
        if self._stopping_since is None:
            return None
        return max(0.0, self._stopping_since + self._settings.stop_within_s - time.monotonic())

    def _start_job(self, name: str, args: JSON) -> Job:
        entry = TABLE.get(name)
        if entry is None or (entry.mock_only and self._native.kind != "mock"):
            raise self._native.refusal(name[:64], "there is no such operation")
        if problem := entry.problem_with(args):
            raise self._native.refusal(name, problem)

        def work(context: Context, job: Job) -> Any:
            run = Run(self._native, context, job, self.notes, self._settings.contexts)
            try:
                return entry.handler(run, **args)
            except LibxlError as error:
                # For a domain that has gone libxl mostly has just this, its least telling code.
                if (
                    error.rc == run.lib.ERROR_FAIL
                    and "domid" in args
                    and run.is_gone(args["domid"])
                ):
                    error.rc = run.lib.ERROR_DOMAIN_NOTFOUND
                raise

        job = Job(self._native, name, entry.kind, work)
        if entry.excludes_domain:
            job.excludes = args["domid"]
        return job

    def _pool_of(self, job: Job) -> Pool:
        return self._reads if job.kind is Kind.READ else self._operations

    def _after_job(self) -> None:
        self._watcher.wake()
        self._scopes.wake()
        if self._leaving:
            self._wake()

    def _send_domains(self, message: JSON) -> None:
        session = self._session
        if session is not None and not self._leaving:
            session.send_domains(message)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_out.send(b"w")

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_in.recv(4096):
                pass


def _tell_systemd(message: str) -> None:
    """Tell systemd, where it started us as a unit; children must not speak in our name."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), address.replace("@", "\0", 1))
