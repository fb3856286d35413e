from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel import errors
from xapid.datamodel.bond import Bond
from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import BondMode, IpConfigurationMode, VmPowerState
from xapid.datamodel.network import Network
from xapid.datamodel.pif import PIF
from xapid.datamodel.pif_metrics import PIFMetrics
from xapid.datamodel.vlan import VLAN
from xapid.network.addresses import Address
from xapid.network.driver import Bridge
from xapid.network.links import BondPlan, Counters, Link, LinkKind

from .world import Caller, World, opened

RUNNING = VmPowerState.RUNNING
STATIC, DHCP, NO_IP = (
    IpConfigurationMode.STATIC,
    IpConfigurationMode.DHCP,
    IpConfigurationMode.NONE,
)


def bridge_of(world: World, pif: Ref[PIF]) -> str:
    return world.bridge_of(world.store.get(pif).network)


async def guest(world: World, pif: Ref[PIF], call: Caller) -> Any:
    vif = await world.new_vif(await world.new_vm(RUNNING), world.store.get(pif).network)
    await world.vif.plug(call, vif)
    return vif


# Found and forgotten


async def test_a_scan_finds_hardware_once_and_touches_nothing(world: World, call: Caller) -> None:
    before = dict(world.links.links)

    pifs = await world.scanned()

    assert sorted(pifs) == ["eth0", "eth1", "eth2", "eth3"]
    record = world.store.get(pifs["eth1"])
    assert (record.MAC, record.MTU, record.VLAN) == ("02:00:5e:00:00:01", 1500, -1)
    assert record.physical and record.managed and not record.currently_attached
    metrics = world.store.get(record.metrics)
    assert (metrics.carrier, metrics.speed, metrics.duplex) == (True, 1000, True)
    assert metrics.pci_bus_path == "0000:00:04.0"
    assert len({record.network for record in world.store.all(PIF)}) == 4
    assert world.links.links == before and world.bridges.bridges == {}
    assert await world.scanned() == pifs


async def test_what_the_administrator_uses_is_shown_and_left_alone(
    world: World, call: Caller
) -> None:
    world.bridges.bridges["br0"] = Bridge("br0", 1500, None, up=True)
    await world.links.join("eth0", "br0", give_address=False)
    await world.links.set_up("eth0")
    world.addresses.addresses["br0"] = Address("10.0.0.2", "255.255.255.0", "10.0.0.1")
    before = dict(world.links.links)

    pif = world.store.get((await world.scanned())["eth0"])

    assert not pif.managed and pif.currently_attached
    assert world.bridge_of(pif.network) == "br0"
    assert (pif.ip_configuration_mode, pif.IP, pif.gateway) == (STATIC, "10.0.0.2", "10.0.0.1")
    for refused in (
        world.pif.plug(call, pif.ref),
        world.pif.unplug(call, pif.ref),
        world.pif.reconfigure_ip(call, pif.ref, NO_IP, "", "", "", ""),
    ):
        with pytest.raises(errors.PIFUnmanaged):
            await refused
    await guest(world, pif.ref, call)
    assert world.links.links == before


async def test_a_guest_does_not_reach_an_interface_that_others_manage_alone(
    world: World, call: Caller
) -> None:
    await world.links.set_up("eth0")
    pif = (await world.scanned())["eth0"]

    with pytest.raises(errors.CannotPlugVIF):
        await guest(world, pif, call)

    assert world.bridges.bridges == {}


async def test_bonds_and_vlans_of_the_administrator_are_adopted(world: World, call: Caller) -> None:
    plan = BondPlan(("eth0", "eth1"), "active-backup")
    await world.links.ensure_bond("uplink", plan, "somebody")
    world.links.put(replace(world.links.links["uplink"], owner=None))
    world.links.put(Link("office", LinkKind.VLAN, parent="uplink", tag=7, up=True))

    await world.scanned()

    (bond,), (vlan,) = world.store.all(Bond), world.store.all(VLAN)
    assert world.store.get(bond.master).device == "uplink"
    assert {world.store.get(slave).device for slave in bond.slaves} == {"eth0", "eth1"}
    assert (vlan.tagged_PIF, vlan.tag) == (bond.master, 7)
    assert not any(world.store.get(p).managed for p in (bond.master, vlan.untagged_PIF))
    await world.vlan.destroy(call, vlan.ref)
    await world.bond.destroy(call, bond.ref)
    assert {"uplink", "office"} <= set(world.links.links)


