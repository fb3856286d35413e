"""Copying of disk images and block devices that leaves holes, and blocks of zeros, as holes."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator

from .blocking import Watch
from .writeback import Writeback

CHUNK = 16 << 20
DIRECT = 4 << 20
"""Bytes that are written to a device at once, and how soon a copy notices that it is to end."""
SECTOR = 4096
GRAIN = 64 << 10
ZEROS = bytes(GRAIN)
FICLONE = 0x40049409
CANNOT = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EBADF}
)
"""What kernels say when a faster way does not exist between these two files."""


def copy_image(watch: Watch, source: int, target: int, size: int) -> None:
    """Copy `size` bytes between open files or block devices.

    `target` holds nothing: it reads as zeros, for a file beyond its end. Shares the blocks where
    the file system can. Raises OSError, or Stop when told to end.
    """
    watch.report(0.0)
    if _reflink(source, target, size):
        watch.report(1.0)
        return
    if stat.S_ISREG(os.fstat(target).st_mode):
        os.ftruncate(target, size)
    in_kernel = True
    behind = Writeback(target)
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
            behind.wrote(at, copied)
            at += copied
            watch.report(at / size)
    watch.report(1.0)


def fill_device(watch: Watch, source_path: str, target_path: str, size: int) -> None:
    """Copy a raw disk onto a device that reads as zeros, and let it reach the disk.

    size: bytes of the device. Raises OSError, or Stop when told to end.
    """
    source = os.open(source_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(source, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        target = _open_direct(target_path)
        try:
            length = min(size, os.lseek(source, 0, os.SEEK_END))
            _copy_past_cache(watch, source, target, length)
            os.fsync(target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _open_direct(path: str) -> int:
    """Open a device for writing, past the page cache where that can be."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_EXCL
    try:
        return os.open(path, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags)


def _copy_past_cache(watch: Watch, source: int, target: int, size: int) -> None:
    """Copy onto a device that is open with O_DIRECT where that exists.

    What is written is then on the disk, so that a copy can end at any moment without waiting for
    what a cache holds.
    """
    watch.report(0.0)
    with mmap.mmap(-1, DIRECT) as buffer, memoryview(buffer) as view:
        for start, end in _data(source, size):
            at = start - start % SECTOR
            while at < end:
                count = os.preadv(source, [view[: min(DIRECT, end - at)]], at)
                if at + count < end:
                    count -= count % SECTOR
                if count == 0:
                    raise OSError(errno.EIO, "the source ended early")
                filled = -(-count // SECTOR) * SECTOR
                view[count:filled] = bytes(filled - count)
                for first, last in _not_zero(buffer[:filled]):
                    while first < last:
                        first += os.pwrite(target, view[first:last], at + first)
                at += count
                watch.report(min(1.0, at / size))
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
    """Copy the next bytes that are not zeros; the number that is done with."""
    block = os.pread(source, min(count, 1 << 20), at)
    view = memoryview(block)
    for start, end in _not_zero(block):
        while start < end:
            start += os.pwrite(target, view[start:end], at + start)
    return len(block)


def _not_zero(block: bytes) -> Iterator[tuple[int, int]]:
    """The ranges of a block, in whole grains, that hold something else than zeros."""
    begun = -1
    for at in range(0, len(block), GRAIN):
        if block.startswith(ZEROS[: len(block) - at], at):
            if begun >= 0:
                yield begun, at
            begun = -1
        elif begun < 0:
            begun = at
    if begun >= 0:
        yield begun, len(block)
