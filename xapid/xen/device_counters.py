"""What the kernel counts of the guests' disks and network interfaces, and how it names them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
DEVICE = re.compile(r"(xvd|hd|sd)([a-z]{1,2})")
VBD = re.compile(r"vbd-([0-9]{1,10})-([0-9]{1,10})")
VIF = re.compile(r"\s*vif([0-9]{1,10})\.([0-9]{1,10})(?:-emu)?:\s*(.*)")
IN_BYTES, OUT_BYTES = 0, 8  # columns of /proc/net/dev

Device = tuple[int, int]
"""A device of a guest: its domid and the device's number."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes that a guest took in (read, received) and gave out (wrote, sent) since the start."""

    in_bytes: int
    out_bytes: int


@dataclass(frozen=True, slots=True)
class DeviceCounters:
    """The counters at one moment of the monotonic clock."""

    at_ns: int
    disks: Mapping[Device, Moved]
    nics: Mapping[Device, Moved]


def read_counters(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> DeviceCounters:
    """Read all counters; it blocks, so call it in a thread.

    Disks that qemu serves have no counters in the kernel and are left out.
    """
    return DeviceCounters(time.monotonic_ns(), dict(_disks(sys)), _nics(proc))


def _disks(sys: Path) -> Iterator[tuple[Device, Moved]]:
    devices = str(sys / "bus" / "xen-backend" / "devices")
    try:
        names = os.listdir(devices)  # noqa: PTH208 - thousands of names, each needed as text only
    except OSError:
        return
    for name in names:
        if match := VBD.fullmatch(name):
            with suppress(OSError, ValueError):  # it may go while we look
                statistics = f"{devices}/{name}/statistics"
                read = _number(f"{statistics}/rd_sect")
                written = _number(f"{statistics}/wr_sect")
                yield (int(match[1]), int(match[2])), Moved(read * SECTOR, written * SECTOR)


def _number(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 64))
    finally:
        os.close(descriptor)


def _nics(proc: Path) -> dict[Device, Moved]:
    """What the bridge's end of a guest's interface receives, the guest has sent.

    The interface that qemu emulates for a guest without drivers counts as the same one.
    """
    try:
        lines = (proc / "net" / "dev").read_text().splitlines()
    except OSError:
        return {}
    nics: dict[Device, Moved] = {}
    for line in lines:
        if match := VIF.fullmatch(line):
            columns = match[3].split()
            device = int(match[1]), int(match[2])
            before = nics.get(device, Moved(0, 0))
            nics[device] = Moved(
                before.in_bytes + int(columns[OUT_BYTES]), before.out_bytes + int(columns[IN_BYTES])
            )
    return nics


def disk_number(device: str) -> int | None:
    """The number of a disk that guests call `device`, such as xvda; None for no such name."""
    match = DEVICE.fullmatch(device)
    if match is None:
        return None
    index = 0
    for letter in match[2]:
        index = index * 26 + ord(letter) - ord("a") + 1
    index -= 1
    if match[1] == "xvd":
        return 202 << 8 | index << 4 if index < 16 else 1 << 28 | index << 8
    if match[1] == "sd":
        return 8 << 8 | index << 4 if index < 16 else None
    return (3, 22)[index // 2] << 8 | (index % 2) << 6 if index < 4 else None
