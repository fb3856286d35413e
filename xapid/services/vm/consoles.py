"""Console records: where a guest's text console and screen are, as long as it runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ...datamodel.console import Console
from ...datamodel.declare import Ref
from ...datamodel.enums import ConsoleProtocol, DomainType
from ...datamodel.errors import OperationNotAllowed
from ...datamodel.vm import VM
from ...db.store import Store
from ...xen.client import XenClient
from ...xen.devices import WITH_DOMAIN
from ...xen.errors import XenError
from ...xen.plan import domain_type
from ..ports import Call, overrides

log = structlog.get_logger(__name__)

TTY_WAITS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
"""xenconsoled publishes a console a moment after the domain exists and tells nobody."""


@dataclass
class Consoles:
    """Publishes the consoles of running guests; a record outlives the daemon with its guest."""

    store: Store
    xen: XenClient
    vnc_directory: Path | None
    _finding: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def publish(self, vm: Ref[VM], domid: int) -> None:
        """Begin to publish the consoles of a domain; they appear once Xen has them."""
        self._stop_finding(vm)
        self._finding[vm] = asyncio.create_task(self._publish(vm, domid), name=f"consoles {domid}")

    async def withdraw(self, vm: Ref[VM]) -> None:
        """Remove the console records of a VM that no longer runs."""
        self._stop_finding(vm)
        async with self.store.transaction() as tx:
            record = tx.find(VM, vm)
            for console in record.consoles if record is not None else ():
                tx.destroy(console)

    @overrides("console.destroy")
    async def destroy(self, call: Call, console: Ref[Console]) -> None:
        """A guest's console goes with its domain, and not before."""
        async with self.store.transaction() as tx:
            vm = tx.find(VM, tx.get(console).VM)
            if vm is not None and vm.power_state in WITH_DOMAIN:
                raise OperationNotAllowed(f"the console belongs to {vm.name_label}, which runs")
            tx.destroy(console)

    async def close(self) -> None:
        """Stop looking for consoles."""
        finding = list(self._finding.values())
        for vm in list(self._finding):
            self._stop_finding(Ref(vm))
        await asyncio.gather(*finding, return_exceptions=True)

    def _stop_finding(self, vm: Ref[VM]) -> None:
        if (task := self._finding.pop(vm, None)) is not None:
            task.cancel()

    async def _publish(self, vm: Ref[VM], domid: int) -> None:
        tty = await self._find_tty(domid)
        async with self.store.transaction() as tx:
            record = tx.find(VM, vm)
            if record is None or record.domid != domid:
                return
            locations = {ConsoleProtocol.VT100: f"file://{tty}"} if tty else {}
            if domain_type(record) is DomainType.HVM and self.vnc_directory is not None:
                locations[ConsoleProtocol.RFB] = f"unix://{self.vnc_directory / record.uuid}"
            for known in map(tx.get, record.consoles):
                location = locations.pop(known.protocol, known.location)
                tx.set(known.ref, Console.location, location)
            for protocol, location in locations.items():
                tx.create(Console, {"VM": vm, "protocol": protocol, "location": location})

    async def _find_tty(self, domid: int) -> str:
        for wait_s in TTY_WAITS_S:
            try:
                return str(await self.xen.console_tty(domid))
            except XenError:
                await asyncio.sleep(wait_s)
        log.warning("guest has no text console", domid=domid)
        return ""