async def test_an_interface_is_introduced_and_forgotten(world: World, call: Caller) -> None:
    pif = await world.pif.introduce(call, world.host, "02:00:5E:00:00:02", "")

    assert world.store.get(pif).device == "eth2"
    with pytest.raises(errors.DuplicatePIFDeviceName):
        await world.pif.introduce(call, world.host, "", "eth2")
    for mac, device in (("", "eth9"), ("02:00:5e:00:00:01", "eth0"), ("", "")):
        with pytest.raises(errors.CouldNotFindNetworkInterfaceWithSpecifiedDeviceNameAndMACAddress):
            await world.pif.introduce(call, world.host, mac, device)
    await world.pif.plug(call, pif)
    await world.pif.forget(call, pif)
    assert world.store.all(PIF) == [] and world.store.all(PIFMetrics) == []
    assert world.bridges.bridges == {} and not world.links.links["eth2"].up


async def test_an_introduced_interface_keeps_its_address(world: World, call: Caller) -> None:
    world.addresses.addresses["eth0"] = Address("10.0.0.2", "255.255.255.0", "10.0.0.1")
    await world.links.set_up("eth0")

    pif = await world.pif.introduce(call, world.host, "", "eth0")
    await world.pif.plug(call, pif)

    moved = {bridge_of(world, pif): Address("10.0.0.2", "255.255.255.0", "10.0.0.1")}
    assert world.addresses.addresses == moved


# Plugged


async def test_a_plugged_interface_is_in_its_networks_bridge(world: World, call: Caller) -> None:
    pif = (await world.scanned())["eth0"]

    await world.pif.plug(call, pif)
    await world.pif.plug(call, pif)

    assert world.links.links["eth0"].master == bridge_of(world, pif)
    assert world.links.links["eth0"].up and world.store.get(pif).currently_attached
    await world.pif.unplug(call, pif)
    await world.pif.unplug(call, pif)
    assert world.bridges.bridges == {} and not world.links.links["eth0"].up
    assert not world.store.get(pif).currently_attached


async def test_an_uplink_is_not_taken_from_guests(world: World, call: Caller) -> None:
    pif = (await world.scanned())["eth0"]
    vif = await guest(world, pif, call)
    assert world.store.get(pif).currently_attached
    assert await world.bridges.ports(bridge_of(world, pif)) == {"eth0"}

    for refused in (world.pif.unplug(call, pif), world.pif.forget(call, pif)):
        with pytest.raises(errors.VIFInUse):
            await refused

    await world.vif.unplug(call, vif)
    await world.store.set(pif, PIF.disallow_unplug, True)
    with pytest.raises(errors.PIFDoesNotAllowUnplug):
        await world.pif.unplug(call, pif)
    await world.store.set(pif, PIF.disallow_unplug, False)
    await world.store.set(pif, PIF.management, True)
    for refused in (world.pif.unplug(call, pif), world.pif.forget(call, pif)):
        with pytest.raises(errors.PIFIsManagementInterface):
            await refused


async def test_an_interface_that_is_gone_leaves_nothing_behind(world: World, call: Caller) -> None:
    pif = (await world.scanned())["eth0"]
    world.links.drop("eth0")

    with pytest.raises(errors.PIFDeviceNotFound):
        await world.pif.plug(call, pif)

    assert world.bridges.bridges == {} and not world.store.get(pif).currently_attached


