"""Bridges that exist in memory only, for hosts without Xen and for tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .driver import Bridge, NetworkFailure, NotABridge, is_name


@dataclass
class MemoryBridges:
    """Implements `Bridges`. others: interfaces that are no bridges, by name."""

    others: set[str] = field(default_factory=set)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    plugged: dict[str, set[str]] = field(default_factory=dict)

    async def look(self, name: str) -> Bridge | None:
        if name in self.others:
            raise NotABridge(f"{name} is an interface and no bridge")
        return self.bridges.get(name)

    async def ensure(self, name: str, mtu: int, owner: str) -> Bridge:
        if not is_name(name):
            raise NetworkFailure(f"{name[:64]!r} is no name for a bridge")
        bridge = await self.look(name)
        if bridge is None:
            bridge = Bridge(name, mtu, owner, up=True)
        elif bridge.owner == owner:
            bridge = replace(bridge, up=True, mtu=max(mtu, bridge.mtu))
        self.bridges[name] = bridge
        return bridge

    async def remove(self, name: str, owner: str) -> bool:
        bridge = await self.look(name)
        if bridge is None:
            return True
        if bridge.owner != owner or self.plugged.get(name):
            return False
        del self.bridges[name]
        return True

    async def ports(self, name: str) -> frozenset[str]:
        return frozenset(self.plugged.get(name, ()))

    async def taken(self, name: str) -> bool:
        return name in self.others or name in self.bridges

    async def close(self) -> None:
        """Nothing is held."""
