"""One pass over the counters of the host and of every domain, for the metrics."""

from __future__ import annotations

import time
import uuid
from typing import Any

from .configuration import empty
from .jobs import Kind
from .native import LibxlError
from .registry import JSON, Run, operation
from .tuning import sched_get

_PAGE_KIB = 4
_STATES = ("running", "blocked", "paused", "dying")


@operation(Kind.QUICK)
def sample(run: Run, scheduling: list[int]) -> JSON:
    """Read all counters; scheduling: domids whose share of the CPUs is read too.

    A domain that vanishes meanwhile is left out.
    """
    lib = run.lib
    count = run.ffi.new("int *")
    infos = lib.libxl_list_domain(run.ctx, count)
    if infos == run.native.null:
        raise LibxlError(lib.ERROR_FAIL, "libxl_list_domain")
    try:
        wanted = set(scheduling)
        described = [_domain(run, infos[index], wanted) for index in range(count[0])]
    finally:
        lib.libxl_dominfo_list_free(infos, count[0])
    return _host(run) | {"domains": [each for each in described if each is not None]}


def _host(run: Run) -> JSON:
    room = run.call("libxl_get_max_cpus")
    idle = run.ffi.new("uint64_t[]", room)
    cpus = run.call("xapid_cpu_idle", idle, room)
    at_ns = time.monotonic_ns()
    with empty(run, "physinfo") as info:
        run.call("libxl_get_physinfo", info)
        return {
            "at_ns": at_ns,
            "total_kib": info.total_pages * _PAGE_KIB,
            "free_kib": info.free_pages * _PAGE_KIB,
            "idle_ns": list(idle[0:cpus]),
        }


def _domain(run: Run, info: Any, wanted: set[int]) -> JSON | None:
    run.job.check_cancelled()
    vcpus = _vcpus(run, info.domid)
    if vcpus is None:
        return None
    return {
        "domid": info.domid,
        "uuid": str(uuid.UUID(bytes=bytes(run.ffi.buffer(info.uuid.uuid)))),
        "at_ns": time.monotonic_ns(),
        "state": _state(run, info),
        "memory_kib": info.current_memkb,
        "vcpus": vcpus,
        "scheduling": _scheduling(run, info.domid) if info.domid in wanted else None,
    }


def _vcpus(run: Run, domid: int) -> list[list[Any]] | None:
    """Number, CPU, running, blocked and time of each vCPU; None when the domain is gone."""
    count, cpus = run.ffi.new("int *"), run.ffi.new("int *")
    vcpus = run.lib.libxl_list_vcpu(run.ctx, domid, count, cpus)
    if vcpus == run.native.null:
        return None
    try:
        return [_vcpu(vcpus[index]) for index in range(count[0])]
    finally:
        run.lib.libxl_vcpuinfo_list_free(vcpus, count[0])


def _vcpu(info: Any) -> list[Any]:
    cpu = info.cpu if info.online else None
    return [info.vcpuid, cpu, info.running, info.blocked, info.vcpu_time]


def _state(run: Run, info: Any) -> list[str]:
    state = [name for name in _STATES if getattr(info, name)]
    if info.shutdown:
        crashed = info.shutdown_reason == run.lib.LIBXL_SHUTDOWN_REASON_CRASH
        state.append("crashed" if crashed else "shutdown")
    return state


def _scheduling(run: Run, domid: int) -> JSON | None:
    try:
        params: JSON = sched_get(run, domid)
        return params
    except LibxlError:
        return None  # gone, or of a scheduler that has no such parameters
