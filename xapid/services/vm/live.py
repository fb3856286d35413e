"""Changes to a running guest: memory, vCPUs, scheduling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...datamodel.declare import Ref
from ...datamodel.errors import (
    HostNotEnoughFreeMemory,
    InvalidValue,
    MemoryConstraintViolation,
    ValueNotSupported,
)
from ...datamodel.vm import VM
from ...db.store import Store
from ...xen.client import XenClient
from ...xen.errors import XenNoMemory
from ...xen.plan import KIB, MAX_SHADOW_MULTIPLIER, cpu_mask, sched_params, shadow_kib
from ..operations import Operations
from ..ports import Call, implements

SCHEDULING_KEYS = frozenset({"weight", "cap", "mask"})


@dataclass
class LiveService:
    """Tells Xen first, then the record: what the record says, the guest has been given."""

    store: Store
    operations: Operations
    xen: XenClient

    @implements(VM.set_memory_target_live)
    async def set_memory_target_live(self, call: Call, vm: Ref[VM], target: int) -> None:
        async with self.operations.claim(call, vm, VM.set_memory_target_live) as record:
            low, high = record.memory_static_min, record.memory_static_max
            if not max(low, KIB) <= target <= high:
                raise MemoryConstraintViolation(f"{low} <= memory_target {target} <= {high}")
            await self.xen.set_memory_target(record.domid, target // KIB, enforce=True)
            async with self.store.transaction() as tx:
                tx.update(
                    vm,
                    {
                        "memory_target": target,
                        "memory_dynamic_min": min(record.memory_dynamic_min, target),
                        "memory_dynamic_max": max(record.memory_dynamic_max, target),
                    },
                )

    @implements(VM.set_VCPUs_number_live)
    async def set_vcpus_number_live(self, call: Call, vm: Ref[VM], nvcpu: int) -> None:
        async with self.operations.claim(call, vm, VM.set_VCPUs_number_live) as record:
            if not 1 <= nvcpu <= record.VCPUs_max:
                raise InvalidValue("nvcpu", str(nvcpu))
            await self.xen.set_vcpu_online(record.domid, nvcpu)
            async with self.store.transaction() as tx:
                tx.set(vm, VM.VCPUs_at_startup, nvcpu)

    @implements(VM.add_to_VCPUs_params_live)
    async def add_to_vcpus_params_live(self, call: Call, vm: Ref[VM], key: str, value: str) -> None:
        async with self.operations.claim(call, vm, VM.add_to_VCPUs_params_live) as record:
            if key not in SCHEDULING_KEYS:
                raise ValueNotSupported("key", key, "weight, cap and mask can be changed live")
            params = {key: value}
            if scheduling := sched_params(params):
                await self.xen.sched_set(record.domid, **scheduling)
            if key == "mask":
                await self.xen.set_vcpu_affinity(record.domid, await self._cpus(params))
            async with self.store.transaction() as tx:
                tx.set(vm, VM.VCPUs_params, {**tx.get(vm).VCPUs_params, key: value})

    async def _cpus(self, params: Mapping[str, str]) -> tuple[int, ...]:
        """The CPUs that the mask names; all for an empty one. Raises INVALID_VALUE."""
        everything = range((await self.xen.physinfo()).max_cpu_id + 1)
        named = cpu_mask(params)
        if not set(named) <= set(everything):
            raise InvalidValue("VCPUs_params:mask", params["mask"])
        return named or tuple(everything)

    @implements(VM.set_shadow_multiplier_live)
    async def set_shadow_multiplier_live(self, call: Call, vm: Ref[VM], multiplier: float) -> None:
        if not 1.0 <= multiplier <= MAX_SHADOW_MULTIPLIER:
            raise InvalidValue("multiplier", str(multiplier))
        async with self.operations.claim(call, vm, VM.set_shadow_multiplier_live) as record:
            wanted_kib = shadow_kib(record, multiplier)
            try:
                await self.xen.set_paging_memory(record.domid, wanted_kib)
            except XenNoMemory as error:
                more_kib = wanted_kib - shadow_kib(record, record.HVM_shadow_multiplier)
                free_kib = await self.xen.free_memory()
                raise HostNotEnoughFreeMemory(more_kib * KIB, free_kib * KIB) from error
            await self.store.set(vm, VM.HVM_shadow_multiplier, multiplier)
