from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from xapid.datamodel import errors
from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import BondMode, IpConfigurationMode
from xapid.datamodel.host import Host
from xapid.datamodel.pif import PIF

from .world import Caller, World, opened

STATIC, NO_IP = IpConfigurationMode.STATIC, IpConfigurationMode.NONE


class Front:
    """Whether the API is served on the network, and word of each change."""

    def __init__(self) -> None:
        self.served = True

    async def __call__(self, served: bool) -> None:
        self.served = served


@pytest.fixture
async def managed(world: World, call: Caller) -> Ref[PIF]:
    """The management interface, with the address 10.0.0.2; eth1 has 10.1.0.2."""
    pifs = await world.scanned()
    for name, ip in (("eth0", "10.0.0.2"), ("eth1", "10.1.0.2")):
        await world.pif.plug(call, pifs[name])
        await world.pif.reconfigure_ip(call, pifs[name], STATIC, ip, "255.255.255.0", "", "")
    await world.management.start(Front())
    world.arrived = "10.0.0.2"
    await world.management.reconfigure(call, pifs["eth0"])
    assert not world.guard.pending, "the caller is there already"
    return pifs["eth0"]


def pif_called(world: World, name: str) -> PIF:
    return next(pif for pif in world.store.all(PIF) if pif.device == name)


async def timer(world: World) -> None:
    """Let the time pass in which the change must be confirmed."""
    task = world.guard._timer
    assert task is not None
    async with asyncio.timeout(5):
        await task


async def run_out(world: World) -> None:
    """Let the time for the confirmation be over at once."""
    await asyncio.sleep(0)  # the timer that runs already goes by the time it was given
    world.guard.within_s = 0.0
    await world.guard.expect(world.guard.pending)
    await timer(world)


async def test_management_moves_when_the_api_is_reached_there(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    other = pif_called(world, "eth1")
    await world.management.reconfigure(call, other.ref)
    assert world.guard.pending == "10.1.0.2"

    world.guard.reached("10.0.0.2")
    assert world.guard.pending == "10.1.0.2", "the old path proves nothing"
    world.guard.reached("10.1.0.2")
    await timer(world)

    assert not world.guard.pending
    assert world.store.get(other.ref).management and not world.store.get(managed).management
    assert world.store.get(world.host).address == "10.1.0.2"
    await world.management.close()


async def test_a_move_that_nobody_follows_is_taken_back(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    await world.management.reconfigure(call, pif_called(world, "eth1").ref)
    await run_out(world)

    assert world.store.get(managed).management
    assert world.store.get(world.host).address == "10.0.0.2"
    assert not world.guard.pending


async def test_an_address_that_locks_out_is_taken_back(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    bridge = world.bridge_of(world.store.get(managed).network)

    await world.pif.reconfigure_ip(call, managed, STATIC, "10.9.0.9", "255.255.255.0", "", "")
    assert world.addresses.addresses[bridge].ip == "10.9.0.9"
    assert world.store.get(world.host).address == "10.9.0.9"
    await run_out(world)

    assert world.addresses.addresses[bridge].ip == "10.0.0.2"
    assert world.store.get(managed).IP == "10.0.0.2"
    assert world.store.get(world.host).address == "10.0.0.2"
    with pytest.raises(errors.PIFIsManagementInterface):
        await world.pif.reconfigure_ip(call, managed, NO_IP, "", "", "", "")


async def test_two_changes_are_taken_back_together(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    for ip in ("10.9.0.8", "10.9.0.9"):
        await world.pif.reconfigure_ip(call, managed, STATIC, ip, "255.255.255.0", "", "")
    await run_out(world)

    assert world.store.get(managed).IP == "10.0.0.2"


@pytest.mark.parametrize(("boot", "later"), [("this-boot", 61.0), ("next-boot", 0.0)])
async def test_a_killed_daemon_takes_it_back_at_its_next_start(
    world: World, managed: Ref[PIF], call: Caller, tmp_path: Path, boot: str, later: float
) -> None:
    await world.pif.reconfigure_ip(call, managed, STATIC, "10.9.0.9", "255.255.255.0", "", "")
    await world.management.close()
    await world.store.close()

    again = await opened(tmp_path, type(world.bridges)())
    again.now += later
    again.guard.boot = boot
    await again.guard.open()
    await again.wires.restore()
    await again.management.start(Front())
    await timer(again)

    assert again.store.get(managed).IP == "10.0.0.2"
    bridge = again.bridge_of(again.store.get(managed).network)
    assert again.addresses.addresses[bridge].ip == "10.0.0.2"
    await again.store.close()


async def test_a_restart_in_time_goes_on_waiting(
    world: World, managed: Ref[PIF], call: Caller, tmp_path: Path
) -> None:
    await world.pif.reconfigure_ip(call, managed, STATIC, "10.9.0.9", "255.255.255.0", "", "")
    await world.management.close()
    await world.store.close()

    again = await opened(tmp_path, type(world.bridges)())
    await again.store.set(again.host, Host.address, "")  # as introduced anew
    again.now += 30
    await again.guard.open()
    await again.wires.restore()
    await again.management.start(Front())
    again.guard.reached("10.9.0.9")
    await timer(again)

    assert again.store.get(managed).IP == "10.9.0.9" and not again.guard.pending
    assert again.store.get(again.host).address == "10.9.0.9"
    await again.store.close()


async def test_the_network_is_served_again_unless_the_local_socket_is_reached(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    front = Front()
    await world.management.start(front)
    await world.management.disable(call)
    assert not world.guard.served and world.guard.pending == "local"
    world.guard.reached("local")
    await timer(world)
    assert not world.guard.served

    front.served = False
    await world.management.reconfigure(call, managed)
    assert front.served and world.guard.served
    await world.management.disable(call)
    await run_out(world)

    assert world.guard.served and front.served
    assert world.store.get(managed).management
    await world.management.close()


async def test_a_bond_of_the_management_interface_is_the_management_interface(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    network = await world.new_network()
    members = (managed, pif_called(world, "eth2").ref)

    bond = await world.bond.create(call, network, members, "", BondMode.ACTIVE_BACKUP)

    master = world.store.get(world.store.get(bond).master)
    assert master.management and master.IP == "10.0.0.2" and master.currently_attached


async def test_what_cannot_be_reached_is_no_management_interface(
    world: World, managed: Ref[PIF], call: Caller
) -> None:
    with pytest.raises(errors.InterfaceHasNoIP):
        await world.management.reconfigure(call, pif_called(world, "eth2").ref)
    with pytest.raises(errors.InterfaceHasNoIP):
        await world.management.local_reconfigure(call, "eth3")
    with pytest.raises(errors.PIFDeviceNotFound):
        await world.management.local_reconfigure(call, "eth9")

    assert world.store.get(managed).management and not world.guard.pending
    assert world.store.get(world.host).row[Host.address.name] == "10.0.0.2"
    world.arrived = "10.1.0.2"
    await world.management.local_reconfigure(call, "eth1")
    assert pif_called(world, "eth1").management
