"""Addresses that exist in memory only, for hosts without Xen and for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .addresses import LEASE_WITHIN_S, Address, NoLease
from .links import NoSuchLink
from .memory import MemoryBridges

FIRST_LEASE = Address("192.0.2.100", "255.255.255.0", "192.0.2.1")


@dataclass
class MemoryAddresses:
    """Implements `Addresses` for the interfaces of `bridges`. lease: what a DHCP server gives."""

    bridges: MemoryBridges
    lease: Address | None = FIRST_LEASE
    addresses: dict[str, Address] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    clients: set[str] = field(default_factory=set)
    servers: tuple[str, ...] = ()
    changed: Callable[[str], None] = lambda name: None

    async def look(self, name: str) -> Address | None:
        return self.addresses.get(name) if await self.bridges.taken(name) else None

    async def set_static(self, name: str, address: Address, metric: int) -> None:
        await self._check(name)
        self.clients.discard(name)
        self.addresses[name] = address
        self.metrics[name] = metric
        self.changed(name)

    async def start_dhcp(self, name: str, metric: int) -> None:
        await self._check(name)
        if name not in self.clients:
            self.addresses.pop(name, None)
        self.clients.add(name)
        self.metrics[name] = metric
        if self.lease is not None:
            self.addresses[name] = self.lease
            self.changed(name)

    async def leased(self, name: str, within_s: float = LEASE_WITHIN_S) -> Address:
        if self.lease is None:
            raise NoLease(f"no DHCP server answered on {name} in {within_s:.0f} s")
        return self.lease

    async def clear(self, name: str) -> None:
        self.clients.discard(name)
        self.metrics.pop(name, None)
        if self.addresses.pop(name, None):
            self.changed(name)

    async def set_dns(self, name: str, servers: Sequence[str]) -> None:
        if servers:
            self.servers = tuple(servers)

    async def close(self) -> None:
        """Nothing is held."""

    async def _check(self, name: str) -> None:
        if not await self.bridges.taken(name):
            raise NoSuchLink(f"there is no interface {name!r}")
