"""The arrows of a VM's life, without asking whether they may be taken: claims are the callers'."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import VdiType, VmPowerState
from ...datamodel.errors import (
    DomainExists,
    OperationNotAllowed,
    VMFailedShutdownAcknowledgment,
    VMFailedSuspendAcknowledgment,
    VMHasNoSuspendVDI,
    VMHasPCIAttached,
    VMMissingPVDrivers,
    VMShutdownTimeout,
)
from ...datamodel.host import Host
from ...datamodel.vm import VM
from ...db.store import Store
from ...db.transaction import Transaction
from ...undo import Undo
from ...xen.client import XenClient
from ...xen.domains import DomainTable, half_made
from ...xen.errors import XenDomainNotFound, XenError, XenNoPVDrivers, XenTimedOut
from ...xen.keys import pci_devices
from ...xen.types import Domain
from ..ports import Call, Disks
from . import state
from .builder import DomainBuilder
from .consoles import Consoles
from .suspend_sr import SuspendSR

log = structlog.get_logger(__name__)

SUSPEND_OVERHEAD = 64 << 20
"""Bytes a saved guest may need beside its memory: page tables, device model, headers."""


def _ended(record: VM, domain: Domain | None) -> bool:
    return domain is None or domain.dying or domain.shutdown or domain.domid != record.domid


@dataclass
class Power:
    """Starts, stops, saves and restores one VM's domain, and writes what became of it.

    One lock a VM keeps the arrows apart; each method looks again, under the lock, whether the
    domain is still the one its caller knew.
    """

    store: Store
    xen: XenClient
    domains: DomainTable
    builder: DomainBuilder
    disks: Disks
    consoles: Consoles
    suspend_sr: SuspendSR
    host: Ref[Host]
    now: Callable[[], datetime]
    shutdown_timeout_s: float
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def lock(self, vm: Ref[VM]) -> asyncio.Lock:
        return self._locks.setdefault(vm, asyncio.Lock())

    async def start(self, call: Call, record: VM, *, paused: bool, force: bool) -> None:
        """Halted to Running or Paused."""
        async with self.lock(record.ref):
            await self._check_no_domain(record)
            await self._boot(call, record, paused=paused, force=force)

    async def _check_no_domain(self, record: VM) -> None:
        """Make way for a new domain: what an unfinished build left goes, anything else stays.

        Raises DOMAIN_EXISTS.
        """
        self.domains.update(await self.xen.domain_list())
        domain = self.domains.get(record.uuid)
        if domain is None:
            return
        if not half_made(domain):
            raise DomainExists(record.ref, domain.domid)
        log.info("removing a half-made domain", vm=record.name_label, domid=domain.domid)
        await self.xen.domain_destroy(domain.domid, record.uuid)

    async def _boot(self, call: Call, record: VM, *, paused: bool, force: bool) -> None:
        async with Undo() as undo:
            domid = await self.builder.build(call, record, undo, force=force)
            undo.add(self._write, lambda tx: state.record_halted(tx, record.ref))
            drives, wires = self.builder.devices(record, booting=True)
            await self._enter(record, domid, [*drives, *wires], paused=paused, booted=True)
            undo.commit()

    async def _enter(
        self,
        record: VM,
        domid: int,
        devices: Collection[Ref[Any]],
        *,
        paused: bool,
        booted: bool = False,
    ) -> None:
        """Commit the new state, then let the domain run: a crash between leaves it paused."""
        async with self.store.transaction() as tx:
            state.record_started(tx, record.ref, self.host, domid, self.now(), paused=paused)
            state.record_devices(tx, record, devices)
            if booted:
                state.record_boot(tx, record.ref, self.host)
        if not paused:
            await self.xen.domain_unpause(domid)
        self.consoles.publish(record.ref, domid)

    async def pause(self, record: VM) -> None:
        async with self.lock(record.ref):
            await self.xen.domain_pause(record.domid)
            await self._set_power_state(record.ref, VmPowerState.PAUSED)

    async def unpause(self, record: VM) -> None:
        async with self.lock(record.ref):
            await self.xen.domain_unpause(record.domid)
            await self._set_power_state(record.ref, VmPowerState.RUNNING)

    async def halt(self, record: VM) -> bool:
        """Take the domain away, if it is still the one in `record`; whether it was."""
        async with self.lock(record.ref):
            if self.store.get(record.ref).domid != record.domid:
                return False
            await self._destroy_domain(record)
            await self.builder.release(record)
            await self.consoles.withdraw(record.ref)
            await self._write(lambda tx: state.record_halted(tx, record.ref))
            return True

    async def reboot(self, call: Call, record: VM, *, force: bool = True) -> None:
        """A new domain in place of the one in `record`, of the VM as it is configured now."""
        async with self.lock(record.ref):
            current = self.store.get(record.ref)
            if current.domid != record.domid:
                raise OperationNotAllowed(f"{record.name_label} is no longer the domain it was")
            await self._destroy_domain(record)
            await self.builder.release(record)
            await self.consoles.withdraw(record.ref)
            try:
                await self._boot(call, current, paused=False, force=force)
            except BaseException:
                await asyncio.shield(self._write(lambda tx: state.record_halted(tx, record.ref)))
                raise

    async def _destroy_domain(self, record: VM) -> None:
        domain = self.domains.get(record.uuid)
        domid = domain.domid if domain is not None else record.domid
        if domid < 0:
            return
        try:
            await self.xen.domain_destroy(domid, record.uuid)
        except XenDomainNotFound:
            log.info("domain was already gone", vm=record.name_label, domid=domid)

    async def ask_to_shut_down(self, record: VM) -> Domain | None:
        """Ask the guest to power off and wait until it has; the domain left behind, if any.

        Raises VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT, VM_SHUTDOWN_TIMEOUT.
        """
        try:
            await self._ask(record, self.xen.domain_shutdown)
        except XenNoPVDrivers:
            # Without PV drivers there is still the power button.
            await self._ask(record, lambda domid: self.xen.send_trigger(domid, "power", 0))
        return await self._wait_for_end(record)

    async def ask_to_reboot(self, record: VM) -> Domain | None:
        """Ask the guest to reboot and wait until it stopped for that.

        Raises VM_MISSING_PV_DRIVERS where the guest cannot be asked, and as above.
        """
        try:
            await self._ask(record, self.xen.domain_reboot)
        except XenNoPVDrivers as error:
            raise VMMissingPVDrivers(record.ref) from error
        return await self._wait_for_end(record)

    async def _ask(self, record: VM, request: Callable[[int], Awaitable[None]]) -> None:
        """Make a request of the guest, which is beside the point once its domain has ended."""
        try:
            await request(record.domid)
        except XenError as error:
            self.domains.update(await self.xen.domain_list())
            if _ended(record, self.domains.get(record.uuid)):
                return
            if isinstance(error, XenTimedOut):
                raise VMFailedShutdownAcknowledgment(record.ref) from error
            raise

    async def _wait_for_end(self, record: VM) -> Domain | None:
        try:
            return await self.domains.wait(
                record.uuid, lambda domain: _ended(record, domain), self.shutdown_timeout_s
            )
        except TimeoutError as error:
            raise VMShutdownTimeout(record.ref, f"{self.shutdown_timeout_s:.0f}") from error

    async def suspend(self, call: Call, record: VM) -> None:
        """Running to Suspended. The commit of the new state is the point of no return."""
        if pci_devices(record.other_config, record.PCI_bus):
            raise VMHasPCIAttached(record.ref)  # a device's own state cannot be saved
        async with self.lock(record.ref), Undo() as undo:
            sr = self.suspend_sr.choose(record)
            size = record.memory_static_max + SUSPEND_OVERHEAD
            label = f"Suspend image of {record.name_label}"
            image = await self.disks.create(call, sr, size, label, VdiType.SUSPEND)
            undo.add(self.disks.destroy, call, image)
            path = await self.disks.open(image)
            undo.add(self.disks.close, image)
            undo.add(self._resume_if_saved, record)
            try:
                await self.xen.domain_suspend(record.domid, path, 0, progress=call.progress)
            except (XenTimedOut, XenNoPVDrivers) as error:
                raise VMFailedSuspendAcknowledgment(record.ref) from error
            await self._write(lambda tx: state.record_suspended(tx, record.ref, image))
            undo.commit()
            await self.disks.close(image)
            await self._destroy_domain(record)
            await self.builder.release(record)
            await self.consoles.withdraw(record.ref)

    async def _resume_if_saved(self, record: VM) -> None:
        """After a failed save: let the guest go on if it had already stopped for it."""
        domains = {d.uuid: d for d in await self.xen.domain_list()}
        domain = domains.get(record.uuid)
        if domain is not None and domain.shutdown and domain.shutdown_reason == "suspend":
            await self.xen.domain_resume(domain.domid)

    async def resume(self, call: Call, record: VM, *, paused: bool, force: bool) -> None:
        """Suspended to Running or Paused. The image goes once the guest has its state back."""
        image = record.suspend_VDI
        if image == NULL:
            raise VMHasNoSuspendVDI(record.ref)
        async with self.lock(record.ref), Undo() as undo:
            await self._check_no_domain(record)
            path = await self.disks.open(image)
            undo.add(self.disks.close, image)
            domid = await self.builder.build(call, record, undo, force=force, image=path)
            undo.add(self._write, lambda tx: state.record_suspended(tx, record.ref, image))
            drives, wires = self.builder.devices(record, booting=False)
            await self._enter(record, domid, [*drives, *wires], paused=paused)
            undo.commit()
            await self.disks.close(image)
            await self.discard_image(call, image)

    async def discard_image(self, call: Call, image: Ref[Any]) -> None:
        """Delete a suspend image that nothing will read again. Logs what fails."""
        try:
            await self.disks.destroy(call, image)
        except Exception:
            log.exception("suspend image not deleted", vdi=image)

    async def recover_saved(self, record: VM, domain: Domain) -> None:
        """Let a guest go on that was being saved when the daemon died."""
        try:
            await self.xen.domain_resume(domain.domid)
        except XenError:
            log.exception("guest not resumed after an interrupted suspend", vm=record.name_label)

    async def _set_power_state(self, vm: Ref[VM], power_state: VmPowerState) -> None:
        await self._write(lambda tx: tx.set(vm, VM.power_state, power_state))

    async def _write(self, write: Callable[[Transaction], None]) -> None:
        async with self.store.transaction() as tx:
            write(tx)