async def test_a_network_may_ask_for_an_mtu(world: World, call: Caller) -> None:
    pif = (await world.scanned())["eth0"]
    network = world.store.get(pif).network
    await world.store.set(network, Network.other_config, {"mtu": "9000"})

    await world.pif.plug(call, pif)

    assert world.links.links["eth0"].mtu == 9000
    assert world.bridges.bridges[bridge_of(world, pif)].mtu == 9000


# VLANs


async def test_a_vlan_comes_up_on_an_interface_that_is_up(world: World, call: Caller) -> None:
    pif, network = (await world.scanned())["eth0"], await world.new_network()
    await world.pif.plug(call, pif)

    vlan = await world.vlan.create(call, pif, 42, network)

    record = world.store.get(vlan)
    appears = world.store.get(record.untagged_PIF)
    assert (appears.device, appears.VLAN, appears.physical) == ("eth0", 42, False)
    assert appears.currently_attached and appears.VLAN_master_of == vlan
    assert world.links.links["eth0.42"].master == world.bridge_of(network)
    await world.pif.unplug(call, pif)
    assert world.links.links["eth0"].up, "the VLAN needs it"
    await world.vlan.destroy(call, vlan)
    assert "eth0.42" not in world.links.links and not world.links.links["eth0"].up
    assert world.store.all(VLAN) == [] and len(world.store.all(PIF)) == 4


@pytest.mark.parametrize("tag", [-1, 4095, 1 << 40])
async def test_a_tag_that_is_none_is_refused(world: World, call: Caller, tag: int) -> None:
    pif, network = (await world.scanned())["eth0"], await world.new_network()

    with pytest.raises(errors.VLANTagInvalid):
        await world.vlan.create(call, pif, tag, network)


async def test_a_vlan_that_cannot_be_is_refused(world: World, call: Caller) -> None:
    pifs, network = await world.scanned(), await world.new_network()
    vlan = await world.vlan.create(call, pifs["eth0"], 0, network)
    appears = world.store.get(vlan).untagged_PIF
    other = await world.new_network()

    with pytest.raises(errors.VLANInUse) as caught:
        await world.vlan.create(call, pifs["eth0"], 0, other)
    assert caught.value.wire() == ["VLAN_IN_USE", "eth0", "0"]
    with pytest.raises(errors.NetworkAlreadyConnected):
        await world.vlan.create(call, pifs["eth0"], 1, network)
    with pytest.raises(errors.PIFIsVLAN):
        await world.vlan.create(call, appears, 1, other)
    with pytest.raises(errors.PIFVLANStillExists):
        await world.pif.forget(call, pifs["eth0"])
    with pytest.raises(errors.PIFIsPhysical):
        await world.vlan.destroy_pif(call, pifs["eth0"])
    with pytest.raises(errors.PIFIsNotPhysical):
        await world.pif.forget(call, appears)
    await world.vlan.destroy_pif(call, appears)
    assert world.store.all(VLAN) == []


async def test_a_vlan_that_does_not_come_up_is_not_kept(world: World, call: Caller) -> None:
    pif, network = (await world.scanned())["eth0"], await world.new_network()
    await world.pif.plug(call, pif)
    world.links.put(Link("eth0.5", LinkKind.OTHER))

    with pytest.raises(errors.PIFConfigurationError):
        await world.vlan.create(call, pif, 5, network)

    assert world.store.all(VLAN) == [] and len(world.store.all(PIF)) == 4
    assert world.bridge_of(network) not in world.bridges.bridges


async def test_a_guest_on_a_vlan_brings_it_up(world: World, call: Caller) -> None:
    pif, network = (await world.scanned())["eth0"], await world.new_network()
    (appears,) = await world.vlan.create_from_pif(call, pif, network, 42)
    assert "eth0.42" not in world.links.links

    await guest(world, appears, call)

    assert await world.bridges.ports(world.bridge_of(network)) == {"eth0.42"}
    assert world.links.links["eth0"].up and not world.store.get(pif).currently_attached


# Bonds


