from __future__ import annotations

from pathlib import Path

import pytest

from xapid.datamodel import errors
from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import (
    DomainType,
    VbdMode,
    VbdOperations,
    VbdType,
    VdiOperations,
    VdiType,
    VmOperations,
    VmPowerState,
)
from xapid.datamodel.sr import SR
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vdi import VDI
from xapid.xen.errors import XenDeviceExists, XenError, XenTimedOut, XenUnavailable

from .world import Caller, World, closed, opened

RUNNING = VmPowerState.RUNNING
TIMEOUT = XenTimedOut("libxl_device_disk_safe_remove", -9, "ERROR_TIMEDOUT")
REFUSED = XenError("libxl_device_disk_safe_remove", -3, "ERROR_FAIL", ["the guest said no"])


async def plugged(world: World, vdi: Ref[VDI]) -> VBD:
    vbd = await world.new_vbd(await world.new_vm(RUNNING), vdi)
    await world.vbd.plug(Caller(), vbd)
    return world.store.get(vbd)


async def test_devices_take_the_first_free_number(world: World, vdi: Ref[VDI]) -> None:
    vm = await world.new_vm()

    given = ("autodetect", "3", "", "xvdc", "autodetect")
    vbds = [await world.new_vbd(vm, vdi, mode=VbdMode.RO, userdevice=device) for device in given]

    assert [world.store.get(vbd).userdevice for vbd in vbds] == ["0", "3", "1", "xvdc", "4"]


async def test_a_device_is_used_once(world: World, vdi: Ref[VDI]) -> None:
    vm = await world.new_vm()
    await world.new_vbd(vm, vdi, userdevice="0")

    for same in ("0", "xvda", "hda"):
        with pytest.raises(errors.DeviceAlreadyExists) as caught:
            await world.new_vbd(vm, vdi, userdevice=same)
        assert caught.value.wire() == ["DEVICE_ALREADY_EXISTS", same]


@pytest.mark.parametrize("device", ["-1", "256", "xvd", "../x", "fd0", "1,readonly=off"])
async def test_a_device_that_does_not_exist_is_refused(
    world: World, vdi: Ref[VDI], device: str
) -> None:
    with pytest.raises(errors.InvalidDevice):
        await world.new_vbd(await world.new_vm(), vdi, userdevice=device)


async def test_a_new_device_is_never_attached_whatever_the_client_says(
    world: World, vdi: Ref[VDI]
) -> None:
    vbd = await world.new_vbd(
        await world.new_vm(), vdi, currently_attached=True, device="xvdz", storage_lock=True
    )

    record = world.store.get(vbd)
    assert (record.currently_attached, record.device, record.storage_lock) == (False, "", False)


