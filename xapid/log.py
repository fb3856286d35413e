"""How the daemon's log lines look: readable on a terminal, with a priority for the journal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_SHARED: Final = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send all log lines, also those of the libraries, to `stream` (else stderr)."""
    stream = sys.stderr if stream is None else stream
    journal = is_journal(stream, os.environ)
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
    renderer: Any = (
        _journal_line
        if journal
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=0,
        )
    )
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if journal:
        last.append(structlog.processors.format_exc_info)
    else:
        last.append(structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(_SHARED), processors=[*last, renderer]
        )
    )
    logging.getLogger().handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Write only lines of this level and above, from now on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(threshold)
    logging.getLogger("asyncio").setLevel(max(threshold, logging.WARNING))
    logging.getLogger("aiohttp").setLevel(max(threshold, logging.WARNING))


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream leads to the journal, as $JOURNAL_STREAM says."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


def _journal_line(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    """One entry: `<priority>` in front of each line, so that a traceback keeps its own."""
    prefix = f"<{_PRIORITIES.get(str(event.pop('level', 'info')), 6)}>"
    trace = event.pop("exception", "")
    head = str(event.pop("event", ""))
    pairs = " ".join(f"{key}={value!r}" for key, value in event.items())
    lines = [f"{head} {pairs}".rstrip(), *str(trace).splitlines()]
    return "\n".join(prefix + line.replace("\n", " ") for line in lines)
