"""A tar archive as a stream: its length is known before its first byte is made."""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, Final

BLOCK: Final = 512
RECORD: Final = 10240
CHUNK: Final = 256 << 10


@dataclass(frozen=True)
class Entry:
    """One file of the archive. `open` gives its content when its turn has come.

    name: as in the archive. size: bytes. changed: seconds since 1970.
    """

    name: str
    size: int
    changed: float
    open: Callable[[], BinaryIO]

    def header(self) -> bytes:
        info = tarfile.TarInfo(self.name)
        info.size, info.mtime, info.mode = self.size, int(self.changed), 0o600
        return info.tobuf(tarfile.PAX_FORMAT)


def length(entries: Sequence[Entry]) -> int:
    """Bytes of the whole archive."""
    held = sum(len(entry.header()) + _padded(entry.size, BLOCK) for entry in entries)
    return _padded(held + 2 * BLOCK, RECORD)


async def stream(entries: Sequence[Entry]) -> AsyncIterator[bytes]:
    """The archive, of exactly `length` bytes.

    A file that shrinks meanwhile is filled up with zeroes, and one that grows is cut. Raises
    OSError.
    """
    written = 0
    for entry in entries:
        header = entry.header()
        yield header
        async for chunk in content(entry):
            yield chunk
        yield bytes(_padded(entry.size, BLOCK) - entry.size)
        written += len(header) + _padded(entry.size, BLOCK)
    yield bytes(_padded(written + 2 * BLOCK, RECORD) - written)


async def content(entry: Entry) -> AsyncIterator[bytes]:
    """Exactly `entry.size` bytes of one file."""
    left = entry.size
    with closing(await asyncio.to_thread(entry.open)) as file:
        while left:
            chunk = await asyncio.to_thread(file.read, min(CHUNK, left))
            chunk = chunk or bytes(min(CHUNK, left))
            left -= len(chunk)
            yield chunk


def open_beneath(directory: int, name: str) -> BinaryIO:
    """Open a plain file of a directory without following a link. Raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    return os.fdopen(fd, "rb")


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
