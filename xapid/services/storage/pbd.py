"""PBDs: how this host reaches an SR, and whether it does now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...datamodel.declare import Ref
from ...datamodel.enums import StorageOperations
from ...datamodel.errors import HostNotLive, OperationNotAllowed, PBDExists, VDIInUse
from ...datamodel.host import Host
from ...datamodel.pbd import PBD
from ...datamodel.sr import SR
from ...db.store import Store
from ...undo import Undo
from ..ports import Call, Operations, implements, overrides
from .failures import storage_errors
from .kinds import StorageKinds
from .leases import Leases
from .repositories import Repositories


@dataclass
class PBDService:
    store: Store
    operations: Operations
    kinds: StorageKinds
    repositories: Repositories
    leases: Leases
    host: Ref[Host]

    @overrides("PBD.create")
    async def create(self, call: Call, values: Mapping[str, Any]) -> Ref[PBD]:
        """A PBD, not plugged yet. Raises PBD_EXISTS, SR_UNKNOWN_DRIVER, SR_BACKEND_FAILURE."""
        sr, host = values["SR"], values["host"]
        config = dict(values.get("device_config", {}))
        self._check_config(sr, config)
        async with self.store.transaction() as tx:
            for ref in tx.get(sr).PBDs:
                if tx.get(ref).host == host:
                    raise PBDExists(sr, host, ref)
            kept = {"SR": sr, "host": host, "device_config": config}
            return tx.create(PBD, kept | {"other_config": dict(values.get("other_config", {}))})

    @overrides("PBD.destroy")
    async def destroy(self, call: Call, pbd: Ref[PBD]) -> None:
        async with self.store.transaction() as tx:
            record = tx.get(pbd)
            if record.currently_attached:
                raise OperationNotAllowed("the PBD is plugged: unplug it first")
            if tx.get(record.SR).current_operations:
                raise OperationNotAllowed("an operation on the SR of this PBD is under way")
            tx.destroy(pbd)

    @overrides("PBD.set_device_config")
    async def set_device_config(self, call: Call, pbd: Ref[PBD], value: Mapping[str, str]) -> None:
        record = self.store.get(pbd)
        self._check_config(record.SR, value)
        async with self.store.transaction() as tx:
            if tx.get(pbd).currently_attached:
                raise OperationNotAllowed("the PBD is plugged: unplug it first")
            tx.set(pbd, PBD.device_config, dict(value))

    def _check_config(self, sr: Ref[SR], config: Mapping[str, str]) -> None:
        driver = self.kinds.get(self.store.get(sr).type)
        with storage_errors(sr):
            driver.check(config)

    @implements(PBD.plug)
    async def plug(self, call: Call, pbd: Ref[PBD]) -> None:
        """Attach the SR to this host and look what it holds; nothing happens when it is plugged."""
        record = self.store.get(pbd)
        if record.currently_attached:
            return
        if record.host != self.host:
            raise HostNotLive()
        async with (
            self.operations.claim(call, record.SR, StorageOperations.PLUG),
            Undo() as undo,
        ):
            await self.repositories.attach(self.store.get(pbd))
            undo.add(self.repositories.detach, record.SR)
            await self.repositories.scan(record.SR)
            await self.repositories.record_attached(pbd, attached=True)
            undo.commit()

    @implements(PBD.unplug)
    async def unplug(self, call: Call, pbd: Ref[PBD]) -> None:
        """Let go of the SR, or give up trying to attach it. Raises VDI_IN_USE."""
        record = self.store.get(pbd)
        if not record.currently_attached:
            await self.store.set(pbd, PBD.attach_wanted, False)
            return
        async with self.operations.claim(call, record.SR, StorageOperations.UNPLUG) as sr:
            self._check_unused(sr)
            await self.repositories.detach(sr.ref)
            await self.repositories.record_attached(pbd, attached=False)

    def _check_unused(self, sr: SR) -> None:
        for ref in sr.VDIs:
            vdi = self.store.get(ref)
            holders = (self.store.get(vbd) for vbd in vdi.VBDs)
            if self.leases.held(ref) or any(vbd.currently_attached for vbd in holders):
                raise VDIInUse(ref, "unplug")
            if vdi.current_operations:
                raise VDIInUse(ref, next(iter(vdi.current_operations.values())))