async def test_a_bond_takes_over_the_address_of_its_member(world: World, call: Caller) -> None:
    pifs, network = await world.scanned(), await world.new_network()
    members = (pifs["eth0"], pifs["eth1"])
    await world.pif.plug(call, pifs["eth1"])
    address = ("10.0.0.2", "255.255.255.0", "10.0.0.1", "")
    await world.pif.reconfigure_ip(call, pifs["eth1"], STATIC, *address)

    bond = await world.bond.create(call, network, members, "", BondMode.ACTIVE_BACKUP)

    record = world.store.get(bond)
    master = world.store.get(record.master)
    assert (master.device, master.MAC, master.IP) == ("bond0", "02:00:5e:00:00:01", "10.0.0.2")
    assert set(record.slaves) == set(members) and master.currently_attached
    assert world.links.links["bond0"].master == world.bridge_of(network)
    assert set(world.addresses.addresses) == {world.bridge_of(network)}
    assert world.store.get(pifs["eth1"]).ip_configuration_mode is NO_IP
    with pytest.raises(errors.CannotPlugBondSlave):
        await world.pif.plug(call, pifs["eth0"])
    with pytest.raises(errors.CannotChangePIFProperties):
        await world.pif.reconfigure_ip(call, pifs["eth0"], NO_IP, "", "", "", "")
    with pytest.raises(errors.CannotAddVLANToBondSlave):
        await world.vlan.create(call, pifs["eth0"], 1, await world.new_network())

    await world.bond.destroy(call, bond)
    assert world.store.get(pifs["eth1"]).IP == "10.0.0.2"
    assert world.store.get(pifs["eth1"]).currently_attached
    assert set(world.addresses.addresses) == {bridge_of(world, pifs["eth1"])}
    assert "bond0" not in world.links.links and world.store.all(Bond) == []


async def test_a_bond_that_cannot_be_is_refused(world: World, call: Caller) -> None:
    pifs, network = await world.scanned(), await world.new_network()
    first, second = pifs["eth0"], pifs["eth1"]
    vlan = await world.vlan.create(call, pifs["eth2"], 1, await world.new_network())
    appears = world.store.get(vlan).untagged_PIF
    for members, refusal in (
        ((), errors.PIFBondNeedsMoreMembers),
        ((first, first), errors.PIFBondNeedsMoreMembers),
        ((first, appears), errors.PIFIsNotPhysical),
        ((first, pifs["eth2"]), errors.PIFVLANStillExists),
    ):
        with pytest.raises(refusal):
            await world.bond.create(call, network, members, "")
    for pif in (first, second):
        await world.pif.reconfigure_ip(call, pif, DHCP, "", "", "", "")
    with pytest.raises(errors.PIFBondMoreThanOneIP):
        await world.bond.create(call, network, (first, second), "")
    await world.pif.reconfigure_ip(call, first, NO_IP, "", "", "", "")
    bond = await world.bond.create(call, network, (first, second), "")
    assert world.store.get(bond).mode is BondMode.ACTIVE_BACKUP, "what it really is"
    with pytest.raises(errors.PIFAlreadyBonded):
        await world.bond.create(call, network, (first, pifs["eth3"]), "")


# What happens on the host


async def test_changes_of_links_reach_the_records(world: World, call: Caller) -> None:
    pifs, network = await world.scanned(), await world.new_network()
    members = (pifs["eth0"], pifs["eth1"])
    bond = await world.bond.create(call, network, members, "", BondMode.ACTIVE_BACKUP)
    master = world.store.get(bond).master
    await world.pif.plug(call, master)
    await world.follower.start()

    async def comes(links_up: int, active: Ref[PIF], carrier: bool) -> None:
        async with asyncio.timeout(5):
            while True:
                record, metrics = (
                    world.store.get(bond),
                    world.store.get(world.store.get(master).metrics),
                )
                if (record.links_up, record.active_slave) == (links_up, active):
                    assert metrics.carrier == carrier
                    return
                await asyncio.sleep(0)

    await comes(2, members[0], True)
    world.links.put(replace(world.links.links["eth0"], carrier=False))
    await comes(1, members[1], True)
    world.links.put(replace(world.links.links["eth0"], carrier=True))
    await comes(2, members[1], True)  # the bond itself has not changed
    world.links.put(replace(world.links.links["eth0"], carrier=False))
    await comes(1, members[1], True)
    assert not world.store.get(world.store.get(members[0]).metrics).carrier
    world.links.put(replace(world.links.links["eth1"], carrier=False))
    await comes(0, NULL, False)
    await world.follower.close()


