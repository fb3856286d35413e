"""Guests that start with the host: once in each boot, and again while their storage is late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import VmPowerState
from xapid.datamodel.errors import InvalidValue, SRNotAttached
from xapid.datamodel.host import Host
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.vm.autostart import AutoStart, check_auto_poweron
from xapid.services.vm.lifecycle import LifecycleService


@dataclass
class World:
    store: Store
    state: Path
    refusals: dict[str, int] = field(default_factory=dict)
    """Name of a guest -> how often its start fails."""
    tried: list[str] = field(default_factory=list)

    async def start(self, call: object, vm: Ref[VM], paused: bool, force: bool) -> None:
        record = self.store.get(vm)
        self.tried.append(record.name_label)
        if self.refusals.get(record.name_label, 0) > 0:
            self.refusals[record.name_label] -= 1
            raise SRNotAttached(Ref("OpaqueRef:late"))
        await self.store.set(vm, VM.power_state, VmPowerState.RUNNING)

    @asynccontextmanager
    async def background(self, label: str) -> AsyncIterator[Any]:
        yield None

    async def vm(self, name: str, **values: Any) -> Ref[VM]:
        fields = {"name_label": name, "power_state": VmPowerState.HALTED, **values}
        async with self.store.transaction() as tx:
            return tx.create(VM, {getattr(VM, key): value for key, value in fields.items()})

    async def boot(self, boot: str) -> None:
        """The daemon starts in a boot of the host, and has done with its guests."""
        (host,) = self.store.refs(Host)
        starter = AutoStart(
            *(self.store, self, cast(LifecycleService, self), host, self.state, boot),
            again_after_s=(0.0, 0.0),
        )
        await starter.begin()
        for task in starter._starting:
            await task


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await Store.open(
        tmp_path / "state.db", CLASSES, clock=lambda: datetime(2030, 1, 1, tzinfo=UTC)
    )
    async with store.transaction() as tx:
        tx.create(Host, {Host.enabled: True})
    yield World(store, tmp_path)
    await store.close()


MARKED = {"other_config": {"auto_poweron": "true"}}


async def test_only_halted_guests_that_are_marked_start(world: World) -> None:
    await world.vm("marked", **MARKED)
    await world.vm("unmarked")
    await world.vm("no", other_config={"auto_poweron": "false"})
    await world.vm("template", is_a_template=True, **MARKED)
    await world.vm("runs", **{**MARKED, "power_state": VmPowerState.RUNNING})

    await world.boot("first")

    assert world.tried == ["marked"]


async def test_a_guest_that_was_halted_since_is_not_started_in_the_same_boot(world: World) -> None:
    vm = await world.vm("guest", **MARKED)

    await world.boot("first")
    await world.store.set(vm, VM.power_state, VmPowerState.HALTED)
    await world.boot("first")
    assert world.tried == ["guest"]
    await world.boot("second")

    assert world.tried == ["guest", "guest"]


async def test_a_guest_whose_storage_is_late_is_tried_again(world: World) -> None:
    world.refusals["late"] = 2
    late = await world.vm("late", **MARKED)
    await world.vm("early", **MARKED)

    await world.boot("first")

    assert sorted(world.tried) == ["early", "late", "late", "late"]
    assert world.store.get(late).power_state is VmPowerState.RUNNING


async def test_a_guest_that_cannot_start_holds_up_nothing(world: World) -> None:
    world.refusals["never"] = 99
    await world.vm("never", **MARKED)

    await world.boot("first")
    await world.boot("first")

    assert world.tried == ["never"] * 3


async def test_a_disabled_host_starts_nothing(world: World) -> None:
    (host,) = world.store.refs(Host)
    await world.store.set(host, Host.enabled, False)
    await world.vm("guest", **MARKED)

    await world.boot("first")

    assert world.tried == []


@pytest.mark.parametrize("value", ["yes", "on", "2"])
def test_a_mark_that_is_neither_true_nor_false_is_refused(value: str) -> None:
    with pytest.raises(InvalidValue):
        check_auto_poweron(value)
