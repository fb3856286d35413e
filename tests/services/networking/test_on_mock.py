"""Interfaces of guests through the worker and the mock libxl: the code that runs on Xen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel.enums import DomainType, VmPowerState
from xapid.network.memory import MemoryBridges
from xapid.xen.client import XenClient

from ..conftest import Boot
from .world import Caller, World, opened

RUNNING = VmPowerState.RUNNING


@pytest.fixture
async def live(tmp_path: Path, xen: XenClient) -> AsyncIterator[World]:
    world = await opened(tmp_path, MemoryBridges(), xen)
    yield world
    await world.store.close()


@pytest.mark.parametrize("kind", ["pv", "pvh", "hvm"])
async def test_an_interface_is_plugged_and_unplugged(
    live: World, xen: XenClient, kind: str, boot: Boot
) -> None:
    domid = await boot(kind)
    vm = await live.new_vm(RUNNING, domid=domid, domain_type=DomainType(kind))
    vif = await live.new_vif(vm, await live.new_network(), device="2", MTU=9000)

    await live.vif.plug(Caller(), vif)
    (nic,) = await xen.nic_list(domid)
    assert nic.devid == 2
    assert nic.nic["mac"] == live.store.get(vif).MAC
    assert nic.nic["bridge"] == "xapi0"

    await live.vif.unplug(Caller(), vif)
    assert await xen.nic_list(domid) == []
    await live.vif.plug(Caller(), vif)


async def test_a_guest_sends_no_more_than_its_rate(live: World, xen: XenClient, boot: Boot) -> None:
    domid = await boot("pvh")
    vm = await live.new_vm(RUNNING, domid=domid)
    limit = {"qos_algorithm_type": "ratelimit", "qos_algorithm_params": {"kbps": "1000"}}
    vif = await live.new_vif(vm, await live.new_network(), **limit)

    await live.vif.plug(Caller(), vif)

    (nic,) = await xen.nic_list(domid)
    assert (nic.nic["rate_bytes_per_interval"], nic.nic["rate_interval_usecs"]) == (51200, 50_000)
    assert live.store.get(vif).qos_supported_algorithms == ("ratelimit",)


async def test_an_interface_that_another_toolstack_took_counts_as_unplugged(
    live: World, xen: XenClient, boot: Boot
) -> None:
    domid = await boot("pvh")
    vif = await live.new_vif(await live.new_vm(RUNNING, domid=domid), await live.new_network())
    await live.vif.plug(Caller(), vif)
    await xen.nic_remove(domid, devid=0, force=True)

    await live.vif.unplug(Caller(), vif)

    assert not live.store.get(vif).currently_attached
    assert live.bridges.bridges == {}
