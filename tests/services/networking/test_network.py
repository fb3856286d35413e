from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from xapid.datamodel import errors
from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import NetworkOperations, VmPowerState
from xapid.datamodel.network import Network
from xapid.datamodel.vif import VIF
from xapid.network.driver import Bridge

from .world import Caller, World, opened

RUNNING = VmPowerState.RUNNING


async def test_networks_get_bridges_that_nobody_has(world: World) -> None:
    world.bridges.others.add("xapi1")

    networks = await asyncio.gather(*(world.new_network() for _ in range(3)))

    assert {world.bridge_of(network) for network in networks} == {"xapi0", "xapi2", "xapi3"}
    assert world.bridges.bridges == {}
    assert world.store.get(networks[0]).allowed_operations == (NetworkOperations.ATTACHING,)


async def test_a_bridge_can_be_named(world: World) -> None:
    network = await world.new_network(bridge="br-lan", other_config={"a": "b"})

    assert world.bridge_of(network) == "br-lan"
    assert world.store.get(network).other_config == {"a": "b"}
    with pytest.raises(errors.BridgeNameExists) as caught:
        await world.new_network(bridge="br-lan")
    assert caught.value.wire() == ["BRIDGE_NAME_EXISTS", "br-lan"]


@pytest.mark.parametrize("name", ["a" * 16, "../x", "a b", "br/0", "."])
async def test_a_name_that_the_kernel_refuses_is_refused(world: World, name: str) -> None:
    with pytest.raises(errors.InvalidValue):
        await world.new_network(bridge=name)

    assert world.store.all(Network) == []


async def test_an_interface_that_is_no_bridge_is_not_taken(world: World) -> None:
    world.bridges.others.add("eth0")

    with pytest.raises(errors.BridgeNotAvailable):
        await world.new_network(bridge="eth0")


async def test_a_bridge_comes_with_the_first_vif_and_goes_with_the_last(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vifs = [await world.new_vif(await world.new_vm(RUNNING), network) for _ in range(2)]
    for vif in vifs:
        await world.vif.plug(call, vif)
    assert world.bridges.bridges["xapi0"].owner == world.store.get(network).uuid

    await world.vif.unplug(call, vifs[0])
    assert "xapi0" in world.bridges.bridges
    await world.vif.unplug(call, vifs[1])
    assert "xapi0" not in world.bridges.bridges


async def test_an_adopted_bridge_stays(world: World, call: Caller) -> None:
    world.bridges.bridges["br-lan"] = theirs = Bridge("br-lan", 1400, None, up=True)
    network = await world.new_network(bridge="br-lan")
    vif = await world.new_vif(await world.new_vm(RUNNING), network, MTU=9000)

    await world.vif.plug(call, vif)
    await world.vif.unplug(call, vif)
    await world.vif.destroy(call, vif)
    await world.network.destroy(call, network)

    assert world.bridges.bridges == {"br-lan": theirs}


async def test_a_network_with_interfaces_is_not_destroyed(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vif = await world.new_vif(await world.new_vm(), network)

    with pytest.raises(errors.NetworkContainsVIF) as caught:
        await world.network.destroy(call, network)
    assert caught.value.wire() == ["NETWORK_CONTAINS_VIF", vif]

    await world.vif.destroy(call, vif)
    await world.network.destroy(call, network)
    assert world.store.all(Network) == []


async def test_networks_of_running_guests_are_held_again_after_a_restart(
    world: World, network: Ref[Network], call: Caller, tmp_path: Path
) -> None:
    vif = await world.new_vif(await world.new_vm(RUNNING), network)
    await world.vif.plug(call, vif)
    idle = await world.new_network()
    await world.bridges.ensure(world.bridge_of(idle), 1500, world.store.get(idle).uuid)
    await world.store.close()

    again = await opened(tmp_path, world.bridges)
    await again.wires.restore()

    assert set(again.bridges.bridges) == {"xapi0"}
    await again.wires.detach(vif)
    assert again.bridges.bridges == {}
    await again.store.close()


async def test_detaching_what_is_not_held_does_nothing(world: World, network: Ref[Network]) -> None:
    vif = await world.new_vif(await world.new_vm(), network)

    await world.wires.detach(vif)

    assert world.store.refs(VIF) == [vif]
