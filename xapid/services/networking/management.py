"""The management interface: where the API is reached on the network, and whether it is at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ...datamodel.declare import NULL, Ref
from ...datamodel.errors import (
    CannotPlugBondSlave,
    InterfaceHasNoIP,
    PIFDeviceNotFound,
    PIFNotAttachedToHost,
)
from ...datamodel.host import Host
from ...datamodel.pif import PIF
from ...db.store import Store
from ..ports import Call, implements_static
from .guard import KEPT, Before, Guard
from .pif import PIFService
from .records import follow_management

LOCAL = "local"
"""The path of a client on the Unix socket."""

ANSWER_LEAVES_WITHIN_S = 1.0
Serve = Callable[[bool], Awaitable[None]]


@dataclass
class ManagementService:
    store: Store
    pifs: PIFService
    guard: Guard
    host: Ref[Host]
    _serve: Serve | None = None
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, serve: Serve) -> None:
        """serve: opens or closes the API on the network."""
        self._serve = serve
        async with self.store.transaction() as tx:
            for pif in self.store.all(PIF):
                follow_management(tx, pif.ref)
        if not self.guard.served:
            await serve(False)
        await self.guard.start(self._restore)

    async def close(self) -> None:
        """Stop waiting for confirmations."""
        await self.guard.close()
        for task in self._ending:
            task.cancel()

    @implements_static(Host.management_reconfigure)
    async def reconfigure(self, call: Call, pif: Ref[PIF]) -> None:
        """It is taken back in 60 s unless a client reaches the API at the PIF's address."""
        await self._move(pif)

    @implements_static(Host.local_management_reconfigure)
    async def local_reconfigure(self, call: Call, interface: str) -> None:
        found = (p for p in self.store.all(PIF) if _called(p) == interface)
        pif = next(found, None)
        if pif is None:
            raise PIFDeviceNotFound
        await self._move(pif.ref)

    async def _move(self, pif: Ref[PIF]) -> None:
        async with self.pifs.uplinks.changing:
            record = self.store.get(pif)
            if record.host != self.host:
                raise PIFNotAttachedToHost(pif, self.host)
            if record.bond_slave_of != NULL:
                raise CannotPlugBondSlave(pif)
            if not record.currently_attached or not record.IP:
                raise InterfaceHasNoIP(record.device)
            await self.guard.begin()
            await self._set_management(pif)
            await self.guard.serve(served=True)
            await self._open(served=True)
            await self.guard.expect(self.store.get(pif).IP)

    async def _set_management(self, chosen: Ref[PIF]) -> None:
        async with self.store.transaction() as tx:
            for pif in self.store.all(PIF):
                if pif.management != (pif.ref == chosen):
                    tx.set(pif.ref, PIF.management, pif.ref == chosen)
            if chosen != NULL:
                tx.set(self.host, Host.address, tx.get(chosen).IP)

    @implements_static(Host.management_disable)
    async def disable(self, call: Call) -> None:
        """Taken back in 60 s unless a client calls over the local socket."""
        async with self.pifs.uplinks.changing:
            await self.guard.begin()
            await self._set_management(NULL)
            await self.guard.serve(served=False)
            task = asyncio.create_task(self._close_later(), name="management")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            await self.guard.expect(LOCAL)

    async def _close_later(self) -> None:
        """The answer to the call itself must leave first."""
        await asyncio.sleep(ANSWER_LEAVES_WITHIN_S)
        if not self.guard.served:
            await self._open(served=False)

    async def _open(self, *, served: bool) -> None:
        if self._serve is not None:
            await self._serve(served)

    async def _restore(self, before: Before) -> None:
        """Put the addresses back as they were, and serve the network if that was done."""
        async with self.pifs.uplinks.changing:
            for uuid, fields in before.pifs.items():
                ref = self.store.by_uuid(PIF, uuid)
                if ref is None:
                    continue
                record = self.store.get(ref)
                if any(record.row[name] != fields[name] for name in KEPT):
                    await self.pifs.change_address(record, fields)
            managing = [p for p in self.store.all(PIF) if p.management and p.IP]
            if managing:
                await self.store.set(self.host, Host.address, managing[0].IP)
        if before.served:
            await self.guard.serve(served=True)
            await self._open(served=True)


def _called(pif: PIF) -> str:
    """What an administrator calls the interface."""
    return pif.device if pif.VLAN < 0 else f"{pif.device}.{pif.VLAN}"
