"""Entries for journald in its own protocol, each with fields that journalctl can look for."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TextIO

SOCKET: Final = Path("/run/systemd/journal/socket")
PRIORITIES: Final[Mapping[str, int]] = {
    "critical": 2,
    "error": 3,
    "warning": 4,
    "info": 6,
    "debug": 7,
}
PREFIX: Final = "XAPID_"
"""What the name of each field of ours begins with, so that it is nobody else's."""

_LONGEST: Final = 48 << 10  # bytes of one value; journald keeps no larger field in its index
_NAME: Final = re.compile(r"[^A-Z0-9]+")


class Journal:
    """Sends entries to journald. Never blocks, and never raises for what journald does."""

    def __init__(self, identifier: str, path: Path = SOCKET) -> None:
        """identifier: what stands as the program's name in front of each line."""
        self._identifier = identifier
        self._path = str(path)

    def send(self, level: str, message: str, fields: Iterable[tuple[str, str]] = ()) -> bool:
        """Send one entry; False when journald does not take it.

        level: a name of PRIORITIES. fields: names as the program knows them, and their values.
        """
        lines = [("PRIORITY", str(PRIORITIES.get(level, 6)))]
        lines += [("SYSLOG_IDENTIFIER", self._identifier), ("MESSAGE", message)]
        lines += [(field_name(name), value) for name, value in fields]
        data = b"".join(_line(name, value) for name, value in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(data, self._path)
        except OSError:
            return False
        return True


def field_name(name: str) -> str:
    """The name of a field of ours in the journal: `task` is XAPID_TASK."""
    return PREFIX + _NAME.sub("_", name.upper()).strip("_")[:48]


def leads_to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether what is written to a stream goes to the journal, as $JOURNAL_STREAM says."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


def _line(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")[:_LONGEST]
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
