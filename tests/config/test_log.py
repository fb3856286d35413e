"""Log lines: readable on a terminal, each with its priority in the journal."""

from __future__ import annotations

import io
import logging
import os
import socket
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

import pytest
import structlog

from xapid import log
from xapid.journal import Journal, leads_to_journal
from xapid.xenworker.log import Log as WorkerLog

pytestmark = pytest.mark.usefixtures("own_log")


def test_a_line_names_its_context() -> None:
    stream = io.StringIO()
    log.configure("info", stream)

    with log.Bound(call="7f"):
        structlog.get_logger("a").info("started", vm="one")
    structlog.get_logger("a").debug("unseen")
    logging.getLogger("library").warning("old %s", "style")

    first, second = stream.getvalue().splitlines()
    assert "started" in first
    assert "call=7f" in first
    assert "vm=one" in first
    assert "old style" in second


def test_a_block_within_another_adds_to_its_values() -> None:
    stream = io.StringIO()
    log.configure("info", stream)
    logger = structlog.get_logger("a")

    with log.Bound(call="7f", user=""):
        with log.Bound(method="VM.start"):
            logger.info("inner", call="own")
        log.bind(user="root")
        logger.info("outer")
    logger.info("outside")

    inner, outer, outside = [line[9:] for line in stream.getvalue().splitlines()]
    assert inner == "[info     ] inner call=own method=VM.start user="
    assert outer == "[info     ] outer call=7f user=root"
    assert outside == "[info     ] outside"


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


def test_a_line_is_one_whatever_its_values_hold() -> None:
    stream = io.StringIO()
    log.configure("info", stream)

    structlog.get_logger("a").info("call", who="a\nb", what="x=y", plain="VM.start", ms=7, none="")

    (line,) = stream.getvalue().splitlines()
    assert line.endswith(" [info     ] call ms=7 none= plain=VM.start what='x=y' who='a\\nb'")


def test_the_level_can_change_while_loggers_are_in_use() -> None:
    stream = io.StringIO()
    log.configure("info", stream)
    logger = structlog.get_logger("a")

    logger.debug("first")
    log.set_level("debug")
    logger.debug("second")
    log.set_level("error")
    logger.warning("third")

    assert "second" in stream.getvalue()
    assert "first" not in stream.getvalue() and "third" not in stream.getvalue()


class PretendedJournald:
    """The socket of a journald, and what was sent to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(10)

    def entry(self) -> dict[str, str]:
        data, fields = self.socket.recv(1 << 20), {}
        while data:
            line, _, data = data.partition(b"\n")
            name, given, value = line.partition(b"=")
            if not given:
                (length,) = struct.unpack("<Q", data[:8])
                value, data = data[8 : 8 + length], data[8 + length + 1 :]
            fields[name.decode()] = value.decode()
        return fields


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[PretendedJournald]:
    made = PretendedJournald(tmp_path / "journald")
    yield made
    made.socket.close()


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """A stream that leads to the journal, as $JOURNAL_STREAM says."""
    with (tmp_path / "stream").open("w+") as made:
        found = os.fstat(made.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        yield made


def test_the_journal_gets_a_field_for_each_value(
    journald: PretendedJournald, stream: TextIO, tmp_path: Path
) -> None:
    log.configure("info", stream, journald.path)

    with log.Bound(call="7f3a21bc", method="VM.start"):
        structlog.get_logger("a").warning("careful", ms=7, what="a\nb")

    entry = journald.entry()
    message = entry.pop("MESSAGE")
    assert message.startswith("careful ms=7 what='a\\nb' ")
    assert "call='7f3a21bc'" in message and "method='VM.start'" in message
    assert entry == {
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "xapid",
        "XAPID_EVENT": "careful",
        "XAPID_CALL": "7f3a21bc",
        "XAPID_METHOD": "VM.start",
        "XAPID_MS": "7",
        "XAPID_WHAT": "a\nb",
    }
    assert (tmp_path / "stream").read_text() == ""


def test_a_traceback_is_one_entry(journald: PretendedJournald, stream: TextIO) -> None:
    log.configure("info", stream, journald.path)

    try:
        raise ValueError("x")
    except ValueError:
        structlog.get_logger("a").exception("broke")

    entry = journald.entry()
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].startswith("broke\nTraceback")
    assert entry["MESSAGE"].endswith("ValueError: x")


def test_what_journald_does_not_take_has_its_priority_on_every_line(
    stream: TextIO, tmp_path: Path
) -> None:
    log.configure("info", stream, tmp_path / "no-journald")
    structlog.get_logger("a").warning("careful", what="a\nb")
    try:
        raise ValueError("x")
    except ValueError:
        structlog.get_logger("a").exception("broke")

    lines = (tmp_path / "stream").read_text().splitlines()
    assert lines[0] == "<4>careful what='a\\nb'"
    assert lines[1] == "<3>broke"
    assert lines[-1] == "<3>ValueError: x"
    assert all(line.startswith("<3>") for line in lines[1:])


@pytest.mark.parametrize("value", ["", "1:2", "x:y", "1"])
def test_another_stream_is_no_journal(tmp_path: Path, value: str) -> None:
    with (tmp_path / "file").open("w") as other:
        assert not leads_to_journal(other, {"JOURNAL_STREAM": value})


@pytest.mark.parametrize(
    ("bound", "told"), [({"call": "7f3a21bc"}, "7f3a21bc"), ({}, ""), ({"call": "no id"}, "")]
)
def test_code_knows_for_which_call_it_runs(bound: dict[str, str], told: str) -> None:
    with log.Bound(**bound):
        assert log.current_call() == told


def test_xapid_xen_sends_the_call_as_a_field(
    journald: PretendedJournald, stream: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("xapid.xenworker.log.Journal", partial(Journal, path=journald.path))
    worker_log = WorkerLog(least="info")

    worker_log.debug("too little")
    worker_log.write("error", "libxl: no memory", "7f3a21bc")

    entry = journald.entry()
    worker_log.close()
    assert entry["MESSAGE"] == "libxl: no memory"
    assert entry["SYSLOG_IDENTIFIER"] == "xapid-xen"
    assert (entry["PRIORITY"], entry["XAPID_CALL"]) == ("3", "7f3a21bc")
