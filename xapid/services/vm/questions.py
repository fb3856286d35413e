"""What a client may ask about a VM without changing it."""

from __future__ import annotations

from dataclasses import dataclass

from ...datamodel.declare import Ref
from ...datamodel.enums import DomainType, VmOperations
from ...datamodel.errors import (
    ApiError,
    HostDisabled,
    HostNotEnoughFreeMemory,
    HostNotEnoughPCPUs,
    HostNotLive,
    InvalidValue,
    VMHVMRequired,
    VMRequiresIOMMU,
    VMRequiresSR,
)
from ...datamodel.host import Host
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store
from ...xen.client import XenClient
from ...xen.keys import pci_devices
from ...xen.plan import (
    KIB,
    BootPaths,
    device_index,
    domain_type,
    plan_boot,
    plan_domain,
)
from ..operations import Operations
from ..ports import Call, implements
from . import state
from .memory import MemoryLedger

MAX_VIFS = 8
"""What netfront and qemu together carry without surprises; clients expect few."""

OFFERED_DISKS = 16
"""Device numbers offered; higher ones are accepted where the guest can use them."""

STEP = 1 << 20


@dataclass
class QuestionService:
    store: Store
    operations: Operations
    xen: XenClient
    memory: MemoryLedger
    host: Ref[Host]

    @implements(VM.get_boot_record)
    async def get_boot_record(self, call: Call, vm: Ref[VM]) -> VM:
        return state.read_boot_record(self.store.get(vm))

    @implements(VM.assert_operation_valid)
    async def assert_operation_valid(self, call: Call, vm: Ref[VM], op: VmOperations) -> None:
        refused = self.operations.refusal(vm, op)
        if refused is not None:
            raise refused

    @implements(VM.update_allowed_operations)
    async def update_allowed_operations(self, call: Call, vm: Ref[VM]) -> None:
        await self.operations.refresh(vm)

    @implements(VM.get_allowed_VBD_devices)
    async def get_allowed_vbd_devices(self, call: Call, vm: Ref[VM]) -> tuple[str, ...]:
        record = self.store.get(vm)
        taken = {device_index(self.store.get(vbd).userdevice) for vbd in record.VBDs}
        return tuple(str(i) for i in range(OFFERED_DISKS) if i not in taken)

    @implements(VM.get_allowed_VIF_devices)
    async def get_allowed_vif_devices(self, call: Call, vm: Ref[VM]) -> tuple[str, ...]:
        taken = {self.store.get(vif).device for vif in self.store.get(vm).VIFs}
        return tuple(str(i) for i in range(MAX_VIFS) if str(i) not in taken)

    @implements(VM.get_possible_hosts)
    async def get_possible_hosts(self, call: Call, vm: Ref[VM]) -> tuple[Ref[Host], ...]:
        try:
            await self._check_can_boot(vm, self.host)
        except ApiError:
            return ()
        return (self.host,)

    @implements(VM.assert_can_boot_here)
    async def assert_can_boot_here(self, call: Call, vm: Ref[VM], host: Ref[Host]) -> None:
        await self._check_can_boot(vm, host)

    async def _check_can_boot(self, vm: Ref[VM], host: Ref[Host]) -> None:
        record = self.store.get(vm)
        if host != self.host:
            raise HostNotLive()
        if not self.store.get(host).enabled:
            raise HostDisabled(host)
        physical = await self.xen.physinfo()
        if record.VCPUs_max > physical.nr_cpus:
            raise HostNotEnoughPCPUs(record.VCPUs_max, physical.nr_cpus)
        if domain_type(record) in (DomainType.HVM, DomainType.PVH) and not physical.cap_hvm:
            raise VMHVMRequired(vm)
        if pci_devices(record.other_config, record.PCI_bus) and not physical.cap_hvm_directio:
            raise VMRequiresIOMMU(host)
        self._check_devices(record, host)
        needed = await self._needed_kib(record)
        available = await self.memory.available_kib()
        if needed > available:
            raise HostNotEnoughFreeMemory(needed * KIB, available * KIB)

    def _check_devices(self, record: VM, host: Ref[Host]) -> None:
        """Every disk is in an SR that the host has plugged. Raises VM_REQUIRES_SR."""
        for vbd in map(self.store.get, record.VBDs):
            vdi = self.store.find(VDI, vbd.VDI)
            if vdi is None:
                continue
            pbds = [self.store.get(pbd) for pbd in self.store.get(vdi.SR).PBDs]
            if not any(pbd.host == host and pbd.currently_attached for pbd in pbds):
                raise VMRequiresSR(record.ref, vdi.SR)

    async def _needed_kib(self, record: VM) -> int:
        boot = plan_boot(record)
        return await self.xen.need_memory(plan_domain(record, boot, BootPaths(), (), ()))

    @implements(VM.maximise_memory)
    async def maximise_memory(self, call: Call, vm: Ref[VM], total: int, approximate: bool) -> int:
        """The largest memory_static_max, in bytes, whose whole domain fits into `total`."""
        record = self.store.get(vm)
        if total <= 0:
            raise InvalidValue("total", str(total))
        low, high = 0, total // STEP
        while low < high:
            middle = (low + high + 1) // 2
            if await self._fits(record, middle * STEP, total):
                low = middle
            else:
                high = middle - 1
        step = 16 if approximate else 1
        return low // step * step * STEP

    async def _fits(self, record: VM, static_max: int, total: int) -> bool:
        sized = VM(record.ref, {**record.row, "memory_static_max": static_max, "memory_target": 0,
                                "memory_dynamic_max": static_max})  # fmt: skip
        return await self._needed_kib(sized) * KIB <= total