async def test_media_and_modes_that_cannot_be_are_refused(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm()
    image = await world.disks.create(call, sr, 4096, "image", VdiType.SUSPEND)
    locked = await world.new_vdi(sr, read_only=True)

    with pytest.raises(errors.VBDCDsMustBeReadonly):
        await world.new_vbd(vm, vdi, type=VbdType.CD, mode=VbdMode.RW)
    with pytest.raises(errors.VDIIncompatibleType):
        await world.new_vbd(vm, image)
    with pytest.raises(errors.VDIReadonly):
        await world.new_vbd(vm, locked)
    with pytest.raises(errors.HandleInvalid):
        await world.new_vbd(vm, NULL)
    with pytest.raises(errors.VBDNotRemovableMedia):
        await world.new_vbd(vm, NULL, empty=True)
    await world.new_vbd(vm, locked, mode=VbdMode.RO)


async def test_an_hvm_guest_has_four_cd_drives(world: World) -> None:
    vm = await world.new_vm(domain_type=DomainType.HVM)

    drives = [await world.new_drive(vm) for _ in range(4)]

    assert [world.store.get(drive).userdevice for drive in drives] == ["0", "1", "2", "3"]
    with pytest.raises(errors.InvalidDevice):
        await world.new_drive(vm)


async def test_a_suspended_vm_gets_no_further_device(world: World, vdi: Ref[VDI]) -> None:
    with pytest.raises(errors.VMBadPowerState):
        await world.new_vbd(await world.new_vm(VmPowerState.SUSPENDED), vdi)


async def test_plugging_gives_the_guest_the_disk(world: World, vdi: Ref[VDI], call: Caller) -> None:
    vm = await world.new_vm(RUNNING)
    vbd = await world.new_vbd(vm, vdi, userdevice="1")
    assert VbdOperations.PLUG in world.store.get(vbd).allowed_operations

    await world.vbd.plug(call, vbd)

    record = world.store.get(vbd)
    disk = world.xen.disks[world.domid(vm), "xvdb"]
    assert disk["pdev_path"] == str(world.image(vdi))
    assert (disk["format"], disk["backend"], disk["readwrite"]) == ("raw", "phy", 1)
    assert (record.currently_attached, record.device) == (True, "xvdb")
    assert VbdOperations.UNPLUG in record.allowed_operations
    assert VbdOperations.PLUG not in record.allowed_operations
    assert record.storage_lock and world.store.get(vdi).storage_lock
    assert record.runtime_properties == {"backend": "phy", "format": "raw"}


async def test_unplugging_takes_it_back(world: World, vdi: Ref[VDI], call: Caller) -> None:
    vbd = await plugged(world, vdi)

    await world.vbd.unplug(call, vbd.ref)

    assert world.xen.disks == {}
    record = world.store.get(vbd.ref)
    assert (record.currently_attached, record.storage_lock) == (False, False)
    assert not world.store.get(vdi).storage_lock and not record.runtime_properties
    await world.vdi.resize(call, vdi, 2 << 20)


@pytest.mark.parametrize(
    ("failure", "wire"),
    [
        (TIMEOUT, ["DEVICE_DETACH_TIMEOUT", "VBD"]),
        (REFUSED, ["DEVICE_DETACH_REJECTED", "VBD"]),
    ],
)
async def test_a_guest_that_keeps_its_disk_is_named(
    world: World, vdi: Ref[VDI], call: Caller, failure: XenError, wire: list[str]
) -> None:
    vbd = await plugged(world, vdi)
    world.xen.failing["disk_remove"] = failure

    with pytest.raises(errors.ApiError) as caught:
        await world.vbd.unplug(call, vbd.ref)
    assert caught.value.wire()[:3] == [*wire, vbd.ref]
    assert world.store.get(vbd.ref).currently_attached
    with pytest.raises(errors.VDIInUse):
        await world.vdi.resize(call, vdi, 2 << 20)

    await world.vbd.unplug_force(call, vbd.ref)
    assert world.xen.disks == {}
    assert not world.store.get(vbd.ref).currently_attached


async def test_a_disk_that_vanished_behind_our_back_counts_as_unplugged(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await plugged(world, vdi)
    world.xen.disks.clear()

    await world.vbd.unplug(call, vbd.ref)

    assert not world.store.get(vbd.ref).currently_attached


async def test_when_xen_is_gone_nothing_is_claimed_to_be_done(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await plugged(world, vdi)
    world.xen.failing["disk_remove"] = XenUnavailable("xapid-xen ended")

    with pytest.raises(XenUnavailable):
        await world.vbd.unplug(call, vbd.ref)

    assert world.store.get(vbd.ref).currently_attached
    assert world.store.get(vbd.ref).current_operations == {}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(TIMEOUT, errors.DeviceAttachTimeout), (REFUSED, XenError)],
)
async def test_a_plug_that_fails_leaves_nothing_held(
    world: World, vdi: Ref[VDI], call: Caller, failure: XenError, expected: type[Exception]
) -> None:
    vm = await world.new_vm(RUNNING)
    vbd = await world.new_vbd(vm, vdi)
    world.xen.failing["disk_add"] = failure

    with pytest.raises(expected):
        await world.vbd.plug(call, vbd)

    record = world.store.get(vbd)
    assert (record.currently_attached, record.current_operations) == (False, {})
    assert not world.store.get(vdi).storage_lock
    assert not world.leases.held(vdi)


async def test_a_guest_that_ends_during_a_plug_has_no_disk(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING)
    vbd = await world.new_vbd(vm, vdi)
    add = world.xen.disk_add

    async def add_and_end(domid: int, disk: dict[str, object]) -> dict[str, object]:
        await world.set_state(vm, VmPowerState.HALTED)
        return await add(domid, disk)

    world.xen.disk_add = add_and_end
    with pytest.raises(errors.VMBadPowerState):
        await world.vbd.plug(call, vbd)

    assert world.xen.disks == {}
    assert not world.store.get(vbd).currently_attached
    assert not world.leases.held(vdi)


async def test_a_disk_has_one_writer(world: World, vdi: Ref[VDI], call: Caller) -> None:
    await plugged(world, vdi)

    for mode in VbdMode:
        second = await world.new_vbd(await world.new_vm(RUNNING), vdi, mode=mode)
        with pytest.raises(errors.VDIInUse) as caught:
            await world.vbd.plug(call, second)
        assert caught.value.wire() == ["VDI_IN_USE", vdi, "attach"]
        with pytest.raises(errors.VDIInUse):
            await world.vbd.assert_attachable(call, second)


async def test_a_disk_has_many_readers(world: World, vdi: Ref[VDI], call: Caller) -> None:
    for _ in range(3):
        reader = await world.new_vbd(await world.new_vm(RUNNING), vdi, mode=VbdMode.RO)
        await world.vbd.assert_attachable(call, reader)
        await world.vbd.plug(call, reader)

    writer = await world.new_vbd(await world.new_vm(RUNNING), vdi)
    with pytest.raises(errors.VDIInUse):
        await world.vbd.plug(call, writer)
    assert all(disk["readwrite"] == 0 for disk in world.xen.disks.values())


async def test_a_sharable_disk_has_many_writers(world: World, sr: Ref[SR], call: Caller) -> None:
    vdi = await world.new_vdi(sr, sharable=True)

    await plugged(world, vdi)
    await plugged(world, vdi)

    assert len(world.xen.disks) == 2


async def test_the_disk_of_a_suspended_guest_is_kept_for_it(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await plugged(world, vdi)
    await world.set_state(vbd.VM, VmPowerState.SUSPENDED)
    await world.disks.detach(vbd.ref)

    second = await world.new_vbd(await world.new_vm(RUNNING), vdi)
    with pytest.raises(errors.VDIInUse):
        await world.vbd.plug(call, second)
    await world.disks.attach(vbd.ref)


@pytest.mark.parametrize(
    ("operation", "state", "expected"),
    [
        ("plug", VmPowerState.HALTED, errors.VMBadPowerState),
        ("plug", VmPowerState.SUSPENDED, errors.VMBadPowerState),
        ("unplug", VmPowerState.HALTED, errors.VMBadPowerState),
        ("unplug", VmPowerState.PAUSED, errors.VMBadPowerState),
        ("unplug_force", VmPowerState.HALTED, errors.VMBadPowerState),
        ("unplug", RUNNING, errors.DeviceAlreadyDetached),
        ("unplug_force", RUNNING, errors.DeviceAlreadyDetached),
        ("eject", RUNNING, errors.VBDNotRemovableMedia),
    ],
)
async def test_what_does_not_fit_the_state_is_refused_and_not_offered(
    world: World,
    vdi: Ref[VDI],
    call: Caller,
    operation: str,
    state: VmPowerState,
    expected: type[errors.ApiError],
) -> None:
    vm = await world.new_vm()
    vbd = await world.new_vbd(vm, vdi)
    await world.set_state(vm, state, 5)
    async with world.store.transaction() as tx:
        tx.touch(vbd)

    with pytest.raises(expected):
        await getattr(world.vbd, operation)(call, vbd)

    assert VbdOperations(operation) not in world.store.get(vbd).allowed_operations


async def test_a_device_marked_so_is_not_unplugged_but_by_force(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await world.new_vbd(await world.new_vm(RUNNING), vdi, unpluggable=False)
    await world.vbd.plug(call, vbd)

    with pytest.raises(errors.VBDNotUnpluggable):
        await world.vbd.unplug(call, vbd)
    await world.vbd.unplug_force(call, vbd)


async def test_nothing_is_plugged_while_the_vm_is_being_worked_on(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING)
    vbd = await world.new_vbd(vm, vdi)
    await world.store.set(vm, type(world.store.get(vm)).current_operations,
                          {"task": VmOperations.CLEAN_SHUTDOWN})  # fmt: skip

    with pytest.raises(errors.OtherOperationInProgress):
        await world.vbd.plug(call, vbd)


async def test_an_attached_vbd_is_not_destroyed(world: World, vdi: Ref[VDI], call: Caller) -> None:
    vbd = await plugged(world, vdi)
    with pytest.raises(errors.OperationNotAllowed):
        await world.vbd.destroy(call, vbd.ref)

    await world.vbd.unplug(call, vbd.ref)
    await world.vbd.destroy(call, vbd.ref)

    assert VdiOperations.DESTROY in world.store.get(vdi).allowed_operations
    await world.vdi.destroy(call, vdi)


async def test_an_sr_in_use_is_not_unplugged(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    await plugged(world, vdi)

    with pytest.raises(errors.VDIInUse) as caught:
        await world.pbd.unplug(call, world.pbd_of(sr))

    assert caught.value.vdi == vdi
    assert world.store.get(world.pbd_of(sr)).currently_attached


async def test_discs_change_in_the_drive_of_a_running_hvm_guest(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING, domain_type=DomainType.HVM)
    drive = await world.new_drive(vm)
    await world.disks.attach(drive)
    await world.store.set(drive, VBD.currently_attached, True)

    await world.vbd.insert(call, drive, vdi)
    disk = world.xen.disks[world.domid(vm), "hda"]
    assert (disk["backend"], disk["readwrite"], disk["is_cdrom"]) == ("qdisk", 0, 1)
    assert disk["pdev_path"] == str(world.image(vdi))
    assert (world.store.get(drive).VDI, world.store.get(drive).empty) == (vdi, False)
    with pytest.raises(errors.VBDNotEmpty):
        await world.vbd.insert(call, drive, vdi)

    await world.vbd.eject(call, drive)
    assert world.xen.disks[world.domid(vm), "hda"]["format"] == "empty"
    assert (world.store.get(drive).VDI, world.store.get(drive).empty) == (NULL, True)
    assert not world.leases.held(vdi)
    with pytest.raises(errors.VBDIsEmpty):
        await world.vbd.eject(call, drive)


async def test_the_drive_of_an_hvm_guest_is_there_from_start_to_end(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING, domain_type=DomainType.HVM)
    drive = await world.new_drive(vm)
    await world.store.set(drive, VBD.currently_attached, True)

    for attempt in (world.vbd.unplug(call, drive), world.vbd.unplug_force(call, drive)):
        with pytest.raises(errors.OperationNotAllowed):
            await attempt
    assert world.store.get(drive).allowed_operations == (VbdOperations.INSERT,)


async def test_what_no_backend_can_do_is_refused(world: World, vdi: Ref[VDI], call: Caller) -> None:
    vm = await world.new_vm()

    with pytest.raises(errors.ValueNotSupported):
        await world.new_vbd(vm, vdi, qos_algorithm_type="ionice")
    with pytest.raises(errors.ValueNotSupported):
        world.vbd.check_qos(call, NULL, VBD.qos_algorithm_type, "ionice")


async def test_for_a_pv_guest_the_disc_is_the_device(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING)
    drive = await world.new_drive(vm)
    await world.store.set(drive, VBD.currently_attached, True)

    await world.vbd.insert(call, drive, vdi)
    assert world.xen.disks[world.domid(vm), "xvda"]["backend"] == "phy"

    await world.vbd.eject(call, drive)
    assert world.xen.disks == {}


async def test_discs_of_a_halted_vm_change_in_its_record(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    drive = await world.new_drive(await world.new_vm())

    await world.vbd.insert(call, drive, vdi)
    assert world.store.get(vdi).VBDs == (drive,)
    await world.vbd.eject(call, drive)

    assert world.store.get(vdi).VBDs == ()
    assert VdiOperations.DESTROY in world.store.get(vdi).allowed_operations


async def test_a_disc_that_the_guest_does_not_get_is_not_recorded(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING, domain_type=DomainType.HVM)
    drive = await world.new_drive(vm)
    await world.store.set(drive, VBD.currently_attached, True)
    world.xen.failing["cdrom_insert"] = XenTimedOut("libxl_cdrom_insert", -9, "ERROR_TIMEDOUT")

    with pytest.raises(errors.DeviceAttachTimeout):
        await world.vbd.insert(call, drive, vdi)

    assert (world.store.get(drive).VDI, world.store.get(drive).empty) == (NULL, True)
    assert not world.leases.held(vdi)


async def test_qemu_has_no_read_only_ide_disk(world: World, vdi: Ref[VDI]) -> None:
    vm = await world.new_vm(domain_type=DomainType.HVM)
    first = await world.new_vbd(vm, vdi, mode=VbdMode.RO, userdevice="0")
    fifth = await world.new_vbd(vm, vdi, mode=VbdMode.RO, userdevice="4")

    with pytest.raises(errors.DiskVBDMustBeReadwriteForHVM):
        await world.disks.attach(first)
    assert (await world.disks.attach(fifth)).backend == "phy"


async def test_attaching_again_gives_the_same_and_one_detach_lets_go(
    world: World, vdi: Ref[VDI]
) -> None:
    vbd = await world.new_vbd(await world.new_vm(), vdi)

    assert await world.disks.attach(vbd) == await world.disks.attach(vbd)
    await world.disks.detach(vbd)
    await world.disks.detach(vbd)

    assert not world.leases.held(vdi)
    await world.vdi.resize(Caller(), vdi, 2 << 20)


async def test_a_missing_disk_is_not_attached(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await world.new_vbd(await world.new_vm(), vdi)
    world.image(vdi).unlink()

    with pytest.raises(errors.VDIMissing) as caught:
        await world.disks.attach(vbd)
    assert caught.value.wire() == ["VDI_MISSING", sr, vdi]

    await world.sr.scan(call, sr)
    with pytest.raises(errors.VDIMissing):
        await world.disks.attach(vbd)


async def test_an_open_disk_is_held_for_the_daemon(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await world.new_vbd(await world.new_vm(), vdi)

    path = await world.disks.open(vdi)
    assert path == world.image(vdi)
    with pytest.raises(errors.VDIInUse):
        await world.disks.attach(vbd)

    await world.disks.close(vdi)
    await world.disks.attach(vbd)


async def test_mode_and_number_are_fixed_while_a_guest_has_the_disk(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await plugged(world, vdi)

    with pytest.raises(errors.DeviceAlreadyAttached):
        await world.vbd.set_mode(call, vbd.ref, VbdMode.RO)
    with pytest.raises(errors.DeviceAlreadyAttached):
        world.vbd.check_userdevice(call, vbd.ref, VBD.userdevice, "5")

    await world.vbd.unplug(call, vbd.ref)
    await world.vbd.set_mode(call, vbd.ref, VbdMode.RO)
    world.vbd.check_userdevice(call, vbd.ref, VBD.userdevice, "5")
    with pytest.raises(errors.InvalidDevice):
        world.vbd.check_userdevice(call, vbd.ref, VBD.userdevice, "999")


async def test_what_domains_hold_is_held_again_after_a_restart(
    world: World, vdi: Ref[VDI], tmp_path: Path
) -> None:
    await plugged(world, vdi)
    await closed(world)

    again = await opened(tmp_path)
    await again.disks.restore()
    second = await again.new_vbd(await again.new_vm(RUNNING), vdi)

    assert again.store.get(vdi).storage_lock
    with pytest.raises(errors.VDIInUse):
        await again.vbd.plug(Caller(), second)
    await closed(again)


async def test_a_guests_disk_that_was_missing_is_held_once_it_is_found(
    world: World, sr: Ref[SR], vdi: Ref[VDI], tmp_path: Path
) -> None:
    vbd = await plugged(world, vdi)
    image = world.image(vdi)
    image.rename(tmp_path / "elsewhere")
    await world.sr.scan(Caller(), sr)
    await closed(world)
    again = await opened(tmp_path)
    await again.disks.restore()
    assert again.store.get(vdi).missing and not again.leases.held(vdi)

    (tmp_path / "elsewhere").rename(image)
    await again.sr.scan(Caller(), sr)

    assert again.leases.held(vdi) and again.store.get(vbd.ref).storage_lock
    await closed(again)


async def test_a_lock_whose_holder_is_gone_falls_at_a_restart(
    world: World, vdi: Ref[VDI], tmp_path: Path
) -> None:
    vbd = await plugged(world, vdi)
    await world.set_state(vbd.VM, VmPowerState.HALTED)
    await world.store.set(vbd.ref, VBD.currently_attached, False)
    await closed(world)

    again = await opened(tmp_path)
    await again.disks.restore()

    assert not again.store.get(vdi).storage_lock
    assert not again.store.get(vbd.ref).storage_lock
    await again.disks.attach(vbd.ref)
    await closed(again)


async def test_a_plug_that_was_never_answered_is_taken_back(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await world.new_vbd(await world.new_vm(RUNNING), vdi)
    add = world.xen.disk_add

    async def add_and_die(domid: int, disk: dict[str, object]) -> None:
        await add(domid, disk)
        raise XenUnavailable("xapid-xen ended")

    world.xen.disk_add = add_and_die
    with pytest.raises(XenUnavailable):
        await world.vbd.plug(call, vbd)

    assert world.xen.disks == {}
    assert not world.leases.held(vdi)


async def test_a_plug_that_cannot_be_taken_back_keeps_the_disk_for_its_guest(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await world.new_vbd(await world.new_vm(RUNNING), vdi)
    world.xen.failing["disk_add"] = XenUnavailable("xapid-xen ended")
    world.xen.failing["disk_destroy"] = XenUnavailable("xapid-xen ended")

    with pytest.raises(XenUnavailable):
        await world.vbd.plug(call, vbd)

    assert world.store.get(vbd).currently_attached
    second = await world.new_vbd(await world.new_vm(RUNNING), vdi)
    with pytest.raises(errors.VDIInUse):
        await world.vbd.plug(call, second)
    world.xen.failing.clear()
    await world.vbd.unplug(call, vbd)
    await world.vbd.plug(call, second)


async def test_a_device_of_another_toolstack_is_left_alone(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    vm = await world.new_vm(RUNNING)
    vbd = await world.new_vbd(vm, vdi)
    world.xen.disks[world.domid(vm), "xvda"] = theirs = {"vdev": "xvda"}
    world.xen.failing["disk_add"] = XenDeviceExists("libxl_device_disk_add", -17)

    with pytest.raises(errors.DeviceAlreadyAttached):
        await world.vbd.plug(call, vbd)

    assert world.xen.disks == {(world.domid(vm), "xvda"): theirs}
    assert not world.leases.held(vdi)


async def test_records_follow_what_the_domains_have(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    gone = await plugged(world, await world.new_vdi(sr))
    world.xen.disks.clear()
    vdi = await world.new_vdi(sr)
    there = await plugged(world, vdi)
    domid = world.domid(there.VM)
    await world.store.set(there.ref, VBD.currently_attached, False)
    await world.disks.detach(there.ref)
    other = await world.new_vbd(there.VM, await world.new_vdi(sr))
    world.xen.disks[domid, "xvdb"] = {"vdev": "xvdb", "pdev_path": "/dev/elsewhere"}

    for vm in (gone.VM, there.VM):
        await world.vbd.reconcile(world.store.get(vm))

    assert not world.store.get(gone.ref).currently_attached
    assert not world.leases.held(gone.VDI)
    assert world.store.get(there.ref).currently_attached
    assert world.leases.held(vdi)
    assert not world.store.get(other).currently_attached


async def test_what_a_guest_wrote_is_counted_once_it_lets_go(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    vbd = await plugged(world, vdi)
    with world.image(vdi).open("r+b") as image:
        image.write(b"x" * 65536)

    await world.vbd.unplug(call, vbd.ref)

    assert world.store.get(vdi).physical_utilisation >= 65536
