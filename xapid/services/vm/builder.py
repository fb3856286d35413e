"""Building a domain: its disks, wires and memory, then libxl; and taking all that down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from ...datamodel.declare import Ref
from ...datamodel.enums import DomainType
from ...datamodel.errors import BootloaderFailed, HostNotEnoughFreeMemory, InvalidValue
from ...datamodel.vbd import VBD
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...db.store import Store
from ...db.text import clean_text
from ...undo import Undo
from ...xen.bootloader import Bootloader, BootloaderError
from ...xen.client import XenClient
from ...xen.errors import XenError, XenNoMemory
from ...xen.guest_store import GuestMemory, GuestStore, plan_vm_data
from ...xen.plan import (
    KIB,
    BackendDisk,
    Boot,
    BootPaths,
    cpu_mask,
    domain_type,
    memory_target,
    plan_boot,
    plan_disk,
    plan_domain,
    plan_nic,
    plan_restore,
    sched_params,
)
from ..ports import Call, Disks, TPMs, Wires
from .bootfiles import BootFiles
from .memory import MemoryLedger
from .passthrough import Passthrough

log = structlog.get_logger(__name__)

AFTER_DISKS, AFTER_BUILD = 0.1, 0.9
ABORTABLE_KIB = 32 << 20
"""While libxl fills a new domain's memory nothing can stop it; more may take half a minute."""


