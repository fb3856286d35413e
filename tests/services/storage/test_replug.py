"""Storage that comes later than the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import VmPowerState
from xapid.datamodel.errors import VDIInUse
from xapid.datamodel.pbd import PBD
from xapid.datamodel.sr import SR
from xapid.services.storage.replug import Replugger

from .world import Caller, World, closed, opened


class PlayedCalls:
    """Implements `Calls`; under_way: the labels of the calls that have not ended."""

    def __init__(self) -> None:
        self.under_way: set[str] = set()

    @asynccontextmanager
    async def background(self, label: str) -> AsyncIterator[Caller]:
        self.under_way.add(label)
        try:
            yield Caller()
        finally:
            self.under_way.discard(label)


class Clock:
    """Sleeps until it is told to go on. slept: how long each sleep would have been."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._asleep = asyncio.Event()
        self._awake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._asleep.set()
        await self._awake.wait()
        self._awake.clear()

    async def until_asleep(self) -> None:
        await self._asleep.wait()

    async def next(self) -> None:
        """Let the sleeper go on."""
        await self._asleep.wait()
        self._asleep.clear()
        self._awake.set()


@pytest.fixture
async def late(world: World, sr: Ref[SR], tmp_path: Path) -> AsyncIterator[World]:
    """A host that came up without the storage of its SR."""
    vdi = await world.new_vdi(sr)
    vbd = await world.new_vbd(await world.new_vm(VmPowerState.RUNNING), vdi)
    await world.vbd.plug(Caller(), vbd)
    await closed(world)
    (tmp_path / "local").rename(tmp_path / "away")
    again = await opened(tmp_path)
    await again.disks.restore()
    yield again
    await closed(again)


def only_pbd(world: World) -> PBD:
    [pbd] = world.store.all(PBD)
    return pbd


async def test_it_is_tried_again_with_growing_pauses_and_holds_its_disks_for_guests(
    late: World, tmp_path: Path
) -> None:
    clock, calls = Clock(), PlayedCalls()
    replugger = Replugger(late.store, calls, late.pbd, late.host, clock.sleep)
    replugger.start()
    for _ in range(7):
        await clock.next()
    assert not only_pbd(late).currently_attached
    assert calls.under_way == {"Waiting for the storage local"}

    plugged = asyncio.Event()
    late.store.on_change(PBD, lambda tx, pbd: plugged.set())
    (tmp_path / "away").rename(tmp_path / "local")
    going_on = asyncio.create_task(clock.next())  # it may be in an attempt just now
    await plugged.wait()
    going_on.cancel()

    assert only_pbd(late).currently_attached
    assert clock.slept[:7] == [5, 10, 20, 40, 60, 60, 60]
    [vdi] = late.store.get(only_pbd(late).SR).VDIs
    second = await late.new_vbd(await late.new_vm(VmPowerState.RUNNING), vdi)
    with pytest.raises(VDIInUse):
        await late.vbd.plug(Caller(), second)
    await replugger.close()
    assert calls.under_way == set()


async def test_it_is_wanted_until_somebody_unplugs_it(late: World, tmp_path: Path) -> None:
    assert only_pbd(late).attach_wanted
    await closed(late)
    again = await opened(tmp_path)
    await again.disks.restore()
    assert only_pbd(again).attach_wanted and not only_pbd(again).currently_attached
    clock, calls = Clock(), PlayedCalls()
    replugger = Replugger(again.store, calls, again.pbd, again.host, clock.sleep)
    replugger.start()
    await clock.next()
    await clock.until_asleep()

    await again.pbd.unplug(Caller(), only_pbd(again).ref)
    await clock.next()
    await replugger.close()

    assert not only_pbd(again).attach_wanted
    assert calls.under_way == set() and len(clock.slept) == 2
    await closed(again)


async def test_what_is_plugged_is_not_waited_for(world: World, sr: Ref[SR]) -> None:
    clock = Clock()

    replugger = Replugger(world.store, PlayedCalls(), world.pbd, world.host, clock.sleep)
    replugger.start()
    await replugger.close()

    assert only_pbd(world).attach_wanted and clock.slept == []
