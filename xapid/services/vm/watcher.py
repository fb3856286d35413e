"""Keeps the VM records true to what Xen has, whoever changed it.

The list of domains is level-triggered, so one function, `settle`, serves every case: a guest that
powered itself off, `xl destroy`, a domain made by another toolstack, the first look after a start
of the daemon. It is idempotent, leaves alone a VM that an operation holds, and never touches a
domain that is not ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import OnCrashBehaviour, OnNormalExit, VmOperations, VmPowerState
from ...datamodel.errors import ApiError
from ...datamodel.host import Host
from ...datamodel.vbd import VBD
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...db.store import Store
from ...xen.devices import WITH_DOMAIN
from ...xen.domains import DomainTable, half_made
from ...xen.errors import XenError, XenUnavailable
from ...xen.types import Domain
from ..operations import Operations
from ..ports import Call, Calls
from . import state
from .brake import RestartBrake
from .crashdumps import CrashDumps
from .foreign import ForeignDomains
from .power import Power
from .rules import BESIDE_OTHERS

log = structlog.get_logger(__name__)

RESTARTS = {
    OnCrashBehaviour.RESTART,
    OnCrashBehaviour.COREDUMP_AND_RESTART,
    OnCrashBehaviour.RENAME_RESTART,
}
DUMPS = {
    OnCrashBehaviour.COREDUMP_AND_DESTROY,
    OnCrashBehaviour.COREDUMP_AND_RESTART,
    # A domain kept beside its successor would share its disks; a dump keeps what it had in mind.
    OnCrashBehaviour.RENAME_RESTART,
}
RETRY_S = 5.0
DEVICES_AT_ONCE = 8
CRASHES = ("crash", "watchdog")


def _state(record: VM) -> tuple[object, ...]:
    """What operations change in a record together with its domain."""
    return record.power_state, record.domid, record.current_operations


@dataclass
class Watcher:
    """Settles VMs whenever Xen's list of domains has changed.

    device_owners: what to ask which devices a domain has that was not started by us just now.
    """

    store: Store
    operations: Operations
    calls: Calls
    power: Power
    domains: DomainTable
    foreign: ForeignDomains
    brake: RestartBrake
    crash_dumps: CrashDumps
    host: Ref[Host]
    now: Callable[[], datetime]
    device_owners: Sequence[Callable[[VM], Awaitable[None]]]
    _settling: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _preserved: dict[str, int] = field(default_factory=dict)
    _looking: list[asyncio.Task[None]] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _ready: bool = False

    def observe(self, domains: Sequence[Domain]) -> None:
        """Take a new list of domains, and settle every VM that it says something new about."""
        if not any(domain.domid == 0 for domain in domains):
            log.error("a list of domains without the control domain is not believed")
            return
        self.domains.update(domains)
        before, self._seen = self._seen, self.domains.uuids()
        if self._ready:
            known = (self.store.by_uuid(VM, uuid) for uuid in before | self._seen)
            self._settle_all(self.store.get(vm) for vm in known if vm is not None)
            self.foreign.update(self.domains.all())

    async def reconcile(self) -> None:
        """The first look: settle every VM, and wait for it. Xen's list must have come before."""
        self._ready = True
        for record in self.store.all(VM):
            self.settle(record.ref, first=True)
        self.foreign.update(self.domains.all())
        while self._settling:
            await asyncio.gather(*self._settling.values())
        self.operations.on_release(self.released)
        self._looking.append(asyncio.create_task(self._keep_looking(), name="keep looking"))

    async def restore_devices(self) -> None:
        """After the first look: record which devices and consoles every domain has.

        Logs what fails.
        """
        limit = asyncio.Semaphore(DEVICES_AT_ONCE)

        async def one(vm: VM, reconcile: Callable[[VM], Awaitable[None]]) -> None:
            async with limit:
                try:
                    await reconcile(vm)
                except (ApiError, XenError) as error:
                    log.error("devices of a guest not known", vm=vm.name_label, error=str(error))

        for vm in self.store.all(VM):
            if vm.consoles and vm.power_state not in WITH_DOMAIN:
                await self.power.consoles.withdraw(vm.ref)
        living = [vm for vm in self.store.all(VM) if vm.power_state in WITH_DOMAIN]
        for vm in living:
            if not (vm.is_control_domain or vm.is_foreign_domain):
                self.power.consoles.publish(vm.ref, vm.domid)
        guests = [vm for vm in living if vm.VBDs or vm.VIFs]
        for reconcile in self.device_owners:
            await asyncio.gather(*(one(vm, reconcile) for vm in guests))

    async def close(self) -> None:
        """Stop settling; what is half done is done again at the next start."""
        self._ready = False
        settling = [*self._settling.values(), *self._looking]
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)

    def released(self, obj: Ref[Any]) -> None:
        """Look again at a VM when an operation on it or one of its devices has ended.

        News of its domain that came meanwhile was left alone.
        """
        record = next((r for c in (VM, VBD, VIF) if (r := self.store.find(c, obj))), None)
        if record is not None:
            self.settle(Ref(obj) if isinstance(record, VM) else record.row["VM"])

    async def _keep_looking(self) -> None:
        """Look again every few seconds at each VM that something kept from being settled."""
        while True:
            await asyncio.sleep(RETRY_S)
            self._settle_all(self.store.all(VM))

    def settle(self, vm: Ref[VM], *, first: bool = False) -> None:
        """Look at one VM soon; another look is had if something changes during this one."""
        if not self._ready:
            return
        if vm in self._settling:
            self._again.add(vm)
            return
        task = asyncio.create_task(self._settle(vm, first), name=f"settle {vm}")
        self._settling[vm] = task
        task.add_done_callback(lambda _: self._settled(vm))

    def _settled(self, vm: Ref[VM]) -> None:
        self._settling.pop(vm, None)
        if vm in self._again:
            self._again.discard(vm)
            self.settle(vm)

    def _settle_all(self, records: Iterable[VM]) -> None:
        """Settle those that do not agree with Xen's list."""
        for record in records:
            domain = self.domains.get(record.uuid)
            if not record.is_control_domain and not self._agree(record, domain):
                self.settle(record.ref)

    @staticmethod
    def _agree(record: VM, domain: Domain | None) -> bool:
        if domain is None:
            return record.power_state in (VmPowerState.HALTED, VmPowerState.SUSPENDED)
        if domain.dying or domain.shutdown or domain.domid != record.domid:
            return False
        wanted = VmPowerState.PAUSED if domain.paused else VmPowerState.RUNNING
        return record.power_state is wanted

    async def _settle(self, vm: Ref[VM], first: bool) -> None:
        try:
            record = self.store.find(VM, vm)
            if record is None or record.is_control_domain or record.is_foreign_domain:
                return
            if self._agree(record, self.domains.get(record.uuid)):
                return
            # The list may be older than the record: decide on a fresh one.
            before = _state(record)
            self.domains.update(await self.power.xen.domain_list())
            record = self.store.find(VM, vm)
            if record is None:  # destroyed meanwhile
                return
            if _state(record) != before:  # and so this list may be older, too
                self._again.add(vm)
                return
            domain = self.domains.get(record.uuid)
            if self._held(record) or self._agree(record, domain):
                return
            await self._bring_together(record, domain, first)
        except XenUnavailable as error:  # looked at again when xapid-xen is back
            log.warning("VM not looked at", vm=vm, reason=str(error))
        except (ApiError, XenError):
            log.exception("VM not brought in line with its domain", vm=vm)
        except Exception:
            log.exception("bug while looking at a VM", vm=vm)

    @staticmethod
    def _held(record: VM) -> bool:
        return any(op not in BESIDE_OTHERS for op in record.current_operations.values())

    async def _bring_together(self, record: VM, domain: Domain | None, first: bool) -> None:
        if domain is None:
            await self._gone(record)
        elif domain.dying:
            return  # the list without it comes soon
        elif half_made(domain):
            await self._half_made(record, domain)
        elif domain.shutdown and domain.shutdown_reason == "suspend":
            await self._saved(record, domain, first)
        elif domain.shutdown:
            await self._ended(record, domain)
        else:
            await self._adopt(record, domain)

    @asynccontextmanager
    async def _claimed(
        self, record: VM, reason: str, operation: VmOperations
    ) -> AsyncIterator[tuple[Call, VM]]:
        """A call of the daemon's own that holds the VM."""
        async with (
            self.calls.background(f"{record.name_label}: {reason}") as call,
            self.operations.claim(call, record.ref, operation) as held,
        ):
            yield call, held

    async def _gone(self, record: VM) -> None:
        """Nobody has the domain any more: `xl destroy`, or a host that was restarted."""
        async with self._claimed(record, "gone from Xen", VmOperations.HARD_SHUTDOWN) as (_, held):
            # Only under the claim is it sure that nobody has just built the domain.
            self.domains.update(await self.power.xen.domain_list())
            if self.domains.get(record.uuid) is not None:
                return
            log.info("domain is gone", vm=record.name_label, domid=held.domid)
            await self.power.halt(held)
        self.brake.forget(record.ref)

    async def _half_made(self, record: VM, domain: Domain) -> None:
        """A build of ours that a dead instance did not finish; its VM was never started."""
        async with self._claimed(record, "half-made", VmOperations.POWER_STATE_RESET) as (_, held):
            if await self._still(record, domain):
                log.info("removing a half-made domain", vm=held.name_label, domid=domain.domid)
                await self.power.xen.domain_destroy(domain.domid, record.uuid)
        if record.power_state not in (VmPowerState.HALTED, VmPowerState.SUSPENDED):
            await self._gone(record)

    async def _still(self, record: VM, domain: Domain) -> bool:
        """Whether Xen has that very domain now; to be asked under a claim."""
        self.domains.update(await self.power.xen.domain_list())
        now = self.domains.get(record.uuid)
        return now is not None and (now.domid, now.ours) == (domain.domid, domain.ours)

    async def _saved(self, record: VM, domain: Domain, first: bool) -> None:
        """Stopped in a save: after the commit it only has to go, before it the guest goes on."""
        if record.power_state is VmPowerState.SUSPENDED:
            async with self._claimed(record, "saved", VmOperations.POWER_STATE_RESET) as (_, held):
                if held.power_state is VmPowerState.SUSPENDED and await self._still(record, domain):
                    await self.power.xen.domain_destroy(domain.domid, record.uuid)
                    await self.power.builder.release(record)
        elif first and domain.ours:
            log.info("letting a guest go on after an interrupted suspend", vm=record.name_label)
            await self.power.recover_saved(record, domain)

    async def _ended(self, record: VM, domain: Domain) -> None:
        """The guest stopped by itself: do what its actions_after_… say."""
        reason = domain.shutdown_reason
        if domain.domid != record.domid:
            await self._adopt(record, domain)  # its end is dealt with at the next look
            return
        if reason in CRASHES and record.actions_after_crash is OnCrashBehaviour.PRESERVE:
            self._preserve(record)
            return
        log.info("guest has ended", vm=record.name_label, reason=reason, domid=domain.domid)
        if self._restarts(record, reason):
            await self._restart(record, domain)
            return
        async with self._claimed(record, reason, VmOperations.HARD_SHUTDOWN) as (call, held):
            await self._dump(call, held, domain)
            await self.power.halt(held)
        self.brake.forget(record.ref)

    def _preserve(self, record: VM) -> None:
        if self._preserved.get(record.ref) != record.domid:
            self._preserved[record.ref] = record.domid
            log.warning("guest has crashed and stays as it is", vm=record.name_label)

    async def _dump(self, call: Call, record: VM, domain: Domain) -> None:
        """Keep the memory of a crashed guest if its actions_after_crash say so."""
        crashed = domain.shutdown_reason in CRASHES and record.domid == domain.domid
        if crashed and record.actions_after_crash in DUMPS:
            await self.crash_dumps.keep(call, record)

    def _restarts(self, record: VM, reason: str) -> bool:
        if reason in CRASHES:
            if self.brake.gives_up(record.ref):
                log.error("guest crashes in a loop and is left halted", vm=record.name_label)
                return False
            return record.actions_after_crash in RESTARTS
        if reason in ("reboot", "soft_reset"):
            return record.actions_after_reboot is OnNormalExit.RESTART
        return record.actions_after_shutdown is OnNormalExit.RESTART

    async def _restart(self, record: VM, domain: Domain) -> None:
        """Restart a guest that ended; one in a loop after a pause, in which nobody holds it."""
        delay_s = self.brake.delay_s(record.ref)
        if delay_s:
            log.warning("guest restarts too often", vm=record.name_label, waits_s=delay_s)
            if await self._changes_within(delay_s, record, domain):
                return
        self.brake.count(record.ref)
        reason = domain.shutdown_reason
        async with self._claimed(record, reason, VmOperations.HARD_REBOOT) as (call, held):
            await self._dump(call, held, domain)
            await self.power.reboot(call, held)

    async def _adopt(self, record: VM, domain: Domain) -> None:
        """Ours and alive: the record takes over what Xen says."""
        paused = domain.paused
        wanted = VmPowerState.PAUSED if paused else VmPowerState.RUNNING
        image = record.suspend_VDI
        new_domain = domain.domid != record.domid
        async with self.store.transaction() as tx:
            if new_domain:
                state.record_started(
                    tx, record.ref, self.host, domain.domid, self.now(), paused=paused
                )
            else:
                tx.set(record.ref, VM.power_state, wanted)
        if new_domain:
            log.info("took over a running guest", vm=record.name_label, domid=domain.domid)
            self.power.consoles.publish(record.ref, domain.domid)
            for reconcile in self.device_owners:
                await reconcile(self.store.get(record.ref))
        if image != NULL and new_domain:
            async with self.calls.background("Delete an outdated suspend image") as call:
                await self.power.discard_image(call, image)

    async def _changes_within(self, delay_s: float, record: VM, domain: Domain) -> bool:
        """Whether the ended domain goes, or somebody takes hold of its VM, while it waits."""
        try:
            await self.domains.wait(
                record.uuid, lambda now: now is None or now.domid != domain.domid, delay_s
            )
        except TimeoutError:
            now = self.store.find(VM, record.ref)
            return now is None or now.domid != record.domid or self._held(now)
        return True
