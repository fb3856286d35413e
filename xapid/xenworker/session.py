"""One client's connection: its requests in, their answers and the list of domains out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from xapid.xen.protocol import (
    CALL_ID,
    LOG_LINES,
    MAX_REQUESTS,
    FrameDecoder,
    ProtocolError,
    encode,
)

from .jobs import Job, Kind
from .log import Log
from .native import LibxlError, Native
from .registry import JSON

_READ_SIZE = 1 << 18
_MOST_WAITING = 64 << 20


class Outbox:
    """Sends frames on a thread of its own, so that no operation waits for a slow client."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._frames: deque[bytes] = deque()
        self._waiting = 0
        self._latest: JSON | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._send_all, name="answers", daemon=True)
        self._thread.start()

    def put(self, message: JSON) -> None:
        """Send `message`; a client that lets too much wait loses its connection."""
        frame = encode(message)
        with self._changed:
            self._frames.append(frame)
            self._waiting += len(frame)
            if self._waiting > _MOST_WAITING:
                self._cut()
            self._changed.notify()

    def put_latest(self, message: JSON) -> None:
        """Send `message` in place of any earlier one of this kind that still waits."""
        with self._changed:
            self._latest = message
            self._changed.notify()

    def close(self) -> None:
        """Drop what waits and stop sending."""
        with self._changed:
            self._closed = True
            self._cut()
            self._changed.notify()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _next(self) -> bytes | None:
        with self._changed:
            while not (self._frames or self._latest or self._closed):
                self._changed.wait()
            if self._closed:
                return None
            if self._frames:
                frame = self._frames.popleft()
                self._waiting -= len(frame)
                return frame
            latest, self._latest = self._latest, None
        return encode(latest) if latest else None

    def _send_all(self) -> None:
        with contextlib.suppress(OSError):
            while (frame := self._next()) is not None:
                self._connection.sendall(frame)
        with self._changed:
            self._cut()


class Session:
    """Turns one client's frames into jobs. All but the ends of jobs happens on the main thread."""

    def __init__(
        self,
        connection: socket.socket,
        native: Native,
        log: Log,
        start: Callable[[str, JSON], Job],
        submit: Callable[[Job], None],
        cancel: Callable[[Job], None],
        after_job: Callable[[], None],
    ) -> None:
        """start: makes the job of an operation or raises LibxlError. after_job: runs at its end."""
        self.connection = connection
        self._native = native
        self._log = log
        self._start = start
        self._submit = submit
        self._cancel = cancel
        self._after_job = after_job
        self._decoder = FrameDecoder()
        self._outbox = Outbox(connection)
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()

    @property
    def busy(self) -> int:
        """How many jobs have not ended."""
        with self._lock:
            return len(self._jobs)

    def read(self) -> bool:
        """Take in what the client sent. Returns False when the connection is to be closed."""
        try:
            data = self.connection.recv(_READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        try:
            for message in self._decoder.feed(data):
                self._handle(message)
        except ProtocolError as error:
            self._log.warning(f"the client is cut off: {error}")
            return False
        return True

    def send_domains(self, message: JSON) -> None:
        """Send the list of domains, in place of one that still waits."""
        self._outbox.put_latest(message)

    def abort_all(self) -> None:
        """Ask every job for its end."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            self._cancel(job)

    def close(self) -> None:
        """Cut the connection; jobs that still run end without an answer."""
        self._outbox.close()
        self.connection.close()

    def _handle(self, message: JSON) -> None:
        if "cancel" in message:
            target = message["cancel"]
            with self._lock:
                job = self._jobs.get(target) if isinstance(target, int) else None
            if job is not None:
                self._cancel(job)
            return
        number, name, args = message.get("id"), message.get("op"), message.get("args", {})
        call = message.get("call", "")
        if type(number) is not int or not isinstance(name, str) or not isinstance(args, dict):
            raise ProtocolError("a frame is neither a request nor a cancel")
        if not isinstance(call, str) or not CALL_ID.fullmatch(call):
            raise ProtocolError("a request names no call as calls are named")
        with self._lock:
            if number in self._jobs or len(self._jobs) >= MAX_REQUESTS:
                raise ProtocolError("the id is in use, or too many requests are unanswered")
        self._begin(number, name, args, call)

    def _begin(self, number: int, name: str, args: JSON, call: str) -> None:
        try:
            job = self._start(name, args)
        except LibxlError as error:
            self._outbox.put({"id": number, "error": self._describe(error, [])})
            return
        job.call = call
        job.on_end = lambda value, error, lines: self._end(number, job, value, error, lines)
        job.on_progress = lambda share: self._outbox.put({"id": number, "progress": share})
        with self._lock:
            self._jobs[number] = job
        self._submit(job)

    def _end(
        self, number: int, job: Job, value: Any, error: LibxlError | None, lines: list[str]
    ) -> None:
        with self._lock:
            del self._jobs[number]
        self._say(job, error)
        if error is None:
            answer = {"id": number, "ok": value}
        else:
            answer = {"id": number, "error": self._describe(error, lines)}
        try:
            self._outbox.put(answer)
        except (ProtocolError, TypeError) as problem:
            failure = LibxlError(self._native.lib.ERROR_BUFFERFULL, "answer", str(problem))
            self._outbox.put({"id": number, "error": self._describe(failure, [])})
        self._after_job()

    def _say(self, job: Job, error: LibxlError | None) -> None:
        """One line for what was changed on behalf of a call."""
        if not job.call or job.kind is Kind.READ:
            return
        outcome = "done" if error is None else self._native.error_name(error.rc)
        elapsed_ms = round(job.elapsed_s * 1000)
        self._log.write("info", f"{job.name} outcome={outcome} ms={elapsed_ms}", job.call)

    def _describe(self, error: LibxlError, lines: list[str]) -> JSON:
        log = [*lines, error.detail] if error.detail else lines
        return {
            "rc": error.rc,
            "name": self._native.error_name(error.rc),
            "function": error.function,
            "log": log[-LOG_LINES:],
        }
