from __future__ import annotations

import asyncio
import os
import uuid as uuids

import pytest

from xapid.datamodel import errors
from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import StorageOperations, VbdMode, VdiOperations, VdiType
from xapid.datamodel.sr import SR
from xapid.datamodel.vdi import VDI
from xapid.storage.driver import VolumeLabel

from .world import MIB, Caller, World


async def test_a_new_disk_is_there_in_record_and_on_storage(world: World, sr: Ref[SR]) -> None:
    vdi = world.store.get(
        await world.new_vdi(sr, 3 * MIB, name_label="data", other_config={"a": "b"})
    )

    assert world.image(vdi.ref).stat().st_size == 3 * MIB
    assert (vdi.virtual_size, vdi.physical_utilisation) == (3 * MIB, 0)
    assert (vdi.name_label, vdi.other_config) == ("data", {"a": "b"})
    assert (vdi.managed, vdi.missing, vdi.read_only, vdi.storage_lock) == (
        True, False, False, False,
    )  # fmt: skip
    assert vdi.location == f"{vdi.uuid}.raw"
    assert world.store.get(sr).virtual_allocation == 3 * MIB
    assert world.store.get(sr).VDIs == (vdi.ref,)


@pytest.mark.parametrize("size", [0, -1])
async def test_a_disk_of_no_size_is_refused(world: World, sr: Ref[SR], size: int) -> None:
    with pytest.raises(errors.InvalidValue) as caught:
        await world.new_vdi(sr, size)

    assert caught.value.wire() == ["INVALID_VALUE", "virtual_size", str(size)]


async def test_a_disk_that_does_not_fit_is_refused_with_both_sizes(
    world: World, sr: Ref[SR]
) -> None:
    with pytest.raises(errors.SRFull) as caught:
        await world.new_vdi(sr, 1 << 60)

    assert caught.value.requested == 1 << 60
    assert 0 < caught.value.maximum < 1 << 60
    assert world.store.all(VDI) == []
    assert world.files() == {"xapid-sr.json"}


async def test_a_suspend_image_must_fit_at_once(world: World, sr: Ref[SR]) -> None:
    too_much = world.store.get(sr).physical_size

    with pytest.raises(errors.SRFull):
        await world.disks.create(Caller(), sr, too_much, "image", VdiType.SUSPEND)


