"""The worker's own log: standard error or the journal, written by a thread of its own."""

from __future__ import annotations

import os
import queue
import sys
import threading

from xapid.journal import PRIORITIES, Journal, leads_to_journal

_LONGEST = 2000


class Log:
    """Writes lines without ever holding up the caller; counts what does not fit.

    A line is `level message`, or `level[call] message` for what was done for a call. Where
    standard error is the journal, an entry with the same as fields takes its place.
    """

    def __init__(self, fd: int | None = None, waiting: int = 1000, least: str = "debug") -> None:
        """least: the level of the least important lines that are written."""
        self._fd = sys.stderr.fileno() if fd is None else fd
        self._least = PRIORITIES[least]
        self._journal: Journal | None = None
        if fd is None and leads_to_journal(sys.stderr, os.environ):
            self._journal = Journal("xapid-xen")
        self._queue: queue.Queue[tuple[str, str, str] | None] = queue.Queue(waiting)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def debug(self, message: str) -> None:
        self.write("debug", message)

    def info(self, message: str) -> None:
        self.write("info", message)

    def warning(self, message: str) -> None:
        self.write("warning", message)

    def error(self, message: str) -> None:
        self.write("error", message)

    def write(self, level: str, message: str, call: str = "") -> None:
        """Queue one line; line breaks within `message` become blanks.

        call: the id of the call of a client that it is about.
        """
        if PRIORITIES[level] > self._least:
            return
        try:
            self._queue.put_nowait((level, " ".join(message[:_LONGEST].split()), call))
        except queue.Full:
            self._dropped += 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, for at most `timeout_s`: a reader that has stopped must not keep us."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _write_all(self) -> None:
        while (entry := self._queue.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                self._put("warning", f"{dropped} log lines were dropped", "")
            self._put(*entry)

    def _put(self, level: str, message: str, call: str) -> None:
        fields = [("call", call)] if call else []
        if self._journal is not None and self._journal.send(level, message, fields):
            return
        mark = f"[{call}]" if call else ""
        data = f"{level}{mark} {message}\n".encode("utf-8", "replace")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return
