"""Device-mapper's control device: what is active in the kernel, what is open, and how full.

The kernel answers in microseconds what a program would be started for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

CONTROL: Final = Path("/dev/mapper/control")
# struct dm_ioctl of <linux/dm-ioctl.h>, version 4: version, data_size, data_start, target_count,
# open_count, flags, event_nr, padding, dev, name, uuid, data.
HEADER: Final = struct.Struct("=3IIIIiIIIQ128s129s7s")
TARGET: Final = struct.Struct("=QQiI16s")
ENTRY: Final = struct.Struct("=QI")
VERSION: Final = (4, 0, 0)
LIST_DEVICES: Final = 2
DEVICE_STATUS: Final = 7
TABLE_STATUS: Final = 12
SUSPENDED: Final = 1 << 1
WANT_TABLE: Final = 1 << 4
BUFFER_FULL: Final = 1 << 8
NO_FLUSH: Final = 1 << 11
LARGEST: Final = 16 << 20


@dataclass(frozen=True)
class Active:
    """An active device."""

    open: bool
    suspended: bool


class Mapper(Protocol):
    """What is asked of device-mapper; every method may raise OSError and may block."""

    def active(self, prefix: str) -> dict[str, Active]:
        """The active devices whose names begin with `prefix`."""

    def status(self, name: str) -> str | None:
        """How the first target of a device is, in the target's own words; None without it."""

    def table(self, name: str) -> str | None:
        """What the first target of a device was made with; None when it is not active."""


class ControlDevice:
    """Implements `Mapper`."""

    def active(self, prefix: str) -> dict[str, Active]:
        found = {}
        with _Control() as control:
            for name in names(control.ask(LIST_DEVICES)):
                if name.startswith(prefix):
                    try:
                        answer = control.ask(DEVICE_STATUS, name)
                    except FileNotFoundError:
                        continue  # gone since it was listed
                    found[name] = state(answer)
        return found

    def status(self, name: str) -> str | None:
        return self._parameters(name, NO_FLUSH)

    def table(self, name: str) -> str | None:
        return self._parameters(name, WANT_TABLE)

    def _parameters(self, name: str, flags: int) -> str | None:
        try:
            with _Control() as control:
                return parameters(control.ask(TABLE_STATUS, name, flags))
        except FileNotFoundError:
            return None


class _Control:
    """The control device, open."""

    def __enter__(self) -> _Control:
        self._fd = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def ask(self, command: int, name: str = "", flags: int = 0) -> bytes:
        """The kernel's answer to a command. Raises FileNotFoundError for an unknown name."""
        size = 16 << 10
        while True:
            request = HEADER.pack(
                *VERSION, size, HEADER.size, 0, 0, flags, 0, 0, 0, name.encode(), b"", b""
            )
            buffer = bytearray(request.ljust(size, b"\0"))
            try:
                fcntl.ioctl(self._fd, _number(command), buffer)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    raise FileNotFoundError(name) from error
                raise
            if not _flags(buffer) & BUFFER_FULL or size >= LARGEST:
                return bytes(buffer)
            size *= 4


def _number(command: int) -> int:
    """The ioctl of a command: both ways, with the header's size and device-mapper's letter."""
    return 3 << 30 | HEADER.size << 16 | 0xFD << 8 | command


def _flags(answer: bytes | bytearray) -> int:
    return int(HEADER.unpack_from(answer)[7])


def _data(answer: bytes) -> tuple[int, int]:
    """Where the data of an answer begins, and how many targets it tells of."""
    header = HEADER.unpack_from(answer)
    return int(header[4]), int(header[5])


def state(answer: bytes) -> Active:
    """The state of one device."""
    opened = int(HEADER.unpack_from(answer)[6])
    return Active(open=opened > 0, suspended=bool(_flags(answer) & SUSPENDED))


def names(answer: bytes) -> Iterator[str]:
    """The devices of a list."""
    at, _ = _data(answer)
    while True:
        device, step = ENTRY.unpack_from(answer, at)
        if device:
            yield _text(answer, at + ENTRY.size)
        if not step:
            return
        at += step


def parameters(answer: bytes) -> str | None:
    """What an answer says of the first target; None when the device has none."""
    at, count = _data(answer)
    return _text(answer, at + TARGET.size) if count else None


def _text(answer: bytes, at: int) -> str:
    return answer[at : answer.index(b"\0", at)].decode(errors="replace")
