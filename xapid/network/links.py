"""What the host's interfaces are and what can be done with them: hardware, VLANs and bonds."""

# ruff: noqa: N818 (errors read as the complaint)

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from .driver import NetworkError

MAX_TAG = 4094


class LinkKind(enum.Enum):
    """What an interface is made of."""

    HARDWARE = "hardware"
    BOND = "bond"
    VLAN = "vlan"
    OTHER = "other"


class NoSuchLink(NetworkError):
    """There is no interface of that name."""


class LinkTaken(NetworkError):
    """The interface is somebody else's, or part of something else."""


@dataclass(frozen=True)
class Hardware:
    """The device behind an interface; what is not known is empty."""

    driver: str = ""
    bus_path: str = ""
    vendor_id: str = ""
    vendor_name: str = ""
    device_id: str = ""
    device_name: str = ""


@dataclass(frozen=True)
class Link:
    """One interface of the host as it is now.

    mac: its own address, also while it is in a bond. speed: in megabits a second, 0 when it is not
    known. master: the bridge or bond that it is in, "" for none. owner: for whom we made it, None
    for one that is not ours. parent, tag: of a VLAN. members, active: of a bond.
    """

    name: str
    kind: LinkKind
    mac: str = ""
    mtu: int = 1500
    up: bool = False
    carrier: bool = False
    speed: int = 0
    full_duplex: bool = False
    master: str = ""
    owner: str | None = None
    parent: str = ""
    tag: int = -1
    members: tuple[str, ...] = ()
    active: str = ""
    mode: str = ""
    hardware: Hardware = field(default_factory=Hardware)


@dataclass(frozen=True)
class BondPlan:
    """A bond to be made. mode: the kernel's name of it. mac: "" takes the first member's."""

    members: tuple[str, ...]
    mode: str
    mac: str = ""
    mtu: int = 1500
    check_every_ms: int = 100


@dataclass(frozen=True)
class Counters:
    """Bytes that passed through an interface; at_ns: when, on the monotonic clock."""

    at_ns: int
    received: int
    sent: int


class Links(Protocol):
    """The interfaces of one network namespace. Methods raise NetworkError."""

    async def all(self) -> list[Link]:
        """The hardware interfaces, bonds and VLANs; nothing that belongs to a guest."""

    async def look(self, name: str) -> Link | None:
        """One interface; None when there is none of that name."""

    async def set_up(self, name: str, mtu: int | None = None) -> None:
        """Bring an interface up, with an MTU if one is given. Raises NoSuchLink."""

    async def set_down(self, name: str) -> None:
        """Take an interface down; one that is gone is down. It stays in what it is in."""

    async def join(self, name: str, bridge: str, *, give_address: bool) -> None:
        """Plug an interface into a bridge, which takes its MAC address if `give_address`.

        Raises NoSuchLink; LinkTaken when it is in another bridge or in a bond.
        """

    async def leave(self, name: str) -> None:
        """Take an interface out of the bridge or bond it is in; one that is gone is out."""

    async def find_vlan(self, parent: str, tag: int) -> str:
        """The interface of a VLAN, whoever made it; "" when there is none."""

    async def ensure_vlan(self, parent: str, tag: int, owner: str) -> str:
        """Have a VLAN on an interface: its name. One that is there is adopted as it is.

        Raises NoSuchLink.
        """

    async def ensure_bond(self, name: str, plan: BondPlan, owner: str) -> None:
        """Have a bond of that name with exactly these members, made for `owner`.

        One that is not ours is adopted as it is. A member that is up is taken down for it.
        Raises NoSuchLink; LinkTaken when a member is in something else.
        """

    async def remove(self, name: str, owner: str) -> bool:
        """Remove a VLAN or bond that we made for `owner`; its members stay and are down.

        Returns whether it is gone now; one of somebody else's stays.
        """

    async def counters(self, names: Collection[str]) -> dict[str, Counters]:
        """What passed through these interfaces; those that are gone are left out."""

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Tell, until cancelled, whose state, address or route changes; "" for any interface."""

    async def close(self) -> None:
        """Let go of the kernel; interfaces stay as they are."""


def vlan_name(parent: str, tag: int) -> str:
    """What the VLAN's interface is called, where the usual name is short enough for the kernel."""
    name = f"{parent}.{tag}"
    return name if len(name) <= 15 else f"{parent[: 14 - len(str(tag))]}.{tag}"
