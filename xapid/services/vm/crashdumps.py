"""Crash dumps of guests: the memory of a crashed domain on a disk of its own, and its record."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from ...datamodel.crashdump import Crashdump
from ...datamodel.declare import Ref
from ...datamodel.enums import VdiType
from ...datamodel.errors import ApiError
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store
from ...undo import Undo
from ...xen.client import XenClient
from ...xen.errors import XenError
from ..operations import Operations
from ..ports import Call, Disks, implements
from .suspend_sr import SuspendSR

log = structlog.get_logger(__name__)

HEADERS = 16 << 20
"""Bytes of a dump beside the memory and its table of pages: headers, notes, registers."""

PAGE_TABLE_SHARE = 128
"""The table of a dump takes 16 bytes for each page of 4 KiB; twice that is kept."""


def dump_size(record: VM) -> int:
    """Bytes that a dump of the VM can take."""
    memory = record.memory_static_max
    return memory + memory // PAGE_TABLE_SHARE + HEADERS


@dataclass
class CrashDumps:
    """Writes crash dumps, and implements the messages of class crashdump."""

    store: Store
    operations: Operations
    xen: XenClient
    disks: Disks
    places: SuspendSR

    async def keep(self, call: Call, record: VM) -> Ref[Crashdump] | None:
        """Dump the VM's crashed domain, whose VM the caller holds; None when that failed.

        A dump that cannot be written is logged, and keeps nobody from ending the domain.
        """
        try:
            dump = await self._write(call, record)
        except (ApiError, XenError) as error:
            log.error("no crash dump was written", vm=record.name_label, reason=str(error))
            return None
        log.info("a crash dump was written", vm=record.name_label, crashdump=dump)
        return dump

    async def _write(self, call: Call, record: VM) -> Ref[Crashdump]:
        sr = self.places.choose_for_crash_dump(record)
        label = f"Crash dump of {record.name_label}"
        async with Undo() as undo:
            image = await self.disks.create(call, sr, dump_size(record), label, VdiType.CRASHDUMP)
            undo.add(self.disks.destroy, call, image)
            path = await self.disks.open(image)
            undo.add(self.disks.close, image)
            await self.xen.core_dump(record.domid, path)
            async with self.store.transaction() as tx:
                dump = tx.create(Crashdump, {Crashdump.VM: record.ref, Crashdump.VDI: image})
            undo.commit()
        await self.disks.close(image)
        return dump

    @implements(Crashdump.destroy)
    async def destroy(self, call: Call, dump: Ref[Crashdump]) -> None:
        """Remove the record, then the image; the record comes back when the image cannot go."""
        record = self.store.get(dump)
        async with Undo() as undo:
            async with self.store.transaction() as tx:
                tx.destroy(dump)
            undo.add(self._restore, record)
            if self.store.find(VDI, record.VDI) is not None:
                await self.disks.destroy(call, record.VDI)
            undo.commit()

    async def _restore(self, record: Crashdump) -> None:
        values = {name: record.row[name] for name in ("VM", "VDI", "other_config")}
        async with self.store.transaction() as tx:
            tx.create(Crashdump, values, ref=record.ref, uuid=record.uuid)
