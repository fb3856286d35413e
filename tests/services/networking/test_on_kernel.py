"""Interfaces on the kernel's own network, in a namespace of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from xapid.datamodel.enums import BondMode, IpConfigurationMode, VmPowerState
from xapid.datamodel.pif import PIF
from xapid.network.addresses import Address
from xapid.network.kernel import KernelBridges
from xapid.network.kernel_addresses import KernelAddresses
from xapid.network.kernel_links import KernelLinks
from xapid.network.memory import MemoryBridges
from xapid.network.sysfs import Sysfs

from ...network.namespace import add_card, in_namespace, is_card, need, set_state
from .world import Caller, World, opened

STATIC = IpConfigurationMode.STATIC
ADDRESS = Address("10.1.0.5", "255.255.255.0", "10.1.0.1")
PATIENCE_S = 5.0


def play(tmp_path: Path, scenario: Callable[[World, Any], Awaitable[None]], *kinds: str) -> None:
    """Run a scenario on a host with the cards eth0 and eth1."""

    async def main() -> None:
        from pyroute2 import AsyncIPRoute

        async with AsyncIPRoute() as netlink:
            await need(netlink, "bridge")
            for name in ("eth0", "eth1"):
                await add_card(netlink, name)
            first = (await netlink.link("get", ifname="eth0"))[0]["index"]
            for kind in kinds:
                await need(
                    netlink, kind, **({"link": first, "vlan_id": 1} if kind == "vlan" else {})
                )
            world = await on_kernel(tmp_path)
            try:
                await scenario(world, netlink)
            finally:
                await ended(world)

    in_namespace(main)


async def on_kernel(tmp_path: Path) -> World:
    world = await opened(tmp_path, MemoryBridges())
    bridges: Any = KernelBridges()
    world.bridges = world.uplinks.bridges = bridges
    world.wires.bridges = world.network.bridges = bridges
    links: Any = KernelLinks(Sysfs(is_hardware=is_card))
    addresses: Any = KernelAddresses(tmp_path / "dhcp", tmp_path / "resolv.conf")
    world.links = world.uplinks.links = links
    world.addresses = world.uplinks.addresses = addresses
    return world


async def ended(world: World) -> None:
    await world.addresses.close()
    await world.links.close()
    await world.bridges.close()
    await world.store.close()


def bridge_of(world: World, pif: Any) -> str:
    return world.bridge_of(world.store.get(pif).network)


def test_an_interface_lives_in_its_bridge_with_its_address(tmp_path: Path) -> None:
    async def scenario(world: World, netlink: Any) -> None:
        call, pif = Caller(), (await world.scanned())["eth0"]
        bridge = bridge_of(world, pif)
        given = (ADDRESS.ip, ADDRESS.netmask, ADDRESS.gateway, "10.1.0.53")
        await world.pif.plug(call, pif)
        await world.pif.reconfigure_ip(call, pif, STATIC, *given)

        assert await world.bridges.ports(bridge) == {"eth0"}
        assert await world.addresses.look(bridge) == ADDRESS
        assert (tmp_path / "resolv.conf").read_text() == "nameserver 10.1.0.53\n"
        vif = await world.new_vif(
            await world.new_vm(VmPowerState.RUNNING), world.store.get(pif).network
        )
        await world.vif.plug(call, vif)
        await world.vif.unplug(call, vif)
        assert await world.addresses.look(bridge) == ADDRESS, "the PIF still holds it"
        await world.pif.unplug(call, pif)
        assert await world.links.look(bridge) is None
        link = await world.links.look("eth0")
        assert link is not None and not link.up and not link.master

    play(tmp_path, scenario)


def test_an_address_moves_to_the_bridge_and_comes_back_after_a_restart(tmp_path: Path) -> None:
    async def scenario(world: World, netlink: Any) -> None:
        await set_state(netlink, "eth0", "up")
        await world.addresses.set_static("eth0", ADDRESS, 200)
        pif = await world.pif.introduce(Caller(), world.host, "", "eth0")
        await world.pif.plug(Caller(), pif)
        bridge = bridge_of(world, pif)
        assert await world.addresses.look("eth0") is None
        assert await world.addresses.look(bridge) == ADDRESS
        await world.links.leave("eth0")
        await world.addresses.clear(bridge)
        assert await world.bridges.remove(
            bridge, world.store.get(world.store.get(pif).network).uuid
        )
        await world.store.close()

        again = await on_kernel(tmp_path)
        await again.wires.restore()

        assert await again.addresses.look(bridge) == ADDRESS
        assert await again.bridges.ports(bridge) == {"eth0"}
        await ended(again)

    play(tmp_path, scenario)


def test_a_pulled_cable_is_told(tmp_path: Path) -> None:
    async def scenario(world: World, netlink: Any) -> None:
        pif = (await world.scanned())["eth1"]
        metrics = world.store.get(pif).metrics
        await world.pif.plug(Caller(), pif)
        await world.follower.start()
        for state in ("up", "down", "up"):
            await set_state(netlink, "far1", state)
            async with asyncio.timeout(PATIENCE_S):
                while world.store.get(metrics).carrier != (state == "up"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # the store tells nobody but its clients
        await world.follower.close()

    play(tmp_path, scenario)


def test_vlans_and_bonds_of_the_kernel(tmp_path: Path) -> None:
    async def scenario(world: World, netlink: Any) -> None:
        call, pifs = Caller(), await world.scanned()
        members = (pifs["eth0"], pifs["eth1"])
        network, tagged = await world.new_network(), await world.new_network()
        await world.pif.plug(call, members[0])
        bond = await world.bond.create(call, network, members, "", BondMode.ACTIVE_BACKUP)
        master = world.store.get(bond).master
        vlan = await world.vlan.create(call, master, 42, tagged)

        assert await world.bridges.ports(world.bridge_of(network)) == {"bond0"}
        assert await world.bridges.ports(world.bridge_of(tagged)) == {"bond0.42"}
        made = await world.links.look("bond0")
        assert made is not None and made.members == ("eth0", "eth1")
        await world.vlan.destroy(call, vlan)
        await world.bond.destroy(call, bond)
        assert [link.name for link in await world.links.all()] == ["eth0", "eth1"]
        assert await world.bridges.ports(bridge_of(world, members[0])) == {"eth0"}
        assert len(world.store.all(PIF)) == 2

    play(tmp_path, scenario, "vlan", "bond")
