"""Loop devices on an image, found through what the kernel says they are on."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# linux/loop.h
LOOP_GET_STATUS64: Final = 0x4C05
LOOP_SET_CAPACITY: Final = 0x4C07
STATUS: Final = struct.Struct("=5Q 4I 64s 64s 32s 2Q")
NAME: Final = re.compile(r"loop[0-9]{1,7}")
SYS: Final = Path("/sys/block")


def loops_on(image: int) -> list[Path]:
    """The loop devices on an open image. Blocks. Raises OSError."""
    facts = os.fstat(image)
    bound = (each for each in SYS.iterdir() if NAME.fullmatch(each.name))
    devices = [Path("/dev") / each.name for each in bound if (each / "loop").exists()]
    return [device for device in devices if _is_on(device, facts)]


def _is_on(device: Path, image: os.stat_result) -> bool:
    with suppress(OSError), _opened(device) as fd:  # it may go at any moment
        told = fcntl.ioctl(fd, LOOP_GET_STATUS64, bytes(STATUS.size))
        on_device, inode, *_ = STATUS.unpack(told)
        return bool(on_device == image.st_dev and inode == image.st_ino)
    return False


def take_over_size(device: Path) -> None:
    """Let a loop device have the size of its image; blkback tells the guest. Blocks."""
    with _opened(device) as fd:
        fcntl.ioctl(fd, LOOP_SET_CAPACITY)


@contextmanager
def _opened(device: Path) -> Iterator[int]:
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)
