"""What every kind of `Links` keeps: in memory, and the kernel's in a namespace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from xapid.network.driver import Bridges
from xapid.network.kernel import KernelBridges
from xapid.network.kernel_links import KernelLinks
from xapid.network.links import BondPlan, Link, LinkKind, Links, LinkTaken, NoSuchLink, vlan_name
from xapid.network.memory import MemoryBridges
from xapid.network.memory_links import MemoryLinks, pretend_hardware
from xapid.network.sysfs import Sysfs

from .namespace import add_card, in_namespace, is_card, need, set_state

OURS, OTHERS = "5f5f9a1c-0000-4000-8000-000000000001", "5f5f9a1c-0000-4000-8000-000000000002"
PATIENCE_S = 5.0


class World(Protocol):
    """A host with the interfaces eth0 and eth1, whose cables can be pulled."""

    links: Links
    bridges: Bridges

    async def need(self, kind: str, **values: Any) -> None: ...
    async def cable(self, name: str, *, plugged: bool) -> None: ...
    async def add_vlan(self, name: str, parent: str, tag: int) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.bridges = MemoryBridges()
        self.links = MemoryLinks(self.bridges, pretend_hardware(2))

    async def need(self, kind: str, **values: Any) -> None:
        """Memory has everything."""

    async def cable(self, name: str, *, plugged: bool) -> None:
        self.links.put(replace(self.links.links[name], carrier=plugged))

    async def add_vlan(self, name: str, parent: str, tag: int) -> None:
        self.links.put(Link(name, LinkKind.VLAN, parent=parent, tag=tag))


class OnKernel:
    def __init__(self, netlink: Any) -> None:
        self.netlink = netlink
        self.bridges = KernelBridges()
        self.links = KernelLinks(Sysfs(is_hardware=is_card))

    async def need(self, kind: str, **values: Any) -> None:
        await need(self.netlink, kind, **values)

    async def cable(self, name: str, *, plugged: bool) -> None:
        await set_state(self.netlink, name.replace("eth", "far"), "up" if plugged else "down")

    async def add_vlan(self, name: str, parent: str, tag: int) -> None:
        index = (await self.netlink.link("get", ifname=parent))[0]["index"]
        await self.netlink.link("add", ifname=name, kind="vlan", link=index, vlan_id=tag)


Scenario = Callable[[Any], Awaitable[None]]
Play = Callable[[Scenario], None]


def play_in_memory(scenario: Scenario) -> None:
    async def main() -> None:
        await scenario(InMemory())

    asyncio.run(main())


def play_on_kernel(scenario: Scenario) -> None:
    async def main() -> None:
        from pyroute2 import AsyncIPRoute

        async with AsyncIPRoute() as netlink:
            await need(netlink, "bridge")
            world = OnKernel(netlink)
            for name in ("eth0", "eth1"):
                await add_card(netlink, name)
            try:
                await scenario(world)
            finally:
                await world.links.close()
                await world.bridges.close()

    in_namespace(main)


@pytest.fixture(params=[play_in_memory, play_on_kernel], ids=["memory", "kernel"])
def play(request: pytest.FixtureRequest) -> Play:
    return request.param


async def need_vlan(world: World) -> None:
    await world.need("vlan", link=await index_of_any(), vlan_id=1)


async def index_of_any() -> int:
    import socket

    return socket.if_nametoindex("lo")


async def comes(looks: Callable[[], Awaitable[bool]], changed: asyncio.Event) -> None:
    """Wait until it is so, looking again after each event."""
    async with asyncio.timeout(PATIENCE_S):
        while not await looks():
            await changed.wait()
            changed.clear()


def test_hardware_is_found(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.bridges.ensure("xapi0", 1500, OURS)

        found = await world.links.all()

        assert [link.name for link in found] == ["eth0", "eth1"]
        assert {link.kind for link in found} == {LinkKind.HARDWARE}
        assert all(len(link.mac) == 17 and link.mtu == 1500 and not link.up for link in found)
        assert await world.links.look("eth9") is None
        assert await world.links.look("../eth0") is None

    play(scenario)


def test_an_interface_goes_up_and_down(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.links.set_up("eth0", 1400)
        link = await world.links.look("eth0")
        assert link is not None and link.up and link.mtu == 1400

        await world.links.set_down("eth0")
        link = await world.links.look("eth0")
        assert link is not None and not link.up

        with pytest.raises(NoSuchLink):
            await world.links.set_up("eth9")
        await world.links.set_down("eth9")

    play(scenario)


def test_a_bridge_holds_its_uplink_until_it_leaves(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.bridges.ensure("xapi0", 1500, OURS)
        await world.bridges.ensure("xapi1", 1500, OTHERS)

        await world.links.join("eth0", "xapi0", give_address=True)
        await world.links.join("eth0", "xapi0", give_address=True)

        assert await world.bridges.ports("xapi0") == {"eth0"}
        assert not await world.bridges.remove("xapi0", OURS)
        with pytest.raises(LinkTaken):
            await world.links.join("eth0", "xapi1", give_address=False)
        await world.links.leave("eth0")
        await world.links.leave("eth0")
        assert await world.bridges.remove("xapi0", OURS)

    play(scenario)


def test_a_bridge_with_the_address_of_its_uplink_is_still_ours() -> None:
    async def scenario(world: OnKernel) -> None:
        await world.bridges.ensure("xapi0", 1500, OURS)
        await world.links.join("eth0", "xapi0", give_address=True)
        bridge, uplink = await world.links.look("xapi0"), await world.links.look("eth0")

        assert bridge is not None and uplink is not None and bridge.mac == uplink.mac
        assert (await world.bridges.ensure("xapi0", 1500, OURS)).owner == OURS

    play_on_kernel(scenario)


def test_changes_are_heard(play: Play) -> None:
    async def scenario(world: World) -> None:
        changed, names = asyncio.Event(), set()

        def listen(name: str) -> None:
            names.add(name)
            changed.set()

        async def carrier() -> bool:
            link = await world.links.look("eth0")
            return link is not None and link.carrier

        async def no_carrier() -> bool:
            return not await carrier()

        following = asyncio.create_task(world.links.follow(listen))
        await changed.wait()
        await world.links.set_up("eth0")
        await comes(carrier, changed)
        names.clear()

        await world.cable("eth0", plugged=False)
        await comes(no_carrier, changed)

        assert "eth0" in names
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    play(scenario)


def test_a_route_that_another_program_sets_is_heard() -> None:
    async def scenario() -> None:
        from pyroute2 import AsyncIPRoute

        heard: asyncio.Queue[str] = asyncio.Queue()
        async with AsyncIPRoute() as netlink:
            await need(netlink, "bridge")
            await add_card(netlink, "eth0")
            index = (await netlink.link("get", ifname="eth0"))[0]["index"]
            await netlink.link("set", index=index, state="up")
            await netlink.addr("add", index=index, address="10.1.0.5", prefixlen=24)
            links = KernelLinks(Sysfs(is_hardware=is_card))
            following = asyncio.create_task(links.follow(heard.put_nowait))
            assert await heard.get() == "", "what happened before"

            await netlink.route("add", dst="0.0.0.0/0", gateway="10.1.0.1", oif=index)

            async with asyncio.timeout(5):
                assert await heard.get() == "eth0"
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    in_namespace(scenario)


def test_what_passes_is_counted() -> None:
    async def scenario(world: OnKernel) -> None:
        found = await world.links.counters(["eth0", "eth9", "../eth1"])

        assert list(found) == ["eth0"]
        assert found["eth0"].at_ns > 0 and found["eth0"].sent >= 0

    play_on_kernel(scenario)


def test_a_vlan_is_made_and_removed(play: Play) -> None:
    async def scenario(world: World) -> None:
        await need_vlan(world)

        name = await world.links.ensure_vlan("eth0", 42, OURS)

        link = await world.links.look(name)
        assert link is not None
        assert (name, link.kind, link.parent, link.tag) == ("eth0.42", LinkKind.VLAN, "eth0", 42)
        assert link.owner == OURS
        assert await world.links.ensure_vlan("eth0", 42, OURS) == name
        assert not await world.links.remove(name, OTHERS)
        assert await world.links.remove(name, OURS)
        assert await world.links.look(name) is None
        assert await world.links.remove(name, OURS)
        with pytest.raises(NoSuchLink):
            await world.links.ensure_vlan("eth9", 42, OURS)

    play(scenario)


def test_a_vlan_of_the_administrator_is_adopted(play: Play) -> None:
    async def scenario(world: World) -> None:
        await need_vlan(world)
        await world.add_vlan("office", "eth1", 7)

        assert await world.links.ensure_vlan("eth1", 7, OURS) == "office"
        assert not await world.links.remove("office", OURS)
        assert [link.name for link in await world.links.all()] == ["eth0", "eth1", "office"]

    play(scenario)


def test_a_bond_is_made_of_its_members(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.need("bond")
        first = await world.links.look("eth0")
        assert first is not None
        plan = BondPlan(("eth0", "eth1"), "active-backup", mtu=1400)
        await world.links.set_up("eth1")

        await world.links.ensure_bond("bond0", plan, OURS)
        await world.links.ensure_bond("bond0", plan, OURS)

        bond = await world.links.look("bond0")
        assert bond is not None
        assert (bond.kind, bond.members, bond.mode) == (
            LinkKind.BOND,
            ("eth0", "eth1"),
            "active-backup",
        )
        assert (bond.mac, bond.mtu, bond.up, bond.owner) == (first.mac, 1400, True, OURS)
        members = [link for link in await world.links.all() if link.master == "bond0"]
        assert len({member.mac for member in members}) == 2
        with pytest.raises(LinkTaken):
            await world.links.join("eth0", "xapi0", give_address=False)
        assert not await world.links.remove("bond0", OTHERS)
        assert await world.links.remove("bond0", OURS)
        assert {link.master for link in await world.links.all()} == {""}

    play(scenario)


def test_a_bond_lives_as_long_as_a_member_has_a_link(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.need("bond")
        changed = asyncio.Event()
        following = asyncio.create_task(world.links.follow(lambda name: changed.set()))
        plan = BondPlan(("eth0", "eth1"), "active-backup")
        await world.links.ensure_bond("bond0", plan, OURS)

        def bond_is(carrier: bool, active: set[str]) -> Callable[[], Awaitable[bool]]:
            async def look() -> bool:
                bond = await world.links.look("bond0")
                return bond is not None and bond.carrier == carrier and bond.active in active

            return look

        await comes(bond_is(True, {"eth0", "eth1"}), changed)
        await world.cable("eth0", plugged=False)
        await comes(bond_is(True, {"eth1"}), changed)
        await world.cable("eth1", plugged=False)
        await comes(bond_is(False, {""}), changed)
        await world.cable("eth0", plugged=True)
        await comes(bond_is(True, {"eth0"}), changed)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    play(scenario)


def test_what_is_in_a_bridge_goes_into_no_bond(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.need("bond")
        await world.bridges.ensure("xapi0", 1500, OURS)
        await world.links.join("eth1", "xapi0", give_address=False)

        with pytest.raises(LinkTaken):
            plan = BondPlan(("eth0", "eth1"), "active-backup")
            await world.links.ensure_bond("bond0", plan, OURS)

    play(scenario)


@pytest.mark.parametrize(
    ("parent", "tag", "name"),
    [
        ("eth0", 0, "eth0.0"),
        ("eth0", 4094, "eth0.4094"),
        ("enp0s31f6np1d", 4094, "enp0s31f6n.4094"),
    ],
)
def test_the_name_of_a_vlan_fits(parent: str, tag: int, name: str) -> None:
    assert vlan_name(parent, tag) == name
    assert len(name) <= 15
