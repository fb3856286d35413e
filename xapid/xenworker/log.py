"""The worker's own log: plain lines on standard error, written by a thread of their own."""

from __future__ import annotations

import os
import queue
import sys
import threading

_LONGEST = 2000


class Log:
    """Writes `level message` lines without ever holding up the caller; counts what does not fit."""

    def __init__(self, fd: int | None = None, waiting: int = 1000) -> None:
        self._fd = sys.stderr.fileno() if fd is None else fd
        self._queue: queue.Queue[str | None] = queue.Queue(waiting)
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

    def write(self, level: str, message: str) -> None:
        """Queue one line; line breaks within `message` become blanks."""
        line = f"{level} {' '.join(message[:_LONGEST].split())}\n"
        try:
            self._queue.put_nowait(line)
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
        while (line := self._queue.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                line = f"warning {dropped} log lines were dropped\n{line}"
            data = line.encode("utf-8", "replace")
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                continue
