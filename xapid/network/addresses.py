"""What can be done with the IPv4 addresses of this host's interfaces."""

# ruff: noqa: N818 (errors read as the complaint)

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .driver import NetworkError

MANAGEMENT_METRIC, OTHER_METRIC = 100, 200
"""Of the default route through the management interface, and through any other."""

LEASE_WITHIN_S: Final = 30.0


class NoLease(NetworkError):
    """No DHCP server answered in time, or there is no client for it."""


@dataclass(frozen=True)
class Address:
    """An IPv4 address with its netmask; gateway: "" for none."""

    ip: str
    netmask: str
    gateway: str = ""

    @property
    def prefix(self) -> int:
        return ipaddress.IPv4Network((0, self.netmask)).prefixlen


class Addresses(Protocol):
    """The addresses of one network namespace. Methods raise NetworkError."""

    async def look(self, name: str) -> Address | None:
        """The first address of an interface; None when it has none or is not there."""

    async def set_static(self, name: str, address: Address, metric: int) -> None:
        """Give the interface this address alone, and the default route of this metric."""

    async def start_dhcp(self, name: str, metric: int) -> None:
        """Have a DHCP client for the interface, kept alive; one that runs already goes on.

        metric: of the default route that it sets.
        Raises NoLease when none is installed.
        """

    async def leased(self, name: str, within_s: float = LEASE_WITHIN_S) -> Address:
        """Wait for the address that the interface's client gets. Raises NoLease.

        The client is kept although no answer came in time.
        """

    async def clear(self, name: str) -> None:
        """Take the interface's addresses, and end its DHCP client."""

    async def set_dns(self, name: str, servers: Sequence[str]) -> None:
        """Ask these name servers; none leaves those there are."""

    async def close(self) -> None:
        """Stop looking after DHCP clients, which go on."""
