"""What tests do to qcow2 images from outside, with QEMU's own tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20

needs_qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed (Debian: qemu-utils)"
)


def fill(image: Path, pattern: int, at: int = 0, size: int = MIB) -> None:
    """Write `size` bytes of one value as a guest would."""
    command = f"write -P {pattern} {at} {size}"
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, "-c", "flush", image],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def shows(image: Path, pattern: int, at: int = 0, size: int = MIB) -> bool:
    """Whether a guest would read one value there."""
    command = ["qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {pattern} {at} {size}", image]
    done = subprocess.run(command, capture_output=True, text=True)
    differs = "Pattern verification failed" in done.stdout
    if not differs:
        done.check_returncode()
    return not differs


def info(image: Path) -> dict[str, Any]:
    command = ["qemu-img", "info", "--output=json", "-f", "qcow2", image]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return found


def flaws(image: Path) -> int:
    """How many errors and leaked clusters `qemu-img check` finds."""
    command = ["qemu-img", "check", "--output=json", "-f", "qcow2", image]
    found = json.loads(subprocess.run(command, capture_output=True).stdout)
    return int(found.get("corruptions", 0)) + int(found["check-errors"])
