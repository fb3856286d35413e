"""Operations on the memory, vCPUs and scheduling of a domain."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from .configuration import empty
from .jobs import Kind
from .native import LibxlError
from .registry import JSON, Run, operation


@operation(Kind.QUICK)
def set_memory_target(run: Run, domid: int, target_kib: int, enforce: bool) -> None:
    """Ask the guest to balloon to `target_kib`; enforce: also make that its limit."""
    run.call("libxl_set_memory_target", domid, target_kib, 0, int(enforce))


@operation(Kind.QUICK)
def set_max_memory(run: Run, domid: int, kib: int) -> None:
    """Set the most memory the domain may have."""
    run.call("libxl_domain_setmaxmem", domid, kib)


@operation(Kind.READ)
def memory_target(run: Run, domid: int) -> JSON:
    """Read the balloon target."""
    kib = run.ffi.new("uint64_t *")
    run.call("libxl_get_memory_target", domid, kib)
    return {"kib": kib[0]}


@operation(Kind.QUICK)
def set_vcpu_online(run: Run, domid: int, count: int) -> None:
    """Bring the first `count` vCPUs online and take the others offline."""
    if not 1 <= count <= 4096:
        raise run.refusal("count must be 1 to 4096")
    with _bitmap(run, range(count), count) as online:
        run.start("libxl_set_vcpuonline", domid, online)


@operation(Kind.QUICK)
def set_paging_memory(run: Run, domid: int, kib: int) -> None:
    """Give an HVM or PVH domain so much memory for its page tables."""
    if kib <= 0 or kib % 4:
        raise run.refusal("kib must be a positive multiple of 4")
    run.call("xapid_set_paging_memory", domid, kib)


@operation(Kind.QUICK)
def set_vcpu_affinity(run: Run, domid: int, hard: list[int], vcpu: int | None = None) -> None:
    """Let one vCPU (null: all of them) run only on the host's CPUs in `hard`."""
    limit = run.call("libxl_get_max_cpus")
    if not hard or not all(type(cpu) is int and 0 <= cpu < limit for cpu in hard):
        raise run.refusal(f"hard must name CPUs from 0 to {limit - 1}")
    with _bitmap(run, hard, limit) as mask:
        if vcpu is not None:
            run.call("libxl_set_vcpuaffinity", domid, vcpu, mask, run.native.null)
            return
        with empty(run, "dominfo") as info:
            run.call("libxl_domain_info", info, domid)
            count = info.vcpu_max_id + 1
        run.call("libxl_set_vcpuaffinity_all", domid, count, mask, run.native.null)


@operation(Kind.QUICK)
def sched_set(run: Run, domid: int, weight: int | None = None, cap: int | None = None) -> None:
    """Set the weight, or the cap in percent of one CPU; what is null stays as it is."""
    with empty(run, "domain_sched_params") as params:
        run.call("libxl_domain_sched_params_get", domid, params)
        if weight is not None:
            params.weight = weight
        if cap is not None:
            params.cap = cap
        run.call("libxl_domain_sched_params_set", domid, params)


@operation(Kind.READ)
def sched_get(run: Run, domid: int) -> JSON:
    """Read the domain's scheduling parameters."""
    with empty(run, "domain_sched_params") as params:
        run.call("libxl_domain_sched_params_get", domid, params)
        name = run.native.text(run.lib.libxl_scheduler_to_string(params.sched))
        return {"scheduler": name, "weight": params.weight, "cap": params.cap}


@operation(Kind.READ)
def vcpu_list(run: Run, domid: int) -> list[JSON]:
    """List the domain's vCPUs: where each runs and how long it has run."""
    count, cpus = run.ffi.new("int *"), run.ffi.new("int *")
    vcpus = run.lib.libxl_list_vcpu(run.ctx, domid, count, cpus)
    if vcpus == run.native.null:
        raise LibxlError(run.lib.ERROR_DOMAIN_NOTFOUND, "libxl_list_vcpu")
    try:
        return [_vcpu(run, vcpus[index], cpus[0]) for index in range(count[0])]
    finally:
        run.lib.libxl_vcpuinfo_list_free(vcpus, count[0])


def _vcpu(run: Run, info: Any, cpus: int) -> JSON:
    mask = run.ffi.addressof(info, "cpumap")
    return {
        "vcpu": info.vcpuid,
        "cpu": info.cpu if info.online else None,
        "online": info.online,
        "blocked": info.blocked,
        "running": info.running,
        "time_ns": info.vcpu_time,
        "hard": [cpu for cpu in range(cpus) if run.lib.libxl_bitmap_test(mask, cpu)],
    }


@contextlib.contextmanager
def _bitmap(run: Run, bits: Iterable[int], size: int) -> Iterator[Any]:
    with empty(run, "bitmap") as bitmap:
        run.call("libxl_bitmap_alloc", bitmap, size)
        for bit in bits:
            run.lib.libxl_bitmap_set(bitmap, bit)
        yield bitmap
