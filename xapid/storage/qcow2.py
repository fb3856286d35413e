"""What the header of a qcow2 image says, read without asking a program that might follow it.

Format: docs/interop/qcow2.txt of QEMU. An image that leans on anything else than a backing file
of the form that this storage makes is refused, so nothing that opens it later can be led away.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQIIQIIQQIIQ")  # to the offset of the internal snapshots
FEATURES = struct.Struct(">QQQII")  # what version 3 adds behind it
EXTENSION = struct.Struct(">II")
BACKING_FORMAT = 0xE2792ACA
KNOWN_FEATURES = 0b11011
"""Dirty, corrupt, compression type, extended L2; bit 2 would be data in another file."""
FIRST_BYTES = 65536
USUAL_BYTES = 4096
"""Where all that is wanted stands in an image that qemu made."""

MAX_L1_BYTES = 32 << 20


class NotOurs(Exception):  # noqa: N818
    """The file is no qcow2 image, or one that this storage did not make."""


@dataclass(frozen=True)
class Header:
    """virtual_size: bytes. backing: the name of the backing file; "" for none."""

    virtual_size: int
    cluster_size: int
    backing: str
    backing_format: str
    l1_offset: int
    l1_entries: int


def read_header(fd: int) -> Header:
    """Read the header of an open image. Raises NotOurs, OSError."""
    first = os.pread(fd, USUAL_BYTES, 0)
    if len(first) == USUAL_BYTES and first.startswith(MAGIC):
        _, _, backing_at, backing_size, *_ = HEADER.unpack_from(first)
        if backing_at + backing_size > USUAL_BYTES:
            first = os.pread(fd, FIRST_BYTES, 0)
    return parse_header(first)


def parse_header(first: bytes) -> Header:
    """The header in the first bytes of an image. Raises NotOurs."""
    if len(first) < HEADER.size or not first.startswith(MAGIC):
        raise NotOurs("it is no qcow2 image")
    (_, version, backing_at, backing_size, cluster_bits, size, crypt, l1_entries, l1_offset,
     _, _, _, _) = HEADER.unpack_from(first)  # fmt: skip
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        raise NotOurs(f"version {version} with clusters of 2^{cluster_bits} bytes")
    if crypt:
        raise NotOurs("it is encrypted")
    header_size = HEADER.size
    if version == 3:
        if len(first) < HEADER.size + FEATURES.size:
            raise NotOurs("it is cut short")
        features, _, _, _, header_size = FEATURES.unpack_from(first, HEADER.size)
        if features & ~KNOWN_FEATURES:
            raise NotOurs("it keeps its data elsewhere, or in a way that is not known")
    backing = backing_format = ""
    if backing_at:
        raw_name = first[backing_at : backing_at + backing_size]
        if len(raw_name) != backing_size or not 0 < backing_size <= 1023:
            raise NotOurs("the name of its backing file is damaged")
        backing = raw_name.decode("ascii", "replace")
        backing_format = _backing_format(first, header_size, backing_at)
    return Header(size, 1 << cluster_bits, backing, backing_format, l1_offset, l1_entries)


def _backing_format(first: bytes, at: int, end: int) -> str:
    while at + EXTENSION.size <= min(end, len(first)):
        kind, size = EXTENSION.unpack_from(first, at)
        if kind == 0:
            break
        at += EXTENSION.size
        if kind == BACKING_FORMAT:
            return first[at : at + size].decode("ascii", "replace")
        at += -(-size // 8) * 8
    return ""


def is_empty(fd: int, header: Header) -> bool:
    """Whether the image itself holds no data: all it shows is its backing file's. Raises OSError.

    An image whose first table is larger than any of ours counts as not empty.
    """
    size = header.l1_entries * 8
    if size > MAX_L1_BYTES:
        return False
    table = os.pread(fd, size, header.l1_offset)
    return len(table) == size and not any(table)
