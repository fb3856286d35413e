"""A guest's disk for one reader without privileges: a device node that only its uid may open."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import Final

# linux/loop.h
LOOP_CTL_GET_FREE: Final = 0x4C82
LOOP_CONFIGURE: Final = 0x4C0A
LO_FLAGS_READ_ONLY: Final = 1
LO_FLAGS_AUTOCLEAR: Final = 4
LOOP_CONFIG: Final = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
_ATTEMPTS: Final = 50


def lend(disk: Path, node: Path, uid: int) -> int:
    """Make `node`, through which `uid` alone may read the disk; returns a descriptor to hold.

    disk: a block device, or a raw image, which gets a read-only loop device that goes by itself
    when the last one who has it open is gone, however that ends. The disk's own permissions stay
    as they are. Blocks. Raises OSError.
    """
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            loop = _loop_device(fd)
            os.close(fd)
            fd = loop
        facts = os.fstat(fd)
        if not stat.S_ISBLK(facts.st_mode):
            raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK))
        os.mknod(node, stat.S_IFBLK | 0o400, facts.st_rdev)
        os.chown(node, uid, uid)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _loop_device(image: int) -> int:
    """An open, read-only loop device on the open image."""
    config = LOOP_CONFIG.pack(
        *(image, 0),
        *(0, 0, 0, 0, 0),
        *(0, 0, 0, LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR),
        *(b"", b"", b"", 0, 0),
        *(0,) * 8,
    )
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            loop = os.open(f"/dev/loop{number}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(loop, LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # somebody else was quicker
                    raise
            else:
                return loop
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device was left for longer than it took to ask for it")
