"""Log lines: readable on a terminal, each with its priority in the journal."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from xapid import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the whole process's: put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_names_its_context() -> None:
    stream = io.StringIO()
    log.configure("info", stream)

    with structlog.contextvars.bound_contextvars(call="7f"):
        structlog.get_logger("a").info("started", vm="one")
    structlog.get_logger("a").debug("unseen")
    logging.getLogger("library").warning("old %s", "style")

    first, second = stream.getvalue().splitlines()
    assert "started" in first
    assert "call=7f" in first
    assert "vm=one" in first
    assert "old style" in second


def test_a_traceback_is_whole_and_shows_no_values() -> None:
    stream = io.StringIO()
    log.configure("info", stream)
    password = "hidden"

    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger("a").exception("broke")

    assert "ValueError: 6" in stream.getvalue()
    assert "hidden" not in stream.getvalue()


def test_the_journal_gets_a_priority_on_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        found = path.stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        log.configure("info", stream)
        structlog.get_logger("a").warning("careful", what="a\nb")
        try:
            raise ValueError("x")
        except ValueError:
            structlog.get_logger("a").exception("broke")

    lines = path.read_text().splitlines()
    assert lines[0] == "<4>careful what='a\\nb'"
    assert lines[1] == "<3>broke"
    assert lines[-1] == "<3>ValueError: x"
    assert all(line.startswith("<3>") for line in lines[1:])


@pytest.mark.parametrize("value", ["", "1:2", "x:y", "1"])
def test_another_stream_is_no_journal(tmp_path: Path, value: str) -> None:
    with (tmp_path / "file").open("w") as stream:
        assert not log.is_journal(stream, {"JOURNAL_STREAM": value})
