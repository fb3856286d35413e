from __future__ import annotations

import asyncio
import uuid as uuids
from pathlib import Path

import pytest

from xapid.datamodel import errors
from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import StorageOperations, VdiOperations, VdiType
from xapid.datamodel.pbd import PBD
from xapid.datamodel.pool import Pool
from xapid.datamodel.sm import SM
from xapid.datamodel.sr import SR
from xapid.datamodel.vdi import VDI
from xapid.services.storage.repositories import BATCH

from .world import MIB, Caller, World, closed, opened


async def test_there_is_one_sm_record_for_each_kind_of_storage(world: World, call: Caller) -> None:
    await world.kinds.publish()

    (record,) = world.store.all(SM)
    assert record.type == "file"
    assert "VDI_CREATE" in record.capabilities
    assert "location" in record.configuration
    assert await world.sr.get_supported_types(call) == ("file",)


async def test_a_created_sr_is_plugged_and_knows_its_sizes(world: World, sr: Ref[SR]) -> None:
    record = world.store.get(sr)
    pbd = world.store.get(world.pbd_of(sr))

    assert pbd.currently_attached
    assert pbd.host == world.host
    assert record.physical_size > record.physical_utilisation > 0
    assert record.virtual_allocation == 0
    assert record.content_type == "user"
    assert {StorageOperations.SCAN, StorageOperations.VDI_CREATE} <= set(record.allowed_operations)
    assert StorageOperations.DESTROY not in record.allowed_operations


async def test_an_unknown_type_is_refused(world: World, call: Caller) -> None:
    with pytest.raises(errors.SRUnknownDriver) as caught:
        await world.sr.create(call, world.host, {}, 0, "x", "", "floppy", "", False, {})

    assert caught.value.wire() == ["SR_UNKNOWN_DRIVER", "floppy"]
    assert world.store.all(SR) == []


@pytest.mark.parametrize("location", ["", "relative", "/etc", "/srv/../etc/x"])
async def test_a_location_that_the_driver_refuses_leaves_no_record(
    world: World, call: Caller, location: str
) -> None:
    config = {"location": location} if location else {}
    with pytest.raises(errors.SRBackendFailure, match="location"):
        await world.sr.create(call, world.host, config, 0, "x", "", "file", "", False, {})

    assert world.store.all(SR) == []
    assert world.store.all(PBD) == []


async def test_a_directory_is_not_shared(world: World, call: Caller) -> None:
    config = {"location": str(world.directory / "x")}
    with pytest.raises(errors.SRNotSharable):
        await world.sr.create(call, world.host, config, 0, "x", "", "file", "", True, {})


async def test_one_place_holds_one_sr(world: World, sr: Ref[SR]) -> None:
    with pytest.raises(errors.SRDeviceInUse):
        await world.new_sr()

    assert world.store.refs(SR) == [sr]


