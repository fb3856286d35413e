"""Disks of guests through the worker and the mock libxl: the code that runs on Xen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel import errors
from xapid.datamodel.enums import DomainType, VmPowerState
from xapid.datamodel.vbd import VBD
from xapid.xen.client import XenClient

from ..conftest import Boot
from .world import Caller, World, closed, opened

RUNNING = VmPowerState.RUNNING


@pytest.fixture
async def live(tmp_path: Path, xen: XenClient) -> AsyncIterator[World]:
    world = await opened(tmp_path, xen)
    yield world
    await closed(world)


async def test_a_disk_is_plugged_and_unplugged(live: World, xen: XenClient, boot: Boot) -> None:
    vm = await live.new_vm(RUNNING, domid=await boot("pvh"))
    vdi = await live.new_vdi(await live.new_sr())
    vbd = await live.new_vbd(vm, vdi)

    await live.vbd.plug(Caller(), vbd)
    (disk,) = await xen.disk_list(live.domid(vm))
    assert disk.disk["vdev"] == "xvda"
    assert disk.disk["pdev_path"] == str(live.image(vdi))
    await live.vbd.unplug(Caller(), vbd)

    assert await xen.disk_list(live.domid(vm)) == []
    await live.vbd.plug(Caller(), vbd)
    assert live.store.get(vbd).device == "xvda"


async def test_a_guest_that_refuses_is_asked_and_then_overruled(
    live: World, xen: XenClient, boot: Boot
) -> None:
    domid = await boot("pvh")
    vm = await live.new_vm(RUNNING, domid=domid)
    vbd = await live.new_vbd(vm, await live.new_vdi(await live.new_sr()))
    await live.vbd.plug(Caller(), vbd)
    await xen.mock_domain(domid, "refuse_unplug")
    await xen.mock_set(unplug_timeout_ms=30)

    with pytest.raises(errors.DeviceDetachTimeout):
        await live.vbd.unplug(Caller(), vbd)
    assert live.store.get(vbd).currently_attached

    await live.vbd.unplug_force(Caller(), vbd)
    assert await xen.disk_list(domid) == []


async def test_a_disk_that_another_toolstack_took_counts_as_unplugged(
    live: World, xen: XenClient, boot: Boot
) -> None:
    domid = await boot("pv")
    vbd = await live.new_vbd(
        await live.new_vm(RUNNING, domid=domid, domain_type=DomainType.PV),
        await live.new_vdi(await live.new_sr()),
    )
    await live.vbd.plug(Caller(), vbd)
    await xen.disk_remove(domid, "xvda", force=True)

    await live.vbd.unplug(Caller(), vbd)

    assert not live.store.get(vbd).currently_attached


async def test_discs_change_in_the_drive_of_an_hvm_guest(
    live: World, xen: XenClient, boot: Boot
) -> None:
    empty = {"vdev": "hda", "format": "empty", "is_cdrom": 1, "removable": 1}
    domid = await boot("hvm", empty)
    vm = await live.new_vm(RUNNING, domid=domid, domain_type=DomainType.HVM)
    drive = await live.new_drive(vm)
    await live.disks.attach(drive)
    await live.store.set(drive, VBD.currently_attached, True)
    vdi = await live.new_vdi(await live.new_sr())

    await live.vbd.insert(Caller(), drive, vdi)
    (disk,) = await xen.disk_list(domid)
    assert disk.disk["pdev_path"] == str(live.image(vdi))

    await live.vbd.eject(Caller(), drive)
    (disk,) = await xen.disk_list(domid)
    assert not disk.disk.get("pdev_path")
