"""How the daemon's log lines look: readable on a terminal, with fields in the journal."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

import structlog

from .journal import PRIORITIES, SOCKET, Journal, leads_to_journal

_CALL_ID: Final = re.compile(r"[0-9a-f]{8}")
_PLAIN: Final = re.compile(r"[^\s='\"\x00-\x1f\x7f-\x9f]*")
_USUAL: Final = re.compile(r"[!#-&(-<>-~]*")  # the same in ASCII, which is found faster
_Event = MutableMapping[str, Any]
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
}
_NAMES: Final[ContextVar[Mapping[str, str]]] = ContextVar("names", default=MappingProxyType({}))


class Bound:
    """A block in which each line has these values besides its own."""

    __slots__ = ("_before", "_names")

    def __init__(self, **names: str) -> None:
        self._names = names

    def __enter__(self) -> None:
        self._before = _NAMES.get()
        _NAMES.set({**self._before, **self._names} if self._before else self._names)

    def __exit__(self, *_: object) -> None:
        _NAMES.set(self._before)


def bind(**names: str) -> None:
    """Give each line these values besides its own until the block around it ends."""
    _NAMES.set({**_NAMES.get(), **names})


def bound(name: str) -> str:
    """A value that each line has at this place; "" when there is none of the name."""
    return _NAMES.get().get(name, "")


def configure(level: str, stream: TextIO | None = None, journal_socket: Path = SOCKET) -> None:
    """Send all log lines, also those of the libraries, to `stream` (else stderr).

    Where the stream leads to the journal they become entries of journald at `journal_socket`,
    with a field for each value; whatever it does not take goes to the stream after all.
    """
    stream = sys.stderr if stream is None else stream
    last: list[structlog.typing.Processor] = [structlog.processors.format_exc_info]
    if leads_to_journal(stream, os.environ):
        last.append(_ToJournal(Journal("xapid", journal_socket)))
    elif stream.isatty():
        last.append(structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False))
        traceback = structlog.dev.plain_traceback
        last.append(structlog.dev.ConsoleRenderer(exception_formatter=traceback, pad_event_to=0))
    else:
        last.append(_line)
    # Our own lines do not pass through `logging`, which would take three times as long: there is
    # one for each change of a client.
    structlog.configure(
        processors=[_begun, *last],
        logger_factory=lambda *_: _Lines(stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(stream)
    theirs = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    first: list[structlog.typing.Processor] = [_named]
    first += [structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=first, processors=theirs)
    )
    logging.getLogger().handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Write only lines of this level and above, from now on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(threshold)
    _Threshold.level = threshold
    for library in ("aiohttp", "aiosqlite", "asyncio"):  # their debug lines tell of every step
        logging.getLogger(library).setLevel(max(threshold, logging.WARNING))


def current_call() -> str:
    """The id of the call that the code at hand runs for; "" when it runs for none."""
    call = bound("call")
    return call if _CALL_ID.fullmatch(call) else ""


class _Threshold:
    level = logging.INFO


def _begun(logger: object, method: str, event: _Event) -> _Event:
    """A line of ours, unless it is below the threshold."""
    if _LEVELS[method] < _Threshold.level:
        raise structlog.DropEvent
    event["level"] = "error" if method == "exception" else method
    return _named(logger, method, event)


def _named(logger: object, method: str, event: _Event) -> _Event:
    """Add the values that are bound at this place."""
    for name, value in _NAMES.get().items():
        event.setdefault(name, value)
    return event


class _Lines:
    """Writes lines; a stream that cannot be written is no reason to fail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if text:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass

    debug = info = warning = error = critical = exception = msg = write


def _line(logger: object, method: str, event: _Event) -> str:
    """An event as one line: the time, the level, what happened, and its values by name."""
    level, head = event.pop("level", "info"), event.pop("event", "")
    trace = event.pop("exception", "")
    try:  # one look at all values, numbers aside: nearly always they are plain text
        plain = _USUAL.fullmatch(",".join([v for v in event.values() if type(v) is not int]))
    except TypeError:
        plain = None
    if plain:
        pairs = [f"{key}={event[key]}" for key in sorted(event)]
    else:
        pairs = [f"{key}={_told(event[key])}" for key in sorted(event)]
    line = f"{_TIME()} [{level:<9}] {' '.join((_flat(str(head)), *pairs))}"
    return f"{line}\n{trace}" if trace else line


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _told(value: object) -> str:
    """A value as it stands in a line: as it is where nothing in it could be taken for more."""
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else repr(value)


class _Time:
    """The time of day as lines show it, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second, self._text = now, time.strftime("%H:%M:%S", time.localtime(now))
        return self._text


_TIME: Final = _Time()


def _flat(text: str) -> str:
    return text if text.isprintable() else repr(text)


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
        fields = [("event", head), *((key, _text(value)) for key, value in event.items())]
        if self._journal.send(level, "\n".join(lines), fields):
            return ""
        # `<priority>` in front of each line, so that a traceback keeps its own.
        prefix = f"<{PRIORITIES.get(level, 6)}>"
        return "\n".join(prefix + line.replace("\n", " ") for line in lines)
