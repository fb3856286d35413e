from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapid.datamodel import errors
from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import DomainType, VifOperations, VmOperations, VmPowerState
from xapid.datamodel.network import Network
from xapid.datamodel.vif import VIF
from xapid.datamodel.vm import VM
from xapid.network.mac import new_mac
from xapid.services.networking.names import check_device, check_mac
from xapid.xen.errors import XenError, XenTimedOut, XenUnavailable

from .world import Caller, World

RUNNING = VmPowerState.RUNNING
TIMEOUT = XenTimedOut("libxl_device_nic_remove", -9, "ERROR_TIMEDOUT")
FAILURE = XenError("libxl_device_nic_remove", -3, "ERROR_FAIL")


async def plugged(world: World, network: Ref[Network]) -> VIF:
    vif = await world.new_vif(await world.new_vm(RUNNING), network)
    await world.vif.plug(Caller(), vif)
    return world.store.get(vif)


async def test_interfaces_take_the_first_free_number_and_an_address_of_their_own(
    world: World, network: Ref[Network]
) -> None:
    vm = await world.new_vm()

    for device in ("autodetect", "2", ""):
        await world.new_vif(vm, network, device=device)
    with pytest.raises(errors.DeviceAlreadyExists):
        await world.new_vif(vm, network, device="0")
    vifs = world.store.all(VIF)

    assert [vif.device for vif in vifs] == ["0", "2", "1"]
    assert len({vif.MAC for vif in vifs}) == 3
    assert all(int(vif.MAC[:2], 16) & 3 == 2 for vif in vifs)
    assert {vif.MTU for vif in vifs} == {1500}


async def test_a_vm_has_a_bounded_number_of_interfaces(world: World, network: Ref[Network]) -> None:
    vm = await world.new_vm()
    for _ in range(8):
        await world.new_vif(vm, network, device="autodetect")

    with pytest.raises(errors.InvalidDevice):
        await world.new_vif(vm, network, device="autodetect")


@pytest.mark.parametrize("device", ["8", "-1", "eth0", "01", "9" * 5000, "\N{SUPERSCRIPT TWO}"])
async def test_a_device_that_does_not_exist_is_refused(
    world: World, network: Ref[Network], device: str
) -> None:
    with pytest.raises(errors.InvalidDevice):
        await world.new_vif(await world.new_vm(), network, device=device)


@pytest.mark.parametrize(
    "mac",
    ["x", "00:16:3e:00:00", "01:16:3e:00:00:01", "00:00:00:00:00:00", "00-16-3e-00-00-01",
     "ff:ff:ff:ff:ff:ff", "00:16:3e:00:00:01\n", "00:16:3e:00:00:01,script=/x"],
)  # fmt: skip
async def test_an_address_that_no_interface_can_have_is_refused(
    world: World, network: Ref[Network], mac: str
) -> None:
    with pytest.raises(errors.MACInvalid):
        await world.new_vif(await world.new_vm(), network, MAC=mac)


async def test_a_given_address_is_kept_in_lower_case_and_once_a_network(
    world: World, network: Ref[Network]
) -> None:
    vif = await world.new_vif(await world.new_vm(), network, MAC="00:16:3E:AA:BB:CC")
    assert world.store.get(vif).MAC == "00:16:3e:aa:bb:cc"

    with pytest.raises(errors.MACStillExists):
        await world.new_vif(await world.new_vm(), network, MAC="00:16:3e:aa:bb:cc")
    await world.new_vif(await world.new_vm(), await world.new_network(), MAC="00:16:3e:aa:bb:cc")


@pytest.mark.parametrize("mtu", [-1, 67, 65536])
async def test_an_mtu_that_no_interface_can_have_is_refused(
    world: World, network: Ref[Network], mtu: int
) -> None:
    with pytest.raises(errors.InvalidValue):
        await world.new_vif(await world.new_vm(), network, MTU=mtu)


async def test_what_cannot_be_limited_is_said_so(
    world: World, network: Ref[Network], call: Caller
) -> None:
    with pytest.raises(errors.ValueNotSupported):
        await world.new_vif(await world.new_vm(), network, qos_algorithm_type="shape")
    for kbps in ("", "0", "-1", "fast", "9" * 30):
        with pytest.raises(errors.InvalidValue):
            await world.new_vif(await world.new_vm(), network, qos_algorithm_params={"kbps": kbps})
    with pytest.raises(errors.InvalidValue):
        world.vif.check_rate(call, NULL, VIF.qos_algorithm_params, {"kbps": "none"})


async def test_plugging_gives_the_guest_the_interface(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING, domain_type=DomainType.HVM)
    vif = await world.new_vif(vm, network, MTU=9000, device="1")
    assert VifOperations.PLUG in world.store.get(vif).allowed_operations

    await world.vif.plug(call, vif)

    record = world.store.get(vif)
    nic = world.xen.nics[world.domid(vm), 1]
    assert (nic["bridge"], nic["mac"], nic["mtu"]) == ("xapi0", record.MAC, 9000)
    assert world.bridges.bridges["xapi0"].mtu == 9000
    assert record.currently_attached
    assert record.allowed_operations == (VifOperations.UNPLUG,)


