"""How the daemon's log lines look: readable on a terminal, with fields in the journal."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from .journal import PRIORITIES, SOCKET, Journal, leads_to_journal

_CALL_ID: Final = re.compile(r"[0-9a-f]{8}")
_SHARED: Final = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
)


def configure(level: str, stream: TextIO | None = None, journal_socket: Path = SOCKET) -> None:
    """Send all log lines, also those of the libraries, to `stream` (else stderr).

    Where the stream leads to the journal they become entries of journald at `journal_socket`,
    with a field for each value; whatever it does not take goes to the stream after all.
    """
    stream = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if leads_to_journal(stream, os.environ):
        last += [structlog.processors.format_exc_info, _ToJournal(Journal("xapid", journal_socket))]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=0,
        )
        last += [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False), renderer]
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=list(_SHARED), processors=last)
    )
    logging.getLogger().handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Write only lines of this level and above, from now on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(threshold)
    for library in ("aiohttp", "aiosqlite", "asyncio"):  # their debug lines tell of every step
        logging.getLogger(library).setLevel(max(threshold, logging.WARNING))


def current_call() -> str:
    """The id of the call that the code at hand runs for; "" when it runs for none."""
    call = structlog.contextvars.get_contextvars().get("call")
    return call if isinstance(call, str) and _CALL_ID.fullmatch(call) else ""


class _Handler(logging.StreamHandler[TextIO]):
    """Writes what the formatter leaves to be written."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if text := self.format(record):
                self.stream.write(text + self.terminator)
                self.flush()
        except Exception:
            self.handleError(record)


class _ToJournal:
    """Sends an event to journald; gives the lines to be written when it does not take it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        level = str(event.pop("level", "info"))
        trace = str(event.pop("exception", ""))
        head = str(event.pop("event", ""))
        pairs = " ".join(f"{key}={value!r}" for key, value in event.items())
        lines = [f"{head} {pairs}".rstrip(), *trace.splitlines()]
        fields = [("event", head), *((key, _plain(value)) for key, value in event.items())]
        if self._journal.send(level, "\n".join(lines), fields):
            return ""
        # `<priority>` in front of each line, so that a traceback keeps its own.
        prefix = f"<{PRIORITIES.get(level, 6)}>"
        return "\n".join(prefix + line.replace("\n", " ") for line in lines)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
