"""What changes this host: whether it takes guests, its power, name, logging and licence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import structlog

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import HostAllowedOperations
from ...datamodel.errors import (
    CannotEvacuateHost,
    HostCannotDestroySelf,
    HostInUse,
    HostNotDisabled,
    HostNotLive,
    InvalidValue,
    OperationNotAllowed,
    OtherOperationInProgress,
)
from ...datamodel.host import Host
from ...datamodel.network import Network
from ...datamodel.vm import VM
from ...db.store import Store
from ...db.text import clean_text
from ...durable import replace_file
from ...xen.client import XenClient
from ...xen.errors import XenError
from ..operations import Operations
from ..ports import Call, implements
from .fields import check_hostname, log_destination, read_licence
from .machine import Machine, MachineRefused

T = TypeVar("T")

AUTO_ENABLE = "enable-after-boot"
"""File in the state directory: the boot in which the host was disabled until the next one."""

log = structlog.get_logger(__name__)


@dataclass
class HostStateService:
    """state: the daemon's state directory. boot: what tells this boot from others.

    restart: end the daemon in an orderly way and begin again; called once per request, and must
    return at once, so that the caller still gets an answer.
    """

    store: Store
    operations: Operations
    xen: XenClient
    machine: Machine
    host: Ref[Host]
    state: Path
    boot: str
    now: Callable[[], datetime]
    restart: Callable[[], None]

    async def start(self) -> None:
        """Enable the host if it was disabled until its next boot, and this is a later one."""
        await self.operations.refresh(self.host)
        disabled_in = await asyncio.to_thread(self._read_promise)
        if disabled_in not in ("", self.boot):
            await self._set_enabled(enabled=True)
            await asyncio.to_thread(self._promise, keep=False)
            log.info("the host was disabled until this boot and is enabled again")

    # Guests or none

    @implements(Host.disable)
    async def disable(self, call: Call, host: Ref[Host], auto_enable: bool = True) -> None:
        self._check_here(host)
        await asyncio.to_thread(self._promise, keep=auto_enable)
        await self._set_enabled(enabled=False)

    @implements(Host.enable)
    async def enable(self, call: Call, host: Ref[Host]) -> None:
        self._check_here(host)
        async with self.operations.claim(call, host, Host.enable):
            await self._set_enabled(enabled=True)
            await asyncio.to_thread(self._promise, keep=False)

    async def _set_enabled(self, *, enabled: bool) -> None:
        await self.store.set(self.host, Host.enabled, enabled)

    def _promise(self, *, keep: bool) -> None:
        path = self.state / AUTO_ENABLE
        if not keep:
            path.unlink(missing_ok=True)
            return
        replace_file(path, self.boot.encode())

    def _read_promise(self) -> str:
        try:
            return (self.state / AUTO_ENABLE).read_text().strip()
        except FileNotFoundError:
            return ""

    @implements(Host.assert_can_evacuate)
    async def assert_can_evacuate(self, call: Call, host: Ref[Host]) -> None:
        self._check_here(host)
        self._check_empty(host)

    @implements(Host.evacuate)
    async def evacuate(
        self,
        call: Call,
        host: Ref[Host],
        network: Ref[Network] = NULL,
        evacuate_batch_size: int = 0,
    ) -> None:
        """There is no other host to move guests to, so it succeeds when there are none."""
        self._check_here(host)
        if evacuate_batch_size < 0:
            raise InvalidValue("evacuate_batch_size", str(evacuate_batch_size))
        async with self.operations.claim(call, host, Host.evacuate):
            self._check_empty(host)

    def _check_empty(self, host: Ref[Host]) -> None:
        guests = [vm for vm in self.store.all(VM) if vm.resident_on == host]
        stuck = [f"NO_HOSTS_AVAILABLE,{vm.ref}" for vm in guests if not vm.is_control_domain]
        if stuck:
            raise CannotEvacuateHost("|".join(stuck))

    # Power

    @implements(Host.shutdown)
    async def shutdown(self, call: Call, host: Ref[Host]) -> None:
        await self._end(call, host, HostAllowedOperations.SHUTDOWN, self.machine.power_off)

    @implements(Host.reboot)
    async def reboot(self, call: Call, host: Ref[Host]) -> None:
        await self._end(call, host, HostAllowedOperations.REBOOT, self.machine.reboot)

    async def _end(
        self,
        call: Call,
        host: Ref[Host],
        operation: HostAllowedOperations,
        act: Callable[[], Awaitable[None]],
    ) -> None:
        self._check_here(host)
        async with self.operations.claim(call, host, operation):
            await self.check_unused()
            await asked(act())

    async def check_unused(self) -> None:
        """The host is disabled, nothing begins, and Xen runs nothing but the control domain.

        Raises HOST_NOT_DISABLED, OTHER_OPERATION_IN_PROGRESS, HOST_IN_USE, and
        OPERATION_NOT_ALLOWED where Xen does not answer.
        """
        if self.store.get(self.host).enabled:
            raise HostNotDisabled()
        for vm in self.store.all(VM):
            for task, running in vm.current_operations.items():
                raise OtherOperationInProgress("VM", vm.ref, running, task)
        # Xen has the last word: a domain of another toolstack may be younger than our records.
        try:
            domains = await self.xen.domain_list()
        except XenError as error:
            raise OperationNotAllowed(
                f"Xen does not say whether guests run: {clean_text(str(error))}"
            ) from error
        guests = {domain.uuid for domain in domains if domain.domid != 0}
        if guests:
            known = (vm.ref for vm in self.store.all(VM) if vm.uuid in guests)
            raise HostInUse(self.host, "VM", next(known, NULL))

    @implements(Host.restart_agent)
    async def restart_agent(self, call: Call, host: Ref[Host]) -> None:
        self._check_here(host)
        log.info("the daemon restarts because a client asked")
        self.restart()

    # Settings

    @implements(Host.set_hostname_live)
    async def set_hostname_live(self, call: Call, host: Ref[Host], hostname: str) -> None:
        self._check_here(host)
        check_hostname(hostname)
        await asked(self.machine.set_hostname(hostname))
        await self.store.set(host, Host.hostname, hostname)

    @implements(Host.syslog_reconfigure)
    async def syslog_reconfigure(self, call: Call, host: Ref[Host]) -> None:
        self._check_here(host)
        destination = log_destination(self.store.get(host).logging)
        await asked(self.machine.forward_logs(destination))

    @implements(Host.license_apply)
    async def license_apply(self, call: Call, host: Ref[Host], contents: str) -> None:
        """Keep what a licence says; nothing here is bound to one."""
        licence = read_licence(contents, self.now())
        await self.store.set(host, Host.license_params, licence)

    @implements(Host.destroy)
    async def destroy(self, call: Call, host: Ref[Host]) -> None:
        if host == self.host:
            raise HostCannotDestroySelf(host)
        async with self.store.transaction() as tx:
            tx.destroy(host)

    def _check_here(self, host: Ref[Host]) -> None:
        if host != self.host:
            raise HostNotLive()


async def asked(work: Awaitable[T]) -> T:
    """What the operating system did. Raises OPERATION_NOT_ALLOWED with its reason."""
    try:
        return await work
    except MachineRefused as error:
        raise OperationNotAllowed(str(error)) from error