async def test_what_a_killed_daemon_left_half_made_is_removed(world: World, call: Caller) -> None:
    pifs = await world.scanned()
    network = await world.new_network()
    await world.pif.plug(call, pifs["eth2"])
    kept = await world.vlan.create(call, pifs["eth2"], 5, network)
    await world.links.ensure_bond("bond7", BondPlan(("eth0", "eth1"), "active-backup"), "nobody")
    await world.links.ensure_vlan("bond7", 9, "nothing")
    await world.links.ensure_vlan("eth3", 9, "somebody")
    world.links.put(replace(world.links.links["eth3.9"], owner=None))

    await world.wires.restore()

    assert {"eth0", "eth1", "eth2", "eth3", "eth2.5", "eth3.9"} == set(world.links.links)
    assert world.store.get(world.store.get(kept).untagged_PIF).currently_attached


async def test_what_passes_is_measured(world: World, call: Caller) -> None:
    pif = (await world.scanned())["eth0"]
    metrics = world.store.get(pif).metrics
    await world.follower.look({"eth0"})
    for at_s, received, sent, rates in (
        (0, 0, 0, (0.0, 0.0)),
        (2, 4096, 1024, (2.0, 0.5)),
        (3, 0, 0, (0.0, 0.0)),  # the counters began anew
    ):
        world.links.passed["eth0"] = Counters(at_s * 10**9, received, sent)
        await world.follower.measure()
        record = world.store.get(metrics)
        assert (record.io_read_kbs, record.io_write_kbs) == rates


async def test_without_a_dhcp_server_an_uplink_is_up_all_the_same(
    world: World, call: Caller
) -> None:
    pif = (await world.scanned())["eth0"]
    await world.pif.reconfigure_ip(call, pif, DHCP, "", "", "", "")
    world.addresses.lease = None

    await world.pif.plug(call, pif)

    assert world.store.get(pif).currently_attached and world.store.get(pif).IP == ""
    assert world.addresses.clients == {bridge_of(world, pif)}


async def test_what_was_up_is_up_again_after_a_restart(
    world: World, call: Caller, tmp_path: Path
) -> None:
    pifs, network = await world.scanned(), await world.new_network()
    await world.pif.plug(call, pifs["eth0"])
    await world.pif.reconfigure_ip(call, pifs["eth0"], DHCP, "", "", "", "")
    bond = await world.bond.create(call, network, (pifs["eth1"], pifs["eth2"]), "")
    tagged = await world.new_network()
    vlan = await world.vlan.create(call, world.store.get(bond).master, 9, tagged)
    await world.pif.plug(call, world.store.get(vlan).untagged_PIF)
    await world.store.close()

    again = await opened(tmp_path, type(world.bridges)())  # as after a boot
    await again.wires.restore()

    assert again.links.links["eth0"].master == bridge_of(again, pifs["eth0"])
    assert again.addresses.clients == {bridge_of(again, pifs["eth0"])}
    assert again.links.links["bond0"].members == ("eth1", "eth2")
    assert again.links.links["bond0.9"].master == again.bridge_of(tagged)
    await again.store.close()


