"""Interfaces of the Linux kernel: looked at in /sys, changed and followed over netlink."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from ..programs import ProgramMissing, ProgramTookTooLong, run
from .driver import NetworkFailure, is_name
from .links import BondPlan, Counters, Link, LinkKind, LinkTaken, NoSuchLink, vlan_name
from .netlink import ALIAS, Gone, Netlink, refusals
from .sysfs import Sysfs

log = structlog.get_logger(__name__)

BOND_MODES: Final = {
    "balance-rr": 0,
    "active-backup": 1,
    "balance-xor": 2,
    "broadcast": 3,
    "802.3ad": 4,
    "balance-tlb": 5,
    "balance-alb": 6,
}
LAYER_2_3: Final = 2
"""Of a bond that hashes: by the MAC and IP addresses of what leaves."""

BONDING: Final = Path("/sys/class/net/bonding_masters")
LOAD_WITHIN_S: Final = 30.0

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40
EVENT_BUFFER: Final = 4 << 20  # bytes


class KernelLinks:
    """Implements `Links` in the network namespace of the thread that first uses it."""

    def __init__(self, sysfs: Sysfs | None = None) -> None:
        self._sysfs = sysfs or Sysfs()
        self._netlink = Netlink()

    async def all(self) -> list[Link]:
        return await asyncio.to_thread(self._sysfs.links)

    async def look(self, name: str) -> Link | None:
        return await asyncio.to_thread(self._sysfs.link, name)

    async def set_up(self, name: str, mtu: int | None = None) -> None:
        size = {} if mtu is None else {"mtu": mtu}
        await self._set(name, "cannot be brought up", state="up", **size)

    async def set_down(self, name: str) -> None:
        with suppress(NoSuchLink):
            await self._set(name, "cannot be taken down", state="down")

    async def join(self, name: str, bridge: str, *, give_address: bool) -> None:
        link = await self._present(name)
        if link.master == bridge:
            return
        if link.master:
            raise LinkTaken(f"{name} is part of {link.master}")
        index = await self._index(bridge)
        await self._set(name, f"cannot be plugged into {bridge}", master=index)
        if give_address:
            await self._set(bridge, "cannot take the address of its uplink", address=link.mac)

    async def leave(self, name: str) -> None:
        link = await self.look(name)
        if link is not None and link.master:
            with suppress(NoSuchLink):
                await self._set(name, f"cannot be taken out of {link.master}", master=0)

    async def find_vlan(self, parent: str, tag: int) -> str:
        links = await self.all()
        return next((v.name for v in links if (v.parent, v.tag) == (parent, tag)), "")

    async def ensure_vlan(self, parent: str, tag: int, owner: str) -> str:
        if found := await self.find_vlan(parent, tag):
            return found
        name = vlan_name(parent, tag)
        if await self.look(name) is not None:
            raise LinkTaken(f"{name} is there already and is not VLAN {tag} of {parent}")
        index = await self._index(parent)
        await self._add(
            f"VLAN {tag} of {parent}", ifname=name, kind="vlan", link=index, vlan_id=tag
        )
        await self._set(name, "cannot be marked", ifalias=f"{ALIAS}{owner}")
        return name

    async def ensure_bond(self, name: str, plan: BondPlan, owner: str) -> None:
        bond = await self.look(name)
        if bond is not None and bond.kind is not LinkKind.BOND:
            raise LinkTaken(f"{name} is there already and is no bond")
        if bond is None:
            bond = await self._make_bond(name, plan, owner)
        if bond.owner != owner:
            return
        members = [await self._present(member) for member in plan.members]
        for member in members:
            if member.master not in ("", name):
                raise LinkTaken(f"{member.name} is part of {member.master}")
        for stray in set(bond.members) - set(plan.members):
            await self.leave(stray)
        index = await self._index(name)
        for member in members:
            if not member.master:
                await self.set_down(member.name)  # the kernel takes in only what is down
                await self._set(member.name, f"cannot be taken into {name}", master=index)
        await self.set_up(name, plan.mtu)

    async def _make_bond(self, name: str, plan: BondPlan, owner: str) -> Link:
        await _load_bonding()
        first = await self._present(plan.members[0])
        values: dict[str, Any] = {
            "bond_mode": BOND_MODES[plan.mode],
            "bond_miimon": plan.check_every_ms,
        }
        if plan.mode in ("802.3ad", "balance-xor"):
            values["bond_xmit_hash_policy"] = LAYER_2_3
        await self._add(
            f"bond {name}", ifname=name, kind="bond", address=plan.mac or first.mac, **values
        )
        await self._set(name, "cannot be marked", ifalias=f"{ALIAS}{owner}")
        return await self._present(name)

    async def remove(self, name: str, owner: str) -> bool:
        link = await self.look(name)
        if link is None:
            return True
        if link.owner != owner:
            return False
        with refusals(f"{name} cannot be removed"), suppress(Gone):
            await self._netlink.link("del", index=await self._index(name))
        return True

    async def counters(self, names: Collection[str]) -> dict[str, Counters]:
        return await asyncio.to_thread(self._sysfs.counters, names)

    async def follow(self, changed: Callable[[str], None]) -> None:
        from pyroute2 import AsyncIPRoute  # type: ignore[import-untyped]

        async with AsyncIPRoute(rcvbuf=EVENT_BUFFER) as events:
            await events.bind(groups=RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE)
            changed("")  # what happened before we listened
            while True:
                try:
                    async for message in events.get():
                        changed(_name_in(message))
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    log.warning("events of the network were lost; looking at all of it")
                    changed("")

    async def close(self) -> None:
        self._netlink.close()

    async def _present(self, name: str) -> Link:
        link = await self.look(name)
        if link is None:
            raise NoSuchLink(f"there is no interface {name[:64]!r}")
        return link

    async def _index(self, name: str) -> int:
        try:
            return socket.if_nametoindex(name)
        except OSError as error:
            raise NoSuchLink(f"there is no interface {name[:64]!r}") from error

    async def _add(self, what: str, **values: Any) -> None:
        if not is_name(values["ifname"]):
            raise NetworkFailure(f"{values['ifname']!r} is no name for an interface")
        with refusals(f"{what} cannot be made"):
            try:
                await self._netlink.link("add", **values)
            except Gone as error:
                raise NoSuchLink(f"what {what} is on went away") from error

    async def _set(self, name: str, refused: str, **values: Any) -> None:
        with refusals(f"{name} {refused}"):
            try:
                await self._netlink.link("set", index=await self._index(name), **values)
            except Gone as error:
                raise NoSuchLink(f"{name} went away") from error


async def _load_bonding() -> None:
    """Have the kernel's module for bonds, which makes a bond0 of its own unless told not to."""
    if BONDING.exists():
        return
    with suppress(ProgramMissing, ProgramTookTooLong):
        await run(("modprobe", "bonding", "max_bonds=0"), deadline_s=LOAD_WITHIN_S)


def _name_in(message: Any) -> str:
    """The interface that an event is about."""
    name = message.get_attr("IFLA_IFNAME") or message.get_attr("IFA_LABEL")
    if name:
        return str(name)
    try:
        return socket.if_indextoname(message.get_attr("RTA_OIF") or message.get("index", 0))
    except OSError:
        return ""
