"""What every kind of `Bridges` keeps: in memory, and the kernel's in a namespace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest

from xapid.network.driver import Bridge, Bridges, NetworkFailure, NotABridge, is_name
from xapid.network.kernel import KernelBridges, address_of
from xapid.network.memory import MemoryBridges

from .namespace import in_namespace, need

OURS, OTHERS = "5f5f9a1c-0000-4000-8000-000000000001", "5f5f9a1c-0000-4000-8000-000000000002"


class Administrator(Protocol):
    """Somebody else who works on the same host."""

    async def add_interface(self, name: str) -> None: ...
    async def add_bridge(self, name: str, mtu: int) -> None: ...
    async def plug(self, name: str, port: str) -> None: ...
    async def unplug(self, name: str, port: str) -> None: ...


class InMemory:
    def __init__(self, bridges: MemoryBridges) -> None:
        self.bridges = bridges

    async def add_interface(self, name: str) -> None:
        self.bridges.others.add(name)

    async def add_bridge(self, name: str, mtu: int) -> None:
        self.bridges.bridges[name] = Bridge(name, mtu, None, up=False)

    async def plug(self, name: str, port: str) -> None:
        self.bridges.plugged.setdefault(name, set()).add(port)

    async def unplug(self, name: str, port: str) -> None:
        self.bridges.plugged[name].discard(port)


class OnKernel:
    def __init__(self, netlink: Any) -> None:
        self.netlink = netlink

    async def _index(self, name: str) -> int:
        return int((await self.netlink.link("get", ifname=name))[0]["index"])

    async def add_interface(self, name: str) -> None:
        await self.netlink.link("add", ifname=name, kind="veth", peer=f"{name}-peer")

    async def add_bridge(self, name: str, mtu: int) -> None:
        await self.netlink.link("add", ifname=name, kind="bridge", mtu=mtu)

    async def plug(self, name: str, port: str) -> None:
        await self.add_interface(port)
        await self.netlink.link(
            "set", index=await self._index(port), master=await self._index(name)
        )

    async def unplug(self, name: str, port: str) -> None:
        await self.netlink.link("del", index=await self._index(port))


Scenario = Callable[[Bridges, Administrator], Awaitable[None]]
Play = Callable[[Scenario], None]


def play_in_memory(scenario: Scenario) -> None:
    bridges = MemoryBridges()
    asyncio.run(scenario(bridges, InMemory(bridges)))  # type: ignore[arg-type]


def play_on_kernel(scenario: Scenario) -> None:
    async def main() -> None:
        from pyroute2 import AsyncIPRoute

        bridges = KernelBridges()
        async with AsyncIPRoute() as netlink:
            await need(netlink, "bridge")
            try:
                await scenario(bridges, OnKernel(netlink))
            finally:
                await bridges.close()

    in_namespace(main)


@pytest.fixture(params=[play_in_memory, play_on_kernel], ids=["memory", "kernel"])
def play(request: pytest.FixtureRequest) -> Play:
    return request.param


def test_a_missing_bridge_is_made_for_its_owner(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        assert await bridges.look("xapi0") is None
        assert not await bridges.taken("xapi0")

        made = await bridges.ensure("xapi0", 1500, OURS)

        assert made == Bridge("xapi0", 1500, OURS, up=True)
        assert await bridges.look("xapi0") == made
        assert await bridges.taken("xapi0")
        assert await bridges.ports("xapi0") == frozenset()

    play(scenario)


def test_making_it_again_changes_only_what_must_change(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        await bridges.ensure("xapi0", 1500, OURS)

        assert (await bridges.ensure("xapi0", 9000, OURS)).mtu == 9000
        assert (await bridges.ensure("xapi0", 1400, OURS)).mtu == 9000

    play(scenario)


def test_a_bridge_of_somebody_else_is_adopted_and_never_changed(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        await administrator.add_bridge("br-lan", 1400)

        adopted = await bridges.ensure("br-lan", 9000, OURS)

        assert adopted == Bridge("br-lan", 1400, None, up=False)
        assert await bridges.look("br-lan") == adopted
        assert not await bridges.remove("br-lan", OURS)
        assert await bridges.taken("br-lan")

    play(scenario)


def test_a_bridge_of_another_owner_stays(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        await bridges.ensure("xapi0", 1500, OTHERS)

        assert not await bridges.remove("xapi0", OURS)
        assert (await bridges.ensure("xapi0", 9000, OURS)).mtu == 1500
        assert await bridges.remove("xapi0", OTHERS)

    play(scenario)


def test_a_bridge_goes_when_nothing_is_plugged_into_it(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        await bridges.ensure("xapi0", 1500, OURS)
        await administrator.plug("xapi0", "vif1.0")
        assert await bridges.ports("xapi0") == {"vif1.0"}
        assert not await bridges.remove("xapi0", OURS)

        await administrator.unplug("xapi0", "vif1.0")
        assert await bridges.remove("xapi0", OURS)
        assert await bridges.remove("xapi0", OURS)
        assert await bridges.look("xapi0") is None

    play(scenario)


def test_ports_are_those_of_one_bridge(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        await bridges.ensure("xapi0", 1500, OURS)
        await bridges.ensure("xapi1", 1500, OTHERS)
        await administrator.plug("xapi1", "vif2.0")

        assert await bridges.ports("xapi0") == frozenset()
        assert await bridges.ports("nothing") == frozenset()

    play(scenario)


def test_an_interface_that_is_no_bridge_is_left_alone(play: Play) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        await administrator.add_interface("eth7")

        assert await bridges.taken("eth7")
        for attempt in (
            bridges.look("eth7"),
            bridges.ensure("eth7", 1500, OURS),
            bridges.remove("eth7", OURS),
        ):
            with pytest.raises(NotABridge):
                await attempt

    play(scenario)


@pytest.mark.parametrize("name", ["", "a" * 16, "../x", "a b", "a/b", "-x", "\N{SNOWMAN}"])
def test_what_is_no_name_makes_no_bridge(play: Play, name: str) -> None:
    async def scenario(bridges: Bridges, administrator: Administrator) -> None:
        assert not is_name(name)
        with pytest.raises(NetworkFailure):
            await bridges.ensure(name, 1500, OURS)
        assert not await bridges.taken(name)

    play(scenario)


def test_the_address_of_a_bridge_is_local_and_stable() -> None:
    first = int(address_of(OURS)[:2], 16)

    assert first & 3 == 2
    assert address_of(OURS) == address_of(OURS) != address_of(OTHERS)


def test_a_bridge_whose_making_was_cut_short_is_still_ours() -> None:
    async def scenario(bridges: Bridges, administrator: Any) -> None:
        await administrator.netlink.link(
            "add", ifname="xapi0", kind="bridge", address=address_of(OURS)
        )

        assert await bridges.ensure("xapi0", 1500, OURS) == Bridge("xapi0", 1500, OURS, up=True)

    play_on_kernel(scenario)


def test_the_host_has_no_address_on_a_bridge_of_guests() -> None:
    async def scenario(bridges: Bridges, administrator: Any) -> None:
        await bridges.ensure("xapi0", 1500, OURS)
        link = (await administrator.netlink.link("get", ifname="xapi0"))[0]

        addresses = await administrator.netlink.addr("dump", index=link["index"])
        assert [address async for address in addresses] == []

    play_on_kernel(scenario)
