"""The watcher while a guest that ends in a loop waits for its restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import OnNormalExit, VmOperations, VmPowerState
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.vm.brake import RestartBrake
from xapid.services.vm.watcher import Watcher
from xapid.xen.domains import DomainTable
from xapid.xen.types import Domain

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DOM0 = Domain(
    *(0, "0" * 36, "Domain-0", False, True, False, False, False),
    *("none", False, None, 1 << 20, 1 << 20, 0, 1, 0),
)


@dataclass
class Host:
    """Xen's list, and what was done to the guest."""

    store: Store
    domains: list[Domain]
    did: list[str] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What happens between the making of a list and its arrival, once."""
    halted: asyncio.Event = field(default_factory=asyncio.Event)

    async def domain_list(self) -> list[Domain]:
        made = list(self.domains)
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return made

    @property
    def xen(self) -> Host:
        return self

    async def reboot(self, call: object, record: VM) -> None:
        self.did.append("reboot")

    async def halt(self, record: VM) -> None:
        self.did.append("halt")
        async with self.store.transaction() as tx:
            tx.set(record.ref, VM.power_state, VmPowerState.HALTED)
            tx.set(record.ref, VM.domid, -1)
        self.halted.set()

    def update(self, domains: object) -> None:
        """Foreign domains are not looked at."""

    async def keep(self, call: object, record: VM) -> None:
        """No dump is made."""

    def on_release(self, told: object) -> None:
        """No operation of a client ends here."""

    @asynccontextmanager
    async def background(self, name: str) -> AsyncIterator[object]:
        yield object()

    @asynccontextmanager
    async def claim(self, call: object, vm: Ref[VM], operation: object) -> AsyncIterator[VM]:
        yield self.store.get(vm)


class Slow(RestartBrake):
    """Lets nothing restart within the time of a test; says when it was asked."""

    asked: ClassVar[asyncio.Event] = asyncio.Event()

    def delay_s(self, vm: str) -> float:
        self.asked.set()
        return 3600.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "state.db", CLASSES, clock=lambda: NOW)
    yield opened
    await opened.close()


def watch(store: Store, host: Host, brake: RestartBrake) -> Watcher:
    anything = cast(Any, host)
    return Watcher(
        *(store, anything, anything, anything, DomainTable(), anything, brake),
        *(anything, NULL, lambda: NOW, ()),
    )


async def test_a_list_from_before_an_operation_ended_changes_nothing(store: Store) -> None:
    async with store.transaction() as tx:
        paused = {"power_state": VmPowerState.PAUSED, "domid": 7}
        vm = tx.create(VM, {**paused, "current_operations": {"task": VmOperations.UNPAUSE}})
    waiting = replace(DOM0, domid=7, uuid=store.get(vm).uuid, ours=True, paused=True)
    running = replace(waiting, paused=False, running=True)
    host = Host(store, [DOM0, waiting])
    watcher = watch(store, host, RestartBrake(asyncio.get_running_loop().time))
    watcher.observe(host.domains)
    await watcher.reconcile()
    looked = asyncio.Event()

    async def unpaused() -> None:
        host.domains = [DOM0, running]
        async with store.transaction() as tx:
            tx.set(vm, VM.power_state, VmPowerState.RUNNING)
            tx.set(vm, VM.current_operations, {})
        host.meanwhile = looked_again

    async def looked_again() -> None:
        looked.set()

    host.meanwhile = unpaused
    try:
        watcher.observe([DOM0, running])
        async with asyncio.timeout(20):
            await looked.wait()
    finally:
        await watcher.close()

    assert store.get(vm).power_state is VmPowerState.RUNNING


async def test_a_guest_that_goes_while_it_waits_for_its_restart_is_halted_at_once(
    store: Store,
) -> None:
    async with store.transaction() as tx:
        vm = tx.create(
            VM,
            {
                "power_state": VmPowerState.RUNNING,
                "domid": 7,
                "actions_after_reboot": OnNormalExit.RESTART,
            },
        )
    alive = replace(DOM0, domid=7, uuid=store.get(vm).uuid, ours=True)
    ended = replace(alive, shutdown=True, shutdown_reason="reboot")
    host = Host(store, [DOM0, alive])
    slow = Slow(asyncio.get_running_loop().time)
    watcher = watch(store, host, slow)
    watcher.observe(host.domains)
    await watcher.reconcile()
    try:
        host.domains = [DOM0, ended]
        watcher.observe(host.domains)
        async with asyncio.timeout(20):
            await slow.asked.wait()
            host.domains = [DOM0]
            watcher.observe(host.domains)
            await host.halted.wait()
    finally:
        await watcher.close()

    assert host.did == ["halt"]


async def test_a_domain_that_has_gone_is_missed_whoever_saw_it_first(store: Store) -> None:
    async with store.transaction() as tx:
        vm = tx.create(VM, {"power_state": VmPowerState.RUNNING, "domid": 7})
    alive = replace(DOM0, domid=7, uuid=store.get(vm).uuid, ours=True, running=True)
    host = Host(store, [DOM0, alive])
    watcher = watch(store, host, RestartBrake(asyncio.get_running_loop().time))
    watcher.observe(host.domains)
    await watcher.reconcile()
    host.domains = [DOM0]
    watcher.domains.update(host.domains)  # as an operation on another VM does
    try:
        watcher.observe(host.domains)
        async with asyncio.timeout(4):  # sooner than the next look at all
            await host.halted.wait()
    finally:
        await watcher.close()

    assert host.did == ["halt"]
