"""What the host's network can do for guests: bridges that come and go with what is attached.

VLANs, bonds and addresses will be further Protocols beside this one.
"""

# ruff: noqa: N818 (errors read as the complaint)

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
"""What the kernel takes for an interface and what needs no quoting anywhere."""

MIN_MTU, MAX_MTU = 68, 65535


def is_name(name: str) -> bool:
    """Whether an interface may be called so."""
    return NAME.fullmatch(name) is not None


class NetworkError(Exception):
    """The network of this host could not do what it was asked for."""


class NotABridge(NetworkError):
    """There is an interface of that name which is no bridge."""


class NetworkFailure(NetworkError):
    """The kernel refused; the message says what."""


@dataclass(frozen=True)
class Bridge:
    """A bridge of this host. owner: for whom we made it; None for one that is not ours."""

    name: str
    mtu: int
    owner: str | None
    up: bool


class Bridges(Protocol):
    """The bridges of one network namespace. Methods raise NetworkError."""

    async def look(self, name: str) -> Bridge | None:
        """The bridge of that name, None when there is no interface of that name.

        Raises NotABridge.
        """

    async def ensure(self, name: str, mtu: int, owner: str) -> Bridge:
        """Have a bridge of that name that is up.

        One that is missing is made, for `owner` (a uuid). One of ours is brought up, and its MTU is
        raised to `mtu`. One that is not ours is adopted as it is, and never changed.
        Raises NotABridge, NetworkFailure.
        """

    async def remove(self, name: str, owner: str) -> bool:
        """Take a bridge down that we made for `owner`, unless something is plugged into it.

        Returns whether it is gone now; one of somebody else's stays.
        """

    async def ports(self, name: str) -> frozenset[str]:
        """The interfaces that are plugged into the bridge; none when it does not exist."""

    async def taken(self, name: str) -> bool:
        """Whether any interface has that name."""

    async def close(self) -> None:
        """Let go of the kernel; bridges stay as they are."""
