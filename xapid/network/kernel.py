"""Bridges of the Linux kernel, over netlink.

A bridge that we made carries `xapid:<owner>` as its alias. Its address is worked out from the owner
too, because a bridge is made with an address but is given its alias only a moment later.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from .driver import Bridge, NetworkFailure, NotABridge, is_name
from .netlink import ALIAS, IFF_UP, Gone, Netlink, owner_of, refusals


def address_of(owner: str) -> str:
    """The bridge's own address: locally administered, and the same for the same owner."""
    digest = bytearray(hashlib.sha256(f"xapid bridge {owner}".encode()).digest()[:6])
    digest[0] = (digest[0] & 0xFC) | 0x02
    return ":".join(f"{byte:02x}" for byte in digest)


class KernelBridges:
    """Implements `Bridges` in the network namespace of the thread that first uses it."""

    def __init__(self) -> None:
        self._netlink = Netlink()
        self._changing = asyncio.Lock()

    async def look(self, name: str) -> Bridge | None:
        link = await self._link(name)
        return None if link is None else _bridge(name, link)

    async def ensure(self, name: str, mtu: int, owner: str) -> Bridge:
        if not is_name(name):
            raise NetworkFailure(f"{name[:64]!r} is no name for a bridge")
        async with self._changing:
            link = await self._link(name)
            if link is None:
                await self._make(name, mtu, owner)
                link = await self._link(name)
            if link is None:
                raise NetworkFailure(f"{name} vanished while it was made")
            bridge = _bridge(name, link)
            if not _is_for(link, owner):
                return bridge
            await self._set_up(link, max(mtu, bridge.mtu), owner)
            made = await self._link(name)
        return bridge if made is None else _bridge(name, made)

    async def remove(self, name: str, owner: str) -> bool:
        async with self._changing:
            link = await self._link(name)
            if link is None:
                return True
            _bridge(name, link)
            if not _is_for(link, owner) or await self._ports(link["index"]):
                return False
            with refusals(f"{name} cannot be removed"), suppress(Gone):
                await self._netlink.link("del", index=link["index"])
        return True

    async def ports(self, name: str) -> frozenset[str]:
        link = await self._link(name)
        return frozenset() if link is None else await self._ports(link["index"])

    async def taken(self, name: str) -> bool:
        return await self._link(name) is not None

    async def close(self) -> None:
        self._netlink.close()

    async def _make(self, name: str, mtu: int, owner: str) -> None:
        with refusals(f"{name} cannot be made"):
            await self._netlink.link(
                "add",
                ifname=name,
                kind="bridge",
                address=address_of(owner),
                mtu=mtu,
                br_stp_state=0,
                br_forward_delay=0,
            )

    async def _set_up(self, link: Any, mtu: int, owner: str) -> None:
        name = link.get_attr("IFLA_IFNAME")
        _keep_host_out(name)
        with refusals(f"{name} cannot be brought up"):
            await self._netlink.link(
                "set", index=link["index"], ifalias=f"{ALIAS}{owner}", mtu=mtu, state="up"
            )

    async def _ports(self, index: int) -> frozenset[str]:
        with refusals("interfaces cannot be listed"):
            links = await self._netlink.link("dump", master=index)
            return frozenset([link.get_attr("IFLA_IFNAME") async for link in links])

    async def _link(self, name: str) -> Any:
        """One interface by name, None when there is none; never a list of all."""
        if not is_name(name):
            return None
        with refusals(f"{name} cannot be looked at"), suppress(Gone):
            return (await self._netlink.link("get", ifname=name))[0]
        return None


def _bridge(name: str, link: Any) -> Bridge:
    if link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") != "bridge":
        raise NotABridge(f"{name} is an interface and no bridge")
    owner = owner_of(link.get_attr("IFLA_IFALIAS") or "")
    return Bridge(name, link.get_attr("IFLA_MTU"), owner, up=bool(link["flags"] & IFF_UP))


def _is_for(link: Any, owner: str) -> bool:
    alias = link.get_attr("IFLA_IFALIAS")
    if alias:
        return bool(alias == f"{ALIAS}{owner}")
    return bool(link.get_attr("IFLA_ADDRESS") == address_of(owner))


def _keep_host_out(name: str) -> None:
    """A guests' bridge gives the host itself no IPv6 address; the name was checked before."""
    with suppress(OSError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
