"""The wire protocol of xenstored: message types, headers, limits, paths, permissions, errors."""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .errors import XenError

MAX_PAYLOAD = 4096
"""Bytes after a header of ours; whoever sends more is cut off."""

MAX_ANSWER = 64 << 10
"""Bytes of an answer worth keeping: oxenstored lists directories of any size in one message."""

MOST_ANSWER = 64 << 20
MAX_PATH = 3072
SEPARATOR = b"\0"
HEADER = struct.Struct("<4I")  # type, request id, transaction id, length; in native byte order

_PATH = re.compile(r"@[A-Za-z]+|/|(/[A-Za-z0-9_@-]+)+")


class Op(enum.IntEnum):
    """What a message asks for, or is."""

    DIRECTORY = 1
    READ = 2
    GET_PERMS = 3
    WATCH = 4
    UNWATCH = 5
    TRANSACTION_START = 6
    TRANSACTION_END = 7
    WRITE = 11
    MKDIR = 12
    RM = 13
    SET_PERMS = 14
    WATCH_EVENT = 15
    ERROR = 16


class XenstoreError(XenError):
    """xenstored refused; `name` is its error code, such as ENOENT."""

    def __init__(self, what: str, code: str) -> None:
        super().__init__(f"xenstore: {what}", 0, code)


class XenstoreNotFound(XenstoreError):  # noqa: N818
    """There is no such node."""


class XenstoreConflict(XenstoreError):  # noqa: N818
    """Somebody else changed what the transaction touched."""


class XenstoreUnavailable(XenstoreError):  # noqa: N818
    """xenstored is not there, or left while it was asked; what it did is not known."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "XENSTORE_UNAVAILABLE")


class XenstoreProtocolError(Exception):
    """The other side sent what is no message of this protocol."""


_CLASSES: dict[str, type[XenstoreError]] = {"ENOENT": XenstoreNotFound, "EAGAIN": XenstoreConflict}


def error_for(what: str, payload: bytes) -> XenstoreError:
    """Make the exception for the payload of an ERROR."""
    code = payload.rstrip(SEPARATOR).decode("ascii", "replace")
    return _CLASSES.get(code, XenstoreError)(what, code)


@dataclass(frozen=True, slots=True)
class Permissions:
    """Who may do what with a node: its owner may all, `others` what is not said in `grants`.

    n: nothing, r: read, w: write, b: both.
    """

    owner: int
    others: Literal["n", "r", "w", "b"] = "n"
    grants: tuple[tuple[int, Literal["n", "r", "w", "b"]], ...] = ()

    def encode(self) -> bytes:
        entries = [(self.owner, self.others), *self.grants]
        return b"".join(f"{kind}{domid}".encode() + SEPARATOR for domid, kind in entries)

    @classmethod
    def decode(cls, payload: bytes) -> Permissions:
        """Raises XenstoreProtocolError."""
        try:
            entries = [(int(text[1:]), text[:1].decode()) for text in parts(payload)]
            (owner, others), *grants = entries
        except ValueError:
            raise XenstoreProtocolError(f"no permissions: {payload[:64]!r}") from None
        if not {kind for _, kind in entries} <= set("nrwb"):
            raise XenstoreProtocolError(f"no permissions: {payload[:64]!r}")
        return cls(owner, others, tuple(grants))  # type: ignore[arg-type]


def is_path(path: str) -> bool:
    """Whether `path` is one that every xenstored takes: absolute, plain, short enough."""
    return len(path) <= MAX_PATH and _PATH.fullmatch(path) is not None


def path_bytes(path: str) -> bytes:
    """A path with its end mark; raises XenstoreError EINVAL for what is none."""
    if not is_path(path):
        raise XenstoreError(f"no path: {path[:64]!r}", "EINVAL")
    return path.encode() + SEPARATOR


def message(kind: int, request: int, transaction: int, payload: bytes) -> bytes:
    """One message. Raises XenstoreError E2BIG: xenstored would cut us off."""
    if len(payload) > MAX_PAYLOAD:
        raise XenstoreError(f"a message of {len(payload)} bytes", "E2BIG")
    return HEADER.pack(kind, request, transaction, len(payload)) + payload


def parts(payload: bytes) -> list[bytes]:
    """The strings of a payload, each ended by a zero byte."""
    return payload.rstrip(SEPARATOR).split(SEPARATOR) if payload.rstrip(SEPARATOR) else []


def joined(strings: Iterable[bytes]) -> bytes:
    """Strings as a payload, each with its end mark."""
    return b"".join(string + SEPARATOR for string in strings)