async def test_a_destroyed_disk_is_gone_in_record_and_on_storage(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    await world.vdi.destroy(call, vdi)

    assert world.store.all(VDI) == []
    assert world.files() == {"xapid-sr.json"}
    assert world.store.get(sr).virtual_allocation == 0


async def test_a_missing_disk_can_be_destroyed(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    world.image(vdi).unlink()
    await world.sr.scan(call, sr)

    await world.vdi.destroy(call, vdi)

    assert world.store.all(VDI) == []


@pytest.mark.parametrize("operation", ["destroy", "forget"])
async def test_a_disk_that_a_vm_has_does_not_go(
    world: World, vdi: Ref[VDI], call: Caller, operation: str
) -> None:
    await world.new_vbd(await world.new_vm(), vdi)

    with pytest.raises(errors.VDIInUse) as caught:
        await getattr(world.vdi, operation)(call, vdi)

    assert caught.value.wire() == ["VDI_IN_USE", vdi, operation]
    assert VdiOperations(operation) not in world.store.get(vdi).allowed_operations
    assert world.image(vdi).exists()


async def test_a_disk_that_something_else_refers_to_stays_whole(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    await world.new_vm(suspend_VDI=vdi)

    with pytest.raises(errors.OperationNotAllowed):
        await world.vdi.destroy(call, vdi)

    assert world.image(vdi).exists()
    assert world.store.get(vdi).current_operations == {}


async def test_a_forgotten_disk_keeps_its_data_and_can_be_introduced(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    old, image = world.store.get(vdi), world.image(vdi)
    await world.vdi.forget(call, vdi)
    assert world.store.all(VDI) == []
    assert image.exists()

    again = await world.vdi.introduce(
        call, old.uuid, "again", "", sr, VdiType.USER, False, True, {"k": "v"}, old.location
    )

    record = world.store.get(again)
    assert (record.uuid, record.virtual_size, record.location) == (old.uuid, MIB, old.location)
    assert (record.name_label, record.read_only, record.other_config) == ("again", True, {"k": "v"})


async def test_only_what_is_there_is_introduced_and_only_once(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    async def introduce(uuid: str, location: str) -> None:
        await world.vdi.introduce(call, uuid, "x", "", sr, VdiType.USER, False, False, {}, location)

    fresh = str(uuids.uuid4())
    with pytest.raises(errors.LocationNotUnique):
        await introduce(fresh, world.store.get(vdi).location)
    with pytest.raises(errors.VDILocationMissing) as caught:
        await introduce(fresh, "")
    assert caught.value.wire() == ["VDI_LOCATION_MISSING", sr, f"{fresh}.raw"]
    with pytest.raises(errors.VDILocationMissing):
        await introduce(fresh, "../../etc/passwd")
    with pytest.raises(errors.UUIDInvalid):
        await introduce("not-a-uuid", "")


async def test_a_clone_has_the_content_and_the_names_of_its_original(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    vdi = await world.new_vdi(sr, name_label="root", type=VdiType.SYSTEM, other_config={"a": "b"})
    world.image(vdi).write_bytes(content := os.urandom(MIB))

    clone = world.store.get(await world.vdi.clone(call, vdi, {}))

    assert world.image(clone.ref).read_bytes() == content
    assert (clone.name_label, clone.type, clone.other_config) == (
        "root", VdiType.SYSTEM, {"a": "b"},
    )  # fmt: skip
    assert sr == clone.SR
    assert not clone.read_only
    assert call.fractions[-1] == 1.0


async def test_a_snapshot_is_read_only(world: World, vdi: Ref[VDI], call: Caller) -> None:
    snapshot = world.store.get(await world.vdi.snapshot(call, vdi, {}))

    assert snapshot.read_only
    assert world.store.get(vdi).read_only is False


async def test_a_copy_goes_to_another_sr(world: World, vdi: Ref[VDI], call: Caller) -> None:
    other = await world.new_sr("other")
    world.image(vdi).write_bytes(content := os.urandom(MIB))

    copy = await world.vdi.copy(call, vdi, other)

    assert world.image(copy, "other").read_bytes() == content
    assert other == world.store.get(copy).SR
    assert world.store.get(other).virtual_allocation == MIB


async def test_a_copy_without_an_sr_stays_beside_its_original(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    copy = await world.vdi.copy(call, vdi)

    assert sr == world.store.get(copy).SR
    with pytest.raises(errors.ValueNotSupported):
        await world.vdi.copy(call, vdi, NULL, NULL, copy)


async def test_a_cancelled_copy_leaves_nothing_behind(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    vdi = await world.new_vdi(sr, 64 * MIB)
    world.image(vdi).write_bytes(os.urandom(MIB) * 64)
    before, started = world.files(), asyncio.Event()
    call.watcher = lambda _fraction: started.set()

    copying = asyncio.create_task(world.vdi.copy(call, vdi))
    await started.wait()
    assert world.store.get(vdi).current_operations == {call.task: VdiOperations.COPY}
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert world.files() == before
    assert world.store.refs(VDI) == [vdi]
    assert world.store.get(vdi).current_operations == {}
    assert world.store.get(sr).current_operations == {}
    await world.vdi.destroy(Caller(), vdi)


async def test_a_disk_being_copied_is_not_given_to_a_writer(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    vdi = await world.new_vdi(sr, 64 * MIB)
    world.image(vdi).write_bytes(os.urandom(MIB) * 64)
    writer = await world.new_vbd(await world.new_vm(), vdi)
    reader = await world.new_vbd(await world.new_vm(), vdi, mode=VbdMode.RO)
    started = asyncio.Event()
    call.watcher = lambda _fraction: started.set()

    copying = asyncio.create_task(world.vdi.copy(call, vdi))
    await started.wait()
    with pytest.raises(errors.OtherOperationInProgress):
        await world.disks.attach(writer)
    with pytest.raises(errors.OtherOperationInProgress):
        await world.vdi.resize(Caller(), vdi, 128 * MIB)
    await world.disks.attach(reader)
    second = await world.vdi.clone(Caller(), vdi, {})
    copy = await copying

    assert world.image(copy).read_bytes() == world.image(second).read_bytes()


async def test_a_disk_grows(world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller) -> None:
    await world.vdi.resize(call, vdi, 2 * MIB)
    await world.vdi.resize_online(call, vdi, 3 * MIB)

    assert world.store.get(vdi).virtual_size == 3 * MIB
    assert world.image(vdi).stat().st_size == 3 * MIB
    assert world.store.get(sr).virtual_allocation == 3 * MIB


async def test_a_disk_does_not_shrink(world: World, vdi: Ref[VDI], call: Caller) -> None:
    with pytest.raises(errors.VDITooSmall) as caught:
        await world.vdi.resize(call, vdi, 4096)

    assert caught.value.wire() == ["VDI_TOO_SMALL", vdi, str(MIB)]


async def test_a_read_only_disk_keeps_its_size(world: World, vdi: Ref[VDI], call: Caller) -> None:
    await world.vdi.set_read_only(call, vdi, True)

    with pytest.raises(errors.VDIReadonly):
        await world.vdi.resize(call, vdi, 2 * MIB)


async def test_names_are_remembered_by_the_storage(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    await world.vdi.set_name_label(call, vdi, "new name")
    await world.vdi.set_name_description(call, vdi, "what it is for")
    await world.vdi.set_read_only(call, vdi, True)

    volume = await world.repositories.get(sr).look(world.store.get(vdi).location)
    assert volume.label == VolumeLabel("new name", "what it is for", "user", True, False)


async def test_operations_on_one_disk_exclude_one_another(
    world: World, vdi: Ref[VDI], call: Caller
) -> None:
    async with world.operations.claim(call, vdi, VdiOperations.RESIZE):
        for attempt in (world.vdi.destroy(Caller(), vdi), world.vdi.clone(Caller(), vdi, {})):
            with pytest.raises(errors.OtherOperationInProgress) as caught:
                await attempt
            assert caught.value.wire() == [
                "OTHER_OPERATION_IN_PROGRESS", "VDI", vdi, "resize", call.task,
            ]  # fmt: skip
        assert set(world.store.get(vdi).allowed_operations) == set()


async def test_what_is_allowed_is_what_is_accepted(world: World, vdi: Ref[VDI]) -> None:
    assert set(world.store.get(vdi).allowed_operations) == {
        VdiOperations.CLONE,
        VdiOperations.COPY,
        VdiOperations.SNAPSHOT,
        VdiOperations.RESIZE,
        VdiOperations.RESIZE_ONLINE,
        VdiOperations.DESTROY,
        VdiOperations.FORGET,
    }


async def test_a_failing_record_leaves_no_disk(world: World, sr: Ref[SR]) -> None:
    with pytest.raises(errors.InvalidValue):
        await world.new_vdi(sr, name_label="bad \x00 name")

    assert world.store.all(VDI) == []
    assert world.files() == {"xapid-sr.json"}
    assert world.store.get(sr).current_operations == {}


async def test_many_disks_are_made_at_once(world: World, sr: Ref[SR]) -> None:
    made = await asyncio.gather(*(world.new_vdi(sr) for _ in range(20)))

    assert len(set(made)) == 20
    assert world.store.get(sr).virtual_allocation == 20 * MIB
    assert StorageOperations.VDI_CREATE in world.store.get(sr).allowed_operations


async def test_an_image_cut_short_by_a_crash_is_swept_at_the_next_scan(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    stale = world.image(vdi).with_name(f"{uuids.uuid4()}.staged")
    stale.write_bytes(bytes(4096))
    retired = world.image(vdi).with_suffix(".retired")
    world.image(vdi).rename(retired)

    await world.sr.scan(call, sr)

    assert not stale.exists()
    assert world.image(vdi).exists()
    assert not world.store.get(vdi).missing
