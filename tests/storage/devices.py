"""Loop devices for tests of storage on block devices."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20


def _why_not() -> str:
    if os.geteuid() != 0:
        return "only root can set up loop devices and mounts"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    done = subprocess.run(["losetup", "-f"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "no loop device can be had here"


WHY_NOT = _why_not()
needs_loop_devices = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@contextmanager
def loop_device(image: Path, size: int = 256 * MIB) -> Iterator[Path]:
    """A block device of `size` bytes, gone at the end."""
    with image.open("wb") as file:
        file.truncate(size)
    command = ["losetup", "-f", "--show", image]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
