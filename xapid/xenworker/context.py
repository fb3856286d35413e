"""libxl contexts, each with a logger whose lines are gathered for the operation it runs."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from xapid.xen.protocol import LOG_LINES

from .log import Log
from .native import LibxlError, Native

_LEVELS = (*("debug",) * 6, "info", "warning", "error", "error")
_PERCENT = re.compile(rb"(\d{1,3})%")
_BUFFER = 1 << 20


class LogReader:
    """Reads the loggers of all contexts, so that a long operation never fills its socket."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        threading.Thread(target=self._read_all, name="libxl-log", daemon=True).start()

    def add(self, source: socket.socket, ready: Callable[[], None]) -> None:
        """Call `ready` on the reading thread whenever `source` has something."""
        self._selector.register(source, selectors.EVENT_READ, ready)

    def _read_all(self) -> None:
        while True:
            for key, _ in self._selector.select():
                key.data()


class Context:
    """One libxl context, for the life of the process; used by one operation at a time."""

    def __init__(self, native: Native, reader: LogReader, log: Log, purpose: str) -> None:
        """Allocate it. Raises LibxlError, with libxl's own last words as its detail."""
        self._native = native
        self._reader = reader
        self._log = log
        self._purpose = purpose
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._lock = threading.Lock()
        self._on_progress: Callable[[float], None] | None = None
        self._call = ""
        self._source, self._sink = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._source.setblocking(False)
        self._sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._allocated = False
        self._logger = native.lib.xapid_logger_new(self._sink.fileno(), native.lib.XTL_PROGRESS)
        self.handle = self._allocate()
        self._allocated = True
        self.drain()
        reader.add(self._source, self.drain)

    def _allocate(self) -> Any:
        native = self._native
        out = native.ffi.new("libxl_ctx **")
        rc = native.lib.xapid_ctx_alloc(out, self._logger)
        if rc:
            self.drain()
            native.lib.xapid_logger_free(self._logger)
            self._source.close()
            self._sink.close()
            detail = self._lines[-1] if self._lines else native.error_name(rc)
            raise LibxlError(rc, "libxl_ctx_alloc", detail)
        return out[0]

    def begin(self, on_progress: Callable[[float], None] | None = None, call: str = "") -> None:
        """Start to gather log lines for an operation; progress goes to `on_progress` (0 to 1).

        call: the id of the client's call that the operation is part of.
        """
        with self._lock:
            self._drain()
            self._lines.clear()
            self._on_progress = on_progress
            self._call = call

    def end(self) -> list[str]:
        """Return the operation's last log lines, oldest first."""
        with self._lock:
            self._drain()
            self._on_progress = None
            self._call = ""
            return list(self._lines)

    def drain(self) -> None:
        """Take in what the logger has written."""
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self._source.recv(65536))

    def _take(self, datagram: bytes) -> None:
        level_text, _, rest = datagram.partition(b"\0")
        raw_context, _, raw_message = rest.partition(b"\0")
        level = int(level_text) if level_text.isdigit() else 0
        if level == self._native.lib.XTL_PROGRESS:
            percent = _PERCENT.match(raw_message)
            if percent and self._on_progress:
                self._on_progress(min(int(percent[1]), 100) / 100)
            return
        message = raw_message.decode("utf-8", "replace")
        self._lines.append(message)
        # The first allocation tells whether there is Xen at all: its caller says so in one line.
        if self._allocated:
            where = raw_context.decode("utf-8", "replace")
            self._log.write(
                _LEVELS[min(level, len(_LEVELS) - 1)],
                f"{where} ({self._purpose}): {message}",
                self._call,
            )
