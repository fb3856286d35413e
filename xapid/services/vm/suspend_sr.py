"""Where a suspended guest's memory goes."""

from __future__ import annotations

from dataclasses import dataclass

from ...datamodel.declare import NULL, Ref
from ...datamodel.errors import VMNoSuspendSR
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store


@dataclass
class SuspendSR:
    """Chooses: the pool's suspend image SR, its default SR, then an SR of the VM's own disks."""

    store: Store

    def choose(self, record: VM) -> Ref[SR]:
        """A plugged SR that can hold a new disk. Raises VM_NO_SUSPEND_SR."""
        for sr in self._candidates(record):
            if self._usable(sr):
                return sr
        raise VMNoSuspendSR(record.ref)

    def _candidates(self, record: VM) -> list[Ref[SR]]:
        pools = self.store.all(Pool)
        chosen = [ref for pool in pools for ref in (pool.suspend_image_SR, pool.default_SR)]
        disks = (self.store.find(VDI, self.store.get(vbd).VDI) for vbd in record.VBDs)
        return chosen + [disk.SR for disk in disks if disk is not None]

    def _usable(self, ref: Ref[SR]) -> bool:
        sr = self.store.find(SR, ref) if ref != NULL else None
        if sr is None or sr.content_type == "iso":
            return False
        return any(self.store.get(pbd).currently_attached for pbd in sr.PBDs)
