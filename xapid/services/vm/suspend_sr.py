"""Where the memory of a guest goes: that of a suspended one, and that of one that crashed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...datamodel.declare import NULL, Ref
from ...datamodel.errors import VMNoCrashdumpSR, VMNoSuspendSR
from ...datamodel.host import Host
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store


@dataclass
class SuspendSR:
    """Chooses the first that is plugged: the host's, the pool's, the default, that of a disk."""

    store: Store

    def choose(self, record: VM) -> Ref[SR]:
        """A plugged SR that can hold a new disk. Raises VM_NO_SUSPEND_SR."""
        places = [host.suspend_image_sr for host in self.store.all(Host)]
        places += [pool.suspend_image_SR for pool in self.store.all(Pool)]
        chosen = self._first_usable((*places, *self._defaults(record)))
        if chosen is None:
            raise VMNoSuspendSR(record.ref)
        return chosen

    def choose_for_crash_dump(self, record: VM) -> Ref[SR]:
        """A plugged SR that can hold a crash dump. Raises VM_NO_CRASHDUMP_SR."""
        places = [host.crash_dump_sr for host in self.store.all(Host)]
        places += [pool.crash_dump_SR for pool in self.store.all(Pool)]
        chosen = self._first_usable((*places, *self._defaults(record)))
        if chosen is None:
            raise VMNoCrashdumpSR(record.ref)
        return chosen

    def _defaults(self, record: VM) -> list[Ref[SR]]:
        disks = (self.store.find(VDI, self.store.get(vbd).VDI) for vbd in record.VBDs)
        return [
            *(pool.default_SR for pool in self.store.all(Pool)),
            *(disk.SR for disk in disks if disk is not None),
        ]

    def _first_usable(self, places: Iterable[Ref[SR]]) -> Ref[SR] | None:
        return next((sr for sr in places if self._usable(sr)), None)

    def _usable(self, ref: Ref[SR]) -> bool:
        sr = self.store.find(SR, ref) if ref != NULL else None
        if sr is None or sr.content_type == "iso":
            return False
        return any(self.store.get(pbd).currently_attached for pbd in sr.PBDs)