async def test_probe_lists_what_could_be_introduced(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    config = {"location": str(world.directory / "local")}

    found = await world.sr.probe(call, world.host, config, "file", {})

    assert f"<UUID>{world.store.get(sr).uuid}</UUID>" in found
    assert found.startswith("<SRlist><SR>")
    assert "> <" not in found


async def test_a_probe_says_nothing_that_the_client_made_up(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    config = {"location": str(world.directory / "local"), "a><b": "c"}

    found = await world.sr.probe(call, world.host, config, "file", {})

    assert "a><b" not in found


async def test_a_forgotten_sr_comes_back_with_its_disks(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    vdi = world.store.get(
        await world.new_vdi(sr, name_label="root", type=VdiType.SYSTEM, sharable=True)
    )
    uuid, pbd = world.store.get(sr).uuid, world.store.get(world.pbd_of(sr))
    await world.pbd.unplug(call, pbd.ref)
    await world.sr.forget(call, sr)
    assert world.store.all(SR) == world.store.all(VDI) == world.store.all(PBD) == []

    again = await world.sr.introduce(call, uuid, "local", "", "file", "user", False, {})
    values = {"host": world.host, "SR": again, "device_config": pbd.device_config}
    await world.pbd.plug(call, await world.pbd.create(call, values))

    (found,) = world.store.all(VDI)
    assert found.uuid == vdi.uuid
    assert (found.name_label, found.type, found.sharable) == ("root", VdiType.SYSTEM, True)
    assert found.virtual_size == MIB
    assert world.store.get(again).virtual_allocation == MIB


async def test_an_sr_that_is_known_is_not_introduced_again(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    with pytest.raises(errors.SRUUIDExists):
        await world.sr.introduce(call, world.store.get(sr).uuid, "x", "", "file", "", False, {})
    with pytest.raises(errors.UUIDInvalid):
        await world.sr.introduce(call, "../x", "x", "", "file", "", False, {})


async def test_what_make_prepared_can_be_introduced(world: World, call: Caller) -> None:
    config = {"location": str(world.directory / "made")}

    uuid = await world.sr.make(call, world.host, config, 0, "made", "", "file", "", {})
    sr = await world.sr.introduce(call, uuid, "made", "", "file", "", False, {})
    values = {"host": world.host, "SR": sr, "device_config": config}
    await world.pbd.plug(call, await world.pbd.create(call, values))

    assert world.store.get(sr).physical_size > 0


async def test_a_plugged_sr_is_neither_forgotten_nor_destroyed(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    for method in (world.sr.forget, world.sr.destroy):
        with pytest.raises(errors.SRHasPBD) as caught:
            await method(call, sr)
        assert caught.value.wire() == ["SR_HAS_PBD", sr]


async def test_an_sr_with_disks_is_not_destroyed(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    await world.pbd.unplug(call, world.pbd_of(sr))

    with pytest.raises(errors.SRNotEmpty):
        await world.sr.destroy(call, sr)

    assert world.image(vdi).exists()


async def test_disks_that_no_record_knows_keep_an_sr_from_being_destroyed(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    image = world.image(vdi)
    await world.vdi.forget(call, vdi)
    await world.pbd.unplug(call, world.pbd_of(sr))

    with pytest.raises(errors.SRNotEmpty):
        await world.sr.destroy(call, sr)

    assert image.exists()


async def test_destroying_an_empty_sr_removes_all_of_it(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    async with world.store.transaction() as tx:
        pool = tx.create(Pool, {"default_SR": sr})
    await world.pbd.unplug(call, world.pbd_of(sr))

    await world.sr.destroy(call, sr)

    assert world.store.all(SR) == world.store.all(PBD) == []
    assert world.store.get(pool).default_SR == NULL
    assert not (world.directory / "local").exists()


async def test_destroying_ends_what_an_earlier_try_began(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    await world.pbd.unplug(call, world.pbd_of(sr))
    (world.directory / "local" / "xapid-sr.json").unlink()

    await world.sr.destroy(call, sr)

    assert world.store.all(SR) == []


async def test_an_indestructible_sr_is_not_destroyed(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    await world.store.set(sr, SR.other_config, {"indestructible": "true"})
    await world.pbd.unplug(call, world.pbd_of(sr))

    with pytest.raises(errors.SRIndestructible):
        await world.sr.destroy(call, sr)


async def test_a_scan_marks_a_vanished_disk_and_finds_it_again(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    image = world.image(vdi)
    aside = image.rename(world.directory / "aside")
    await world.sr.scan(call, sr)
    assert world.store.get(vdi).missing
    assert VdiOperations.CLONE not in world.store.get(vdi).allowed_operations

    aside.rename(image)
    await world.sr.scan(call, sr)
    assert not world.store.get(vdi).missing
    assert VdiOperations.CLONE in world.store.get(vdi).allowed_operations


async def test_a_scan_introduces_what_was_put_there(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    uuid = str(uuids.uuid4())
    (world.directory / "local" / f"{uuid}.raw").write_bytes(bytes(8192))

    await world.sr.scan(call, sr)

    ref = world.store.by_uuid(VDI, uuid)
    assert ref is not None
    assert world.store.get(ref).virtual_size == 8192


async def test_a_scan_of_many_disks_keeps_what_others_change_meanwhile(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    directory = world.directory / "local"
    uuids_there = [str(uuids.uuid4()) for _ in range(2 * BATCH + 1)]
    for uuid in uuids_there:
        (directory / f"{uuid}.raw").write_bytes(bytes(8192))
    await world.sr.scan(call, sr)
    disks = list(world.store.all(VDI))
    for disk in disks:
        world.image(disk.ref).write_bytes(bytes(4096))

    begun = asyncio.Event()
    world.store.on_change(VDI, lambda tx, ref: begun.set())

    scan = asyncio.create_task(world.sr.scan(call, sr))
    await begun.wait()
    later = next(disk for disk in world.store.all(VDI) if disk.virtual_size == 8192)
    await world.store.set(later.ref, VDI.name_label, "kept")
    await scan

    assert len(disks) == len(uuids_there) == len(world.store.all(VDI))
    sizes = {disk.ref: disk.virtual_size for disk in world.store.all(VDI)}
    assert {ref for ref, size in sizes.items() if size == 8192} <= {later.ref}
    assert world.store.get(later.ref).name_label == "kept"
    assert world.store.get(sr).virtual_allocation == sum(sizes.values())


async def test_a_scan_passes_over_a_disk_whose_uuid_is_taken(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    uuid = world.store.get(sr).uuid
    (world.directory / "local" / f"{uuid}.raw").write_bytes(bytes(8192))

    await world.sr.scan(call, sr)

    assert world.store.all(VDI) == []


async def test_a_scan_follows_a_size_that_changed(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    with world.image(vdi).open("r+b") as image:
        image.truncate(2 * MIB)
        image.write(b"x" * 65536)

    await world.sr.scan(call, sr)

    assert world.store.get(vdi).virtual_size == 2 * MIB
    assert world.store.get(vdi).physical_utilisation >= 65536
    assert world.store.get(sr).virtual_allocation == 2 * MIB


async def test_an_unplugged_sr_answers_that_it_is_not_attached(
    world: World, sr: Ref[SR], vdi: Ref[VDI], call: Caller
) -> None:
    await world.pbd.unplug(call, world.pbd_of(sr))

    for attempt in (world.sr.scan(call, sr), world.vdi.clone(call, vdi, {}), world.new_vdi(sr)):
        with pytest.raises(errors.SRNotAttached) as caught:
            await attempt
        assert caught.value.wire() == ["SR_NOT_ATTACHED", sr]
    assert VdiOperations.CLONE not in world.store.get(vdi).allowed_operations
    assert StorageOperations.SCAN not in world.store.get(sr).allowed_operations
    assert StorageOperations.FORGET in world.store.get(sr).allowed_operations


async def test_plugging_and_unplugging_twice_is_once(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    pbd = world.pbd_of(sr)

    await world.pbd.plug(call, pbd)
    await world.pbd.unplug(call, pbd)
    await world.pbd.unplug(call, pbd)

    assert not world.store.get(pbd).currently_attached


async def test_a_second_pbd_of_one_host_is_refused(world: World, sr: Ref[SR], call: Caller) -> None:
    with pytest.raises(errors.PBDExists) as caught:
        config = {"location": str(world.directory / "x")}
        await world.pbd.create(call, {"host": world.host, "SR": sr, "device_config": config})

    assert caught.value.wire() == ["PBD_EXISTS", sr, world.host, world.pbd_of(sr)]


async def test_a_plugged_pbd_is_neither_destroyed_nor_changed(
    world: World, sr: Ref[SR], call: Caller
) -> None:
    pbd = world.pbd_of(sr)

    with pytest.raises(errors.OperationNotAllowed):
        await world.pbd.destroy(call, pbd)
    with pytest.raises(errors.OperationNotAllowed):
        await world.pbd.set_device_config(call, pbd, {"location": "/srv/elsewhere"})

    await world.pbd.unplug(call, pbd)
    with pytest.raises(errors.SRBackendFailure):
        await world.pbd.set_device_config(call, pbd, {"location": "/etc"})
    await world.pbd.set_device_config(call, pbd, {"location": "/srv/elsewhere"})
    await world.pbd.destroy(call, pbd)
    assert world.store.all(PBD) == []


async def test_what_was_plugged_is_plugged_again_after_a_restart(
    world: World, sr: Ref[SR], vdi: Ref[VDI], tmp_path: Path
) -> None:
    await closed(world)

    again = await opened(tmp_path)
    await again.disks.restore()

    assert again.store.get(again.pbd_of(sr)).currently_attached
    await again.sr.scan(Caller(), sr)
    await again.vdi.clone(Caller(), vdi, {})
    await closed(again)


async def test_storage_that_is_gone_after_a_restart_is_unplugged(
    world: World, sr: Ref[SR], tmp_path: Path
) -> None:
    await closed(world)
    (tmp_path / "local").rename(tmp_path / "elsewhere")

    again = await opened(tmp_path)
    await again.disks.restore()

    assert not again.store.get(again.pbd_of(sr)).currently_attached
    with pytest.raises(errors.SRNotAttached):
        await again.sr.scan(Caller(), sr)
    await closed(again)


async def test_operations_that_cannot_share_an_sr_wait_for_one_another(
    world: World, sr: Ref[SR]
) -> None:
    async with world.operations.claim(Caller(), sr, StorageOperations.VDI_CREATE):
        await world.new_vdi(sr)
        with pytest.raises(errors.OtherOperationInProgress):
            await world.pbd.unplug(Caller(), world.pbd_of(sr))
        assert StorageOperations.UNPLUG not in world.store.get(sr).allowed_operations

    await world.pbd.unplug(Caller(), world.pbd_of(sr))
