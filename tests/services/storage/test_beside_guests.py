"""What may be done to a disk while a guest writes to it, on storage that says it can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import VdiOperations, VmPowerState
from xapid.datamodel.errors import SROperationNotSupported, VDIInUse
from xapid.datamodel.sr import SR
from xapid.datamodel.vdi import VDI
from xapid.storage import dummy
from xapid.storage.driver import Capability

from .world import MIB, Caller, World, closed, opened


class AbleDriver(dummy.DummyDriver):
    """Memory, in place of directories, that does everything beside a guest."""

    info = replace(dummy.INFO, type="file", capabilities=frozenset(Capability))


@pytest.fixture
async def able(tmp_path: Path) -> AsyncIterator[World]:
    world = await opened(tmp_path, driver=AbleDriver())
    await world.kinds.publish()
    yield world
    await closed(world)


async def written_disk(world: World) -> Ref[VDI]:
    """A disk that a running guest has plugged, to write to."""
    vdi = await world.new_vdi(await world.new_sr())
    vbd = await world.new_vbd(await world.new_vm(VmPowerState.RUNNING), vdi)
    await world.vbd.plug(Caller(), vbd)
    return vdi


async def test_a_written_disk_is_snapshotted_where_storage_can(able: World) -> None:
    vdi = await written_disk(able)
    assert VdiOperations.SNAPSHOT in able.store.get(vdi).allowed_operations

    snapshot = await able.vdi.snapshot(Caller(), vdi)

    assert able.store.get(snapshot).read_only
    assert able.store.get(vdi).storage_lock


async def test_a_written_disk_is_not_snapshotted_elsewhere(world: World, sr: Ref[SR]) -> None:
    vdi = await world.new_vdi(sr)
    vbd = await world.new_vbd(await world.new_vm(VmPowerState.RUNNING), vdi)
    await world.vbd.plug(Caller(), vbd)

    with pytest.raises(VDIInUse):
        await world.vdi.snapshot(Caller(), vdi)


async def test_a_written_disk_is_not_copied_even_where_storage_can_snapshot(able: World) -> None:
    vdi = await written_disk(able)

    with pytest.raises(VDIInUse):
        await able.vdi.copy(Caller(), vdi)


async def test_a_written_disk_grows_where_storage_can(able: World) -> None:
    vdi = await written_disk(able)

    await able.vdi.resize_online(Caller(), vdi, 2 * MIB)

    assert able.store.get(vdi).virtual_size == 2 * MIB


async def test_a_disk_that_nothing_would_tell_a_guest_of_stays_as_it_is(world: World) -> None:
    vdi = await written_disk(world)

    with pytest.raises(SROperationNotSupported):
        await world.vdi.resize_online(Caller(), vdi, 2 * MIB)

    assert world.store.get(vdi).virtual_size == MIB
