"""Letting a file that is being written reach the disk close behind its writer.

What a cache still holds is then little, so that a long copy can end at any moment, and at its end,
without waiting for all of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections import deque
from typing import Final

WINDOW: Final = 64 << 20
"""Bytes that may be on their way."""
# linux/fs.h
WAIT_BEFORE: Final = 1
WRITE: Final = 2
WAIT_AFTER: Final = 4
CANNOT: Final = frozenset({errno.ESPIPE, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Writeback:
    """For one open file, by the thread that writes it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._under_way: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def wrote(self, at: int, count: int) -> None:
        """Begin to write a range out, and wait for one that was begun long ago. Raises OSError."""
        self._sync(at, count, WRITE)
        self._under_way.append((at, count))
        self._bytes += count
        while self._bytes > WINDOW and len(self._under_way) > 1:
            at, count = self._under_way.popleft()
            self._bytes -= count
            self._sync(at, count, WAIT_BEFORE | WRITE | WAIT_AFTER)

    def _sync(self, at: int, count: int, how: int) -> None:
        if _libc.sync_file_range(self._fd, at, count, how) == 0:
            return
        number = ctypes.get_errno()
        if number not in CANNOT:
            raise OSError(number, os.strerror(number))