async def test_unplugging_takes_it_back(world: World, network: Ref[Network], call: Caller) -> None:
    vif = await plugged(world, network)

    await world.vif.unplug(call, vif.ref)

    assert world.xen.nics == {}
    assert not world.store.get(vif.ref).currently_attached
    await world.vif.destroy(call, vif.ref)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (TIMEOUT, errors.DeviceDetachTimeout),
        (FAILURE, errors.DeviceDetachRejected),
        (XenUnavailable("xapid-xen ended"), XenUnavailable),
    ],
)
async def test_an_interface_that_does_not_go_stays_recorded(
    world: World,
    network: Ref[Network],
    call: Caller,
    failure: XenError,
    expected: type[Exception],
) -> None:
    vif = await plugged(world, network)
    world.xen.failing["nic_remove"] = failure

    with pytest.raises(expected):
        await world.vif.unplug(call, vif.ref)

    assert world.store.get(vif.ref).currently_attached
    assert "xapi0" in world.bridges.bridges


async def test_an_interface_that_vanished_behind_our_back_counts_as_unplugged(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vif = await plugged(world, network)
    world.xen.nics.clear()

    await world.vif.unplug(call, vif.ref)

    assert not world.store.get(vif.ref).currently_attached


@pytest.mark.parametrize(
    ("failure", "expected"), [(TIMEOUT, errors.DeviceAttachTimeout), (FAILURE, XenError)]
)
async def test_a_plug_that_fails_leaves_nothing_held(
    world: World,
    network: Ref[Network],
    call: Caller,
    failure: XenError,
    expected: type[Exception],
) -> None:
    vif = await world.new_vif(await world.new_vm(RUNNING), network)
    world.xen.failing["nic_add"] = failure

    with pytest.raises(expected):
        await world.vif.plug(call, vif)

    record = world.store.get(vif)
    assert (record.currently_attached, record.current_operations) == (False, {})
    assert world.bridges.bridges == {}


async def test_a_network_whose_bridge_cannot_be_had_is_not_plugged(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vif = await world.new_vif(await world.new_vm(RUNNING), network)
    world.bridges.others.add("xapi0")

    with pytest.raises(errors.CannotPlugVIF) as caught:
        await world.vif.plug(call, vif)

    assert caught.value.wire() == ["CANNOT_PLUG_VIF", vif]
    assert not world.wires.held(network)


async def test_a_guest_that_ends_during_a_plug_has_no_interface(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING)
    vif = await world.new_vif(vm, network)
    add = world.xen.nic_add

    async def add_and_end(domid: int, nic: dict[str, object]) -> dict[str, object]:
        async with world.store.transaction() as tx:
            tx.update(vm, {VM.power_state: VmPowerState.HALTED, VM.domid: -1})
        return await add(domid, nic)

    world.xen.nic_add = add_and_end
    with pytest.raises(errors.VMBadPowerState):
        await world.vif.plug(call, vif)

    assert world.xen.nics == {}
    assert not world.store.get(vif).currently_attached
    assert world.bridges.bridges == {}


@pytest.mark.parametrize(
    ("operation", "state", "expected"),
    [
        ("plug", VmPowerState.HALTED, errors.VMBadPowerState),
        ("plug", VmPowerState.SUSPENDED, errors.VMBadPowerState),
        ("unplug", VmPowerState.HALTED, errors.VMBadPowerState),
        ("unplug", VmPowerState.PAUSED, errors.VMBadPowerState),
        ("unplug", RUNNING, errors.DeviceAlreadyDetached),
    ],
)
async def test_what_does_not_fit_the_state_is_refused_and_not_offered(
    world: World,
    network: Ref[Network],
    call: Caller,
    operation: str,
    state: VmPowerState,
    expected: type[errors.ApiError],
) -> None:
    vm = await world.new_vm()
    vif = await world.new_vif(vm, network)
    async with world.store.transaction() as tx:
        tx.update(vm, {VM.power_state: state, VM.domid: 5})
        tx.touch(vif)

    with pytest.raises(expected):
        await getattr(world.vif, operation)(call, vif)

    assert VifOperations(operation) not in world.store.get(vif).allowed_operations


async def test_nothing_is_plugged_while_the_vm_is_being_worked_on(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING)
    vif = await world.new_vif(vm, network)
    await world.store.set(vm, VM.current_operations, {"task": VmOperations.SUSPEND})

    with pytest.raises(errors.OtherOperationInProgress):
        await world.vif.plug(call, vif)


async def test_an_attached_vif_is_not_destroyed(
    world: World, network: Ref[Network], call: Caller
) -> None:
    vif = await plugged(world, network)

    with pytest.raises(errors.OperationNotAllowed):
        await world.vif.destroy(call, vif.ref)


async def test_records_follow_what_the_domains_have(world: World, network: Ref[Network]) -> None:
    gone = await plugged(world, network)
    world.xen.nics.clear()
    there = await plugged(world, network)
    await world.store.set(there.ref, VIF.currently_attached, False)
    await world.wires.detach(there.ref)

    for vm in (gone.VM, there.VM):
        await world.vif.reconcile(world.store.get(vm))

    assert not world.store.get(gone.ref).currently_attached
    assert world.store.get(there.ref).currently_attached
    await world.vif.unplug(Caller(), there.ref)
    assert world.bridges.bridges == {}


@given(st.binary(min_size=6, max_size=6))
def test_every_address_that_is_made_can_be_given(octets: bytes) -> None:
    mac = new_mac(frozenset(), lambda _count: octets)

    assert check_mac(mac) == mac
    assert int(mac[:2], 16) & 2


@given(st.text())
def test_no_text_breaks_the_check_of_a_device(text: str) -> None:
    with contextlib.suppress(errors.InvalidDevice):
        assert 0 <= int(check_device(text)) < 8
