"""Copying of disk images that leaves holes as holes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from .blocking import Watch

CHUNK = 16 << 20
FICLONE = 0x40049409
CANNOT = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EBADF}
)
"""What kernels say when a faster way does not exist between these two files."""


def copy_image(watch: Watch, source: int, target: int, size: int) -> None:
    """Copy `size` bytes between open files; `target` is empty and reads as zeros beyond its end.

    Shares the blocks where the file system can. Raises OSError, or Stop when told to end.
    """
    watch.report(0.0)
    if _reflink(source, target, size):
        watch.report(1.0)
        return
    os.ftruncate(target, size)
    in_kernel = True
    for start, end in _data(source, size):
        at = start
        while at < end:
            count = min(CHUNK, end - at)
            if in_kernel:
                copied = _copy_range(source, target, at, count)
                in_kernel = copied > 0
            if not in_kernel:
                copied = _copy_bytes(source, target, at, count)
            if copied == 0:
                raise OSError(errno.EIO, "the source ended early")
            at += copied
            watch.report(at / size)
    watch.report(1.0)


def _reflink(source: int, target: int, size: int) -> bool:
    if not stat.S_ISREG(os.fstat(source).st_mode) or os.fstat(source).st_size != size:
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in CANNOT:
            return False
        raise
    return True


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that may hold something else than zeros."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno in CANNOT:
                yield at, size
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end
        at = end


def _copy_range(source: int, target: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count, at, at)
    except OSError as error:
        if error.errno in CANNOT:
            return 0
        raise


def _copy_bytes(source: int, target: int, at: int, count: int) -> int:
    block = memoryview(os.pread(source, min(count, 1 << 20), at))
    done = 0
    while done < len(block):
        done += os.pwrite(target, block[done:], at + done)
    return done
