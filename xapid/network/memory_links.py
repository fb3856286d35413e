"""Interfaces that exist in memory only, for hosts without Xen and for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from .driver import NetworkFailure, is_name
from .links import BondPlan, Counters, Hardware, Link, LinkKind, LinkTaken, NoSuchLink, vlan_name
from .memory import MemoryBridges


class MemoryLinks:
    """Implements `Links` beside `MemoryBridges`, whose ports it keeps."""

    def __init__(self, bridges: MemoryBridges, links: Iterable[Link] = ()) -> None:
        self.bridges = bridges
        self.links = {link.name: link for link in links}
        self.passed: dict[str, Counters] = {}
        self._listeners: list[Callable[[str], None]] = []
        bridges.others.update(self.links)

    def put(self, link: Link) -> None:
        """An interface comes, or changes, as by hardware or by the administrator."""
        self.links[link.name] = link
        self.bridges.others.add(link.name)
        self._tell(link.name)

    def drop(self, name: str) -> None:
        """An interface goes."""
        link = self.links.pop(name)
        self.bridges.others.discard(name)
        self.bridges.plugged.get(link.master, set()).discard(name)
        self._tell(name)

    async def all(self) -> list[Link]:
        kinds = (LinkKind.HARDWARE, LinkKind.BOND, LinkKind.VLAN)
        return [link for _, link in sorted(self.links.items()) if link.kind in kinds]

    async def look(self, name: str) -> Link | None:
        found = self.links.get(name)
        if found is None and name in self.bridges.bridges:
            bridge = self.bridges.bridges[name]
            return Link(name, LinkKind.OTHER, mtu=bridge.mtu, up=bridge.up, owner=bridge.owner)
        return found

    async def set_up(self, name: str, mtu: int | None = None) -> None:
        link = self._present(name)
        self._change(link, up=True, mtu=mtu or link.mtu)

    async def set_down(self, name: str) -> None:
        if name in self.links:
            self._change(self.links[name], up=False)

    async def join(self, name: str, bridge: str, *, give_address: bool) -> None:
        link = self._present(name)
        if link.master == bridge:
            return
        if link.master:
            raise LinkTaken(f"{name} is part of {link.master}")
        if bridge not in self.bridges.bridges:
            raise NoSuchLink(f"there is no interface {bridge!r}")
        self.bridges.plugged.setdefault(bridge, set()).add(name)
        self._change(link, master=bridge)

    async def leave(self, name: str) -> None:
        link = self.links.get(name)
        if link is None or not link.master:
            return
        self.bridges.plugged.get(link.master, set()).discard(name)
        if bond := self.links.get(link.master):
            self._change(bond, members=tuple(m for m in bond.members if m != name))
        self._change(link, master="")

    async def find_vlan(self, parent: str, tag: int) -> str:
        links = self.links.values()
        return next((v.name for v in links if (v.parent, v.tag) == (parent, tag)), "")

    async def ensure_vlan(self, parent: str, tag: int, owner: str) -> str:
        if found := await self.find_vlan(parent, tag):
            return found
        below, name = self._present(parent), vlan_name(parent, tag)
        if await self.bridges.taken(name):
            raise LinkTaken(f"{name} is there already and is not VLAN {tag} of {parent}")
        self.put(
            Link(
                name,
                LinkKind.VLAN,
                mac=below.mac,
                mtu=below.mtu,
                carrier=below.carrier,
                owner=owner,
                parent=parent,
                tag=tag,
            )
        )
        return name

    async def ensure_bond(self, name: str, plan: BondPlan, owner: str) -> None:
        bond = self.links.get(name)
        if not is_name(name):
            raise NetworkFailure(f"{name[:64]!r} is no name for an interface")
        if bond is not None and bond.kind is not LinkKind.BOND:
            raise LinkTaken(f"{name} is there already and is no bond")
        if bond is not None and bond.owner != owner:
            return
        members = [self._present(member) for member in plan.members]
        for member in members:
            if member.master not in ("", name):
                raise LinkTaken(f"{member.name} is part of {member.master}")
        for stray in set(bond.members if bond else ()) - set(plan.members):
            await self.leave(stray)
        for member in members:
            self._change(self.links[member.name], master=name, up=True)
        mac = bond.mac if bond else plan.mac or members[0].mac
        made = Link(name, LinkKind.BOND, mac, plan.mtu, True, owner=owner, mode=plan.mode)
        master = bond.master if bond else ""
        self.put(replace(made, members=tuple(sorted(plan.members)), master=master))
        self._work_out(name)

    async def remove(self, name: str, owner: str) -> bool:
        link = self.links.get(name)
        if link is None:
            return True
        if link.owner != owner:
            return False
        for member in link.members:
            self._change(self.links[member], master="", up=False)
        self.drop(name)
        return True

    async def counters(self, names: Collection[str]) -> dict[str, Counters]:
        return {name: self.passed[name] for name in names if name in self.passed}

    async def follow(self, changed: Callable[[str], None]) -> None:
        self._listeners.append(changed)
        try:
            changed("")
            await asyncio.get_running_loop().create_future()
        finally:
            self._listeners.remove(changed)

    async def close(self) -> None:
        """Nothing is held."""

    def _present(self, name: str) -> Link:
        if name not in self.links:
            raise NoSuchLink(f"there is no interface {name[:64]!r}")
        return self.links[name]

    def _change(self, link: Link, **values: object) -> None:
        self.put(replace(link, **values))  # type: ignore[arg-type]

    def _work_out(self, name: str) -> None:
        """A bond has a link as long as a member has one, and one of those is in use."""
        bond = self.links[name]
        alive = [m for m in bond.members if self.links[m].carrier and self.links[m].up]
        active = bond.active if bond.active in alive else (alive[0] if alive else "")
        changed = replace(bond, carrier=bool(alive), active=active)
        if changed != bond:
            self.put(changed)

    def _tell(self, name: str) -> None:
        link = self.links.get(name)
        if link is not None and link.master in self.links:
            self._work_out(link.master)
        for listener in self._listeners:
            listener(name)


def pretend_hardware(count: int = 4) -> list[Link]:
    """Interfaces for a host that has none: eth0 and so on, each with a link of 1 Gbit/s."""
    return [
        Link(
            f"eth{number}",
            LinkKind.HARDWARE,
            mac=f"02:00:5e:00:00:{number:02x}",
            carrier=True,
            speed=1000,
            full_duplex=True,
            hardware=Hardware("pretend", f"0000:00:{number + 3:02x}.0", device_name="pretended"),
        )
        for number in range(count)
    ]
