"""Calls that may take long: run as tasks, shown as a bar, and cancelled by ^C."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from typing import Any, Final, TextIO

from .failures import Cancelled, Failure
from .output import shown
from .server import Server

ENDED: Final = ("success", "failure", "cancelled")
SHOW_AFTER_S: Final = 0.4
REDRAW_S: Final = 0.5
WIDTH: Final = 30
LABEL: Final = 40


class Bar:
    """One line on a terminal that says how far a task has come; silent elsewhere."""

    def __init__(self, label: str, stream: TextIO | None = None, *, wanted: bool = True) -> None:
        self._stream = stream or sys.stderr
        self._wanted = wanted and self._stream.isatty()
        label = shown(label)
        self._label = label if len(label) <= LABEL else label[: LABEL - 1] + "…"
        self._began = time.monotonic()
        self._fraction = 0.0
        self._drawn = False

    def show(self, fraction: float) -> None:
        """Show the share that is done, 0.0 to 1.0."""
        self._fraction = min(max(fraction, 0.0), 1.0)
        self.draw()

    def draw(self, *_: object) -> None:
        """Draw the line as it is now."""
        passed = time.monotonic() - self._began
        if not self._wanted or passed < SHOW_AFTER_S:
            return
        full = int(self._fraction * WIDTH)
        minutes, seconds = divmod(int(passed), 60)
        bar = "#" * full + "." * (WIDTH - full)
        line = f"{self._label} [{bar}] {self._fraction:4.0%} {minutes}:{seconds:02d}"
        self._stream.write(f"\r{line}\x1b[K")
        self._stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    @contextlib.contextmanager
    def moving(self) -> Iterator[None]:
        """Draw it again and again while the block waits for the server."""
        if not self._wanted:
            yield
            return
        old = signal.signal(signal.SIGALRM, self.draw)
        signal.setitimer(signal.ITIMER_REAL, SHOW_AFTER_S + 0.05, REDRAW_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            self.clear()


def perform(server: Server, bar: Bar, label: str, method: str, *params: Any) -> Any:
    """Run a message as a task and wait for its result.

    Raises Failure, Unreachable; Cancelled once ^C has been dealt with.
    """
    task = server(f"Async.{method}", *params)
    try:
        with bar.moving():
            record = _wait(server, task, bar)
    except KeyboardInterrupt:
        record = _cancel(server, task, label)
    _forget(server, task)
    if record["status"] == "failure":
        raise Failure([str(part) for part in record["error_info"]], method)
    if record["status"] == "cancelled":
        raise Cancelled(f"{label} was cancelled, and what it had done was undone")
    return _result(record["result"])


def _wait(server: Server, task: str, bar: Bar) -> dict[str, Any]:
    """The task's record once it has ended."""
    record = server("task.get_record", task)
    if record["status"] in ENDED:
        return dict(record)
    server("event.register", ["task"])
    while True:
        record = server("task.get_record", task)
        if record["status"] in ENDED:
            return dict(record)
        bar.show(float(record["progress"]))
        _next_change(server)


def _next_change(server: Server) -> None:
    try:
        server("event.next")
    except Failure as failure:
        if failure.code != "EVENTS_LOST":
            raise


def _cancel(server: Server, task: str, label: str) -> dict[str, Any]:
    """Ask the task to stop and wait until it has; a second ^C leaves it to itself."""
    sys.stderr.write(f"\nxe: cancelling {label} (^C again leaves it running)\n")
    try:
        server.reconnect()  # the answer that was waited for is still on its way
        try:
            server("task.cancel", task)
        except Failure as failure:
            if failure.code != "OPERATION_NOT_ALLOWED":
                raise
            sys.stderr.write(f"xe: {label} cannot be cancelled any more; waiting for its end\n")
        record = _wait(server, task, Bar(label, wanted=False))
    except KeyboardInterrupt:
        server.reconnect()
        raise Cancelled(
            f"{label} goes on by itself: `xe task-list` shows it, task "
            f"{server('task.get_uuid', task)}"
        ) from None
    if record["status"] == "success":
        raise Cancelled(f"{label} was done before it could be cancelled")
    return record


def _forget(server: Server, task: str) -> None:
    with contextlib.suppress(Failure):
        server("task.destroy", task)


def _result(encoded: str) -> Any:
    """What the call would have answered, from the text that a task keeps of it."""
    if not encoded:
        return ""
    whole = f"<methodResponse><params><param>{encoded}</param></params></methodResponse>"
    (values, _) = xmlrpc.client.loads(whole)
    return values[0]