@dataclass
class DomainBuilder:
    """Makes domains of VM records, each left paused, and releases what they used.

    prepare: writes what a new domain's guest is to find in xenstore.
    """

    store: Store
    xen: XenClient
    disks: Disks
    wires: Wires
    memory: MemoryLedger
    boot_files: BootFiles
    bootloader: Bootloader
    vnc_directory: Path | None
    prepare: Callable[[int, GuestStore], Awaitable[None]]
    passthrough: Passthrough
    tpms: TPMs

    async def build(
        self, call: Call, record: VM, undo: Undo, *, force: bool, image: Path | None = None
    ) -> int:
        """A paused domain for the VM: booted, or restored from the path `image`. Its domid.

        Every step is in `undo`. force: skip the check for free memory.
        Raises what the plan, the disks, the wires, the memory and libxl refuse.
        """
        boot = plan_boot(record) if image is None else plan_restore(record)
        async with AsyncExitStack() as until_built:
            config = await self._configuration(
                record, boot, undo, until_built, booting=image is None
            )
            call.progress(AFTER_DISKS)
            needed_kib = await self.xen.need_memory(config)
            await self._record_overhead(record, needed_kib)
            async with self.memory.reserved(record.uuid, needed_kib, unchecked=force):
                large = needed_kib > ABORTABLE_KIB
                try:
                    with call.unbroken() if large else nullcontext():
                        domid = await self._create(call, record, config, image)
                except XenNoMemory as error:
                    available = await self.memory.available_kib() + needed_kib
                    raise HostNotEnoughFreeMemory(needed_kib * KIB, available * KIB) from error
                except XenError as error:
                    if failure := self.tpms.failure(record, error.log):
                        raise failure from error
                    raise
                undo.add(self.xen.domain_destroy, domid, record.uuid)
        await self.prepare(domid, _guest_store(record))
        if mask := cpu_mask(record.VCPUs_params):
            await self.xen.set_vcpu_affinity(domid, mask)
        call.progress(AFTER_BUILD)
        return domid

    async def _record_overhead(self, record: VM, needed_kib: int) -> None:
        overhead = max(0, needed_kib * KIB - memory_target(record))
        await self.store.set(record.ref, VM.memory_overhead, overhead)

    async def _configuration(
        self,
        record: VM,
        boot: Boot,
        undo: Undo,
        until_built: AsyncExitStack,
        *,
        booting: bool,
    ) -> dict[str, Any]:
        sched_params(record.VCPUs_params)  # refuse before anything was attached
        await self._check_cpus(record)
        pci = await self.passthrough.check(record) if booting else ()
        vtpms = self.tpms.planned(record)
        paths = await self.boot_files.resolve(boot)
        kind = boot.domain_type
        drives, wires = self.devices(record, booting=booting)
        disks = [(ref, await self._attach_disk(ref, undo)) for ref in drives]
        nics = [await self._attach_nic(ref, kind, undo) for ref in wires]
        if boot.bootloader and booting:
            first = next((disk for _, disk in disks), None)
            paths = await self._ask_bootloader(record, boot, first, until_built)
        return plan_domain(
            record,
            boot,
            paths,
            [plan_disk(self.store.get(ref), disk, kind) for ref, disk in disks],
            nics,
            vnc_socket=self.vnc_socket(record),
            pci=pci,
            vtpms=vtpms,
            with_qemu=self.disks.served_by_qemu,
        )

    async def _check_cpus(self, record: VM) -> None:
        """Raises INVALID_VALUE for a mask with a CPU that the host has not."""
        mask = cpu_mask(record.VCPUs_params)
        if mask and mask[-1] > (await self.xen.physinfo()).max_cpu_id:
            raise InvalidValue("VCPUs_params:mask", record.VCPUs_params["mask"])

    async def _ask_bootloader(
        self, record: VM, boot: Boot, disk: BackendDisk | None, until_built: AsyncExitStack
    ) -> BootPaths:
        files = self.bootloader.fetched(disk, boot.bootloader_args, record.PV_args)
        try:
            return await until_built.enter_async_context(files)
        except BootloaderError as error:
            raise BootloaderFailed(record.ref, clean_text(str(error))) from error

    def devices(self, record: VM, *, booting: bool) -> tuple[list[Ref[VBD]], list[Ref[VIF]]]:
        """What a new domain gets: all devices when it boots, those it had when it is restored.

        Bootable disks come first, because a bootloader looks at the first one. An empty drive is
        left out of a PV or PVH guest, which has no device model to change its medium.
        """
        hvm = domain_type(record) is DomainType.HVM
        drives = [
            drive
            for drive in map(self.store.get, record.VBDs)
            if (hvm or not drive.empty) and (booting or drive.currently_attached)
        ]
        drives.sort(key=lambda drive: (not drive.bootable, drive.userdevice))
        wires = [
            wire.ref
            for wire in map(self.store.get, record.VIFs)
            if booting or wire.currently_attached
        ]
        return [drive.ref for drive in drives], wires

    async def _attach_disk(self, ref: Ref[VBD], undo: Undo) -> BackendDisk:
        disk = await self.disks.attach(ref)
        undo.add(self.disks.detach, ref)
        return disk

    async def _attach_nic(self, ref: Ref[VIF], kind: DomainType, undo: Undo) -> Mapping[str, Any]:
        bridge = await self.wires.attach(ref)
        undo.add(self.wires.detach, ref)
        return plan_nic(self.store.get(ref), bridge, kind)

    async def _create(
        self, call: Call, record: VM, config: dict[str, Any], image: Path | None
    ) -> int:
        userdata = orjson.dumps({"vm": record.uuid, "task": call.task}).decode()

        def progress(fraction: float) -> None:
            call.progress(AFTER_DISKS + fraction * (AFTER_BUILD - AFTER_DISKS))

        if image is None:
            return await self.xen.domain_create(config, userdata, progress=progress)
        return await self.xen.domain_restore(config, userdata, image, 0, progress=progress)

    async def release(self, record: VM) -> None:
        """Let go of the disks and wires of a VM whose domain is gone. Logs what fails."""
        for vbd in record.VBDs:
            try:
                await self.disks.detach(vbd)
            except Exception:
                log.exception("disk not released", vm=record.name_label, vbd=vbd)
        for vif in record.VIFs:
            try:
                await self.wires.detach(vif)
            except Exception:
                log.exception("network not released", vm=record.name_label, vif=vif)

    def vnc_socket(self, record: VM) -> str:
        """Where the screen of an HVM guest is served; "" where there is no place for it."""
        return str(self.vnc_directory / record.uuid) if self.vnc_directory else ""


def _guest_store(record: VM) -> GuestStore:
    """What the guest finds in xenstore when it starts."""
    memory = GuestMemory(
        record.memory_dynamic_min // KIB,
        record.memory_dynamic_max // KIB,
        memory_target(record) // KIB,
    )
    return GuestStore(memory, plan_vm_data(record.xenstore_data))