async def test_a_card_that_is_called_otherwise_keeps_its_pif(world: World, call: Caller) -> None:
    pifs = await world.scanned()
    await world.pif.plug(call, pifs["eth0"])
    vlan = await world.vlan.create(call, pifs["eth0"], 5, await world.new_network())
    await world.pif.unplug(call, pifs["eth0"])
    tagged = world.store.get(vlan).untagged_PIF
    cards = [world.links.links[name] for name in ("eth0", "eth1", "eth2")]
    for name in ("eth0.5", "eth0", "eth1", "eth2"):
        world.links.drop(name)
    for card, name in zip(cards, ("eth1", "eth0", "enp3s0"), strict=True):
        world.links.put(replace(card, name=name, up=False))

    await world.wires.restore()

    names = {name: world.store.get(pif).device for name, pif in pifs.items()}
    assert names == {"eth0": "eth1", "eth1": "eth0", "eth2": "enp3s0", "eth3": "eth3"}
    assert world.store.get(tagged).device == "eth1"
    assert world.links.links["eth1.5"].up


# Addresses


async def test_an_address_follows_its_configuration(world: World, call: Caller) -> None:
    pif = (await world.scanned())["eth0"]
    await world.pif.reconfigure_ip(call, pif, DHCP, "", "", "", "")
    assert world.addresses.addresses == {} and world.store.get(pif).IP == ""

    await world.pif.plug(call, pif)
    bridge = bridge_of(world, pif)
    assert world.store.get(pif).IP == "192.0.2.100" and world.addresses.clients == {bridge}

    given = ("10.1.0.5", "255.255.0.0", "10.1.0.1", "10.1.0.53, 10.1.0.54")
    await world.pif.reconfigure_ip(call, pif, STATIC, *given)
    assert world.addresses.addresses == {bridge: Address("10.1.0.5", "255.255.0.0", "10.1.0.1")}
    assert world.addresses.servers == ("10.1.0.53", "10.1.0.54")
    assert world.store.get(pif).DNS == "10.1.0.53,10.1.0.54"

    await world.pif.reconfigure_ip(call, pif, NO_IP, "", "", "", "")
    assert world.addresses.addresses == {} and world.store.get(pif).IP == ""


async def test_an_address_that_does_not_come_leaves_the_one_before(
    world: World, call: Caller
) -> None:
    pif = (await world.scanned())["eth0"]
    await world.pif.plug(call, pif)
    given = ("10.1.0.5", "255.255.0.0", "10.1.0.1", "")
    await world.pif.reconfigure_ip(call, pif, STATIC, *given)
    world.addresses.lease = None

    with pytest.raises(errors.PIFConfigurationError):
        await world.pif.reconfigure_ip(call, pif, DHCP, "", "", "", "")

    assert world.store.get(pif).IP == "10.1.0.5" and world.addresses.clients == set()
    assert bridge_of(world, pif) in world.addresses.addresses


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        (("", "255.0.0.0", "", ""), "IP"),
        (("10.0.0", "255.0.0.0", "", ""), "IP"),
        (("224.0.0.1", "255.0.0.0", "", ""), "IP"),
        (("127.0.0.1", "255.0.0.0", "", ""), "IP"),
        (("10.0.0.1;x", "255.0.0.0", "", ""), "IP"),
        (("10.0.0.1", "", "", ""), "netmask"),
        (("10.0.0.1", "255.0.255.0", "", ""), "netmask"),
        (("10.0.0.1", "24", "", ""), "netmask"),
        (("10.0.0.1", "255.0.0.0", "192.168.1.1", ""), "gateway"),
        (("10.0.0.1", "255.0.0.0", "gw", ""), "gateway"),
        (("10.0.0.1", "255.0.0.0", "", "dns.example"), "DNS"),
        (("10.0.0.1", "255.0.0.0", "", "10.0.0.1\nsearch x"), "DNS"),
    ],
)
async def test_what_is_no_address_is_refused(
    world: World, call: Caller, given: tuple[str, str, str, str], parameter: str
) -> None:
    pif = (await world.scanned())["eth0"]

    with pytest.raises(errors.InvalidIPAddressSpecified) as caught:
        await world.pif.reconfigure_ip(call, pif, STATIC, *given)

    assert caught.value.wire()[1] == parameter
