"""How a volume group is divided: the sizes of its thin pool, and those that disks can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .driver import NoSpace

EXTENT: Final = 4 << 20
MAX_SIZE: Final = 1 << 60
MIB: Final = 1 << 20
SMALLEST: Final = 64 * MIB


@dataclass(frozen=True)
class PoolPlan:
    """How a group is laid out. size, metadata: bytes, whole extents; chunk: bytes."""

    size: int
    metadata: int
    chunk: int


def plan_pool(free: int) -> PoolPlan:
    """The largest pool in `free` bytes, with its metadata and as much again for their repair.

    A chunk that is shared costs 64 bytes of metadata each time it is; there is room for four.
    Chunks of 256 KiB are copied on a first write after a snapshot, and larger ones only where
    the metadata would pass LVM's limit of 16 GiB. Raises NoSpace.
    """
    chunk = 256 << 10
    while free // chunk * 256 > 15 << 30:
        chunk *= 2
    metadata = max(4 * MIB, -(-(free // chunk * 256) // EXTENT) * EXTENT)
    size = (free - 2 * metadata) // EXTENT * EXTENT
    if size < EXTENT:
        raise NoSpace(SMALLEST, free)
    return PoolPlan(size, metadata, chunk)


def plan_growth(free: int, chunk: int) -> tuple[int, int]:
    """How many bytes a pool's data and its metadata grow by in `free` bytes of its group.

    free: SMALLEST at least. What repairs the metadata grows with it.
    """
    metadata = -(-(free // chunk * 256) // EXTENT) * EXTENT
    return (free - 2 * metadata) // EXTENT * EXTENT, metadata


def aligned(size: int) -> int:
    """The size a disk gets: whole extents. Raises NoSpace for more than LVM can have."""
    if size > MAX_SIZE:
        raise NoSpace(size, MAX_SIZE)
    return -(-size // EXTENT) * EXTENT
