"""The messages that move a VM between the states of figure 1.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import DomainType, VmOperations, VmPowerState
from ...datamodel.errors import (
    CannotResetControlDomain,
    HostDisabled,
    HostNotLive,
    InvalidValue,
    OperationNotAllowed,
    OtherOperationInProgress,
    VMHVMRequired,
)
from ...datamodel.host import Host
from ...datamodel.vm import VM
from ...db.store import Store
from ...xen.client import XenClient
from ...xen.plan import domain_type
from ..operations import Operations
from ..ports import Call, implements
from .power import Power

TRIGGERS = frozenset({"nmi", "reset", "init", "power", "sleep", "s3resume"})


@dataclass
class LifecycleService:
    """Claims the VM for each arrow and lets `Power` take it."""

    store: Store
    operations: Operations
    power: Power
    xen: XenClient
    host: Ref[Host]

    @implements(VM.start)
    async def start(self, call: Call, vm: Ref[VM], start_paused: bool, force: bool) -> None:
        async with self.operations.claim(call, vm, VM.start) as record:
            self._check_host(self.host)
            await self.power.start(call, record, paused=start_paused, force=force)

    @implements(VM.start_on)
    async def start_on(
        self, call: Call, vm: Ref[VM], host: Ref[Host], start_paused: bool, force: bool
    ) -> None:
        async with self.operations.claim(call, vm, VM.start_on) as record:
            self._check_host(host)
            await self.power.start(call, record, paused=start_paused, force=force)

    def _check_host(self, host: Ref[Host]) -> None:
        if host != self.host:
            raise HostNotLive()
        if not self.store.get(host).enabled:
            raise HostDisabled(host)

    @implements(VM.pause)
    async def pause(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.pause) as record:
            await self.power.pause(record)

    @implements(VM.unpause)
    async def unpause(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.unpause) as record:
            await self.power.unpause(record)

    @implements(VM.clean_shutdown)
    async def clean_shutdown(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.clean_shutdown) as record:
            await self.power.ask_to_shut_down(record)
            if not await self.power.halt(record):
                self._check_ended(vm)

    def _check_ended(self, vm: Ref[VM]) -> None:
        """Somebody else ended the domain meanwhile: well if the VM is halted, else not."""
        record = self.store.get(vm)
        if record.power_state is not VmPowerState.HALTED:
            for task, operation in record.current_operations.items():
                raise OtherOperationInProgress("VM", vm, operation, task)
            raise OperationNotAllowed(f"{record.name_label} was started again meanwhile")

    @implements(VM.hard_shutdown)
    async def hard_shutdown(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.hard_shutdown) as record:
            image = record.suspend_VDI
            await self.power.halt(record)
            if image != NULL:
                await self.power.discard_image(call, image)

    @implements(VM.clean_reboot)
    async def clean_reboot(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.clean_reboot) as record:
            await self.power.ask_to_reboot(record)
            await self.operations.promote(call, vm, VmOperations.HARD_REBOOT)
            await self.power.reboot(call, record)

    @implements(VM.hard_reboot)
    async def hard_reboot(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.hard_reboot) as record:
            await self.power.reboot(call, record)

    @implements(VM.suspend)
    async def suspend(self, call: Call, vm: Ref[VM]) -> None:
        async with self.operations.claim(call, vm, VM.suspend) as record:
            await self.power.suspend(call, record)

    @implements(VM.resume)
    async def resume(self, call: Call, vm: Ref[VM], start_paused: bool, force: bool) -> None:
        async with self.operations.claim(call, vm, VM.resume) as record:
            self._check_host(self.host)
            await self.power.resume(call, record, paused=start_paused, force=force)

    @implements(VM.resume_on)
    async def resume_on(
        self, call: Call, vm: Ref[VM], host: Ref[Host], start_paused: bool, force: bool
    ) -> None:
        async with self.operations.claim(call, vm, VM.resume_on) as record:
            self._check_host(host)
            await self.power.resume(call, record, paused=start_paused, force=force)

    @implements(VM.pool_migrate)
    async def pool_migrate(
        self, call: Call, vm: Ref[VM], host: Ref[Host], options: Mapping[str, str]
    ) -> None:
        """There is no other host in the pool to go to; the refusal says so."""
        refused = self.operations.refusal(vm, VmOperations.POOL_MIGRATE)
        if refused is not None:
            raise refused

    @implements(VM.power_state_reset)
    async def power_state_reset(self, call: Call, vm: Ref[VM]) -> None:
        if self.store.get(vm).is_control_domain:
            raise CannotResetControlDomain(vm)
        async with self.operations.claim(call, vm, VM.power_state_reset) as record:
            image = record.suspend_VDI
            await self.power.halt(record)
            if image != NULL:
                await self.power.discard_image(call, image)

    @implements(VM.send_sysrq)
    async def send_sysrq(self, call: Call, vm: Ref[VM], key: str) -> None:
        if not (len(key) == 1 and key.isascii() and key.isalnum()):
            raise InvalidValue("key", key)
        async with self.operations.claim(call, vm, VM.send_sysrq) as record:
            await self.xen.send_sysrq(record.domid, key)

    @implements(VM.send_trigger)
    async def send_trigger(self, call: Call, vm: Ref[VM], trigger: str) -> None:
        if trigger not in TRIGGERS:
            raise InvalidValue("trigger", trigger)
        async with self.operations.claim(call, vm, VM.send_trigger) as record:
            if domain_type(record) is not DomainType.HVM:
                raise VMHVMRequired(vm)
            await self.xen.send_trigger(record.domid, trigger, 0)
