"""From two samples to what happened between them: pure functions."""

from __future__ import annotations

from typing import Any

from ...xen.device_counters import Moved
from ...xen.types import DomainSample, Sample

KIB = 1024
NS_PER_S = 1_000_000_000
SHARE_DIGITS = 3  # finer than what an idle guest's timers make of it, each sample would differ
RATE_DIGITS = 2

NO_DOMAIN: dict[str, Any] = {
    "memory_actual": 0,
    "VCPUs_number": 0,
    "VCPUs_utilisation": {},
    "VCPUs_CPU": {},
    "VCPUs_params": {},
    "VCPUs_flags": {},
    "state": (),
}
"""The VM_metrics of a VM without a domain."""


def share(busy_ns: int, elapsed_ns: int) -> float:
    """Share of the time, from 0.0 to 1.0."""
    if elapsed_ns <= 0:
        return 0.0
    return round(min(max(busy_ns / elapsed_ns, 0.0), 1.0), SHARE_DIGITS)


def kbs(before: int, after: int, elapsed_ns: int) -> float:
    """Kilobytes a second; 0.0 where the counter began anew."""
    if elapsed_ns <= 0 or after < before:
        return 0.0
    return round((after - before) / KIB * NS_PER_S / elapsed_ns, RATE_DIGITS)


def device_rates(before: Moved | None, after: Moved | None, elapsed_ns: int) -> dict[str, Any]:
    """The rates of a VBD_metrics or VIF_metrics; zero for a device not seen both times."""
    if before is None or after is None:
        return {"io_read_kbs": 0.0, "io_write_kbs": 0.0}
    return {
        "io_read_kbs": kbs(before.in_bytes, after.in_bytes, elapsed_ns),
        "io_write_kbs": kbs(before.out_bytes, after.out_bytes, elapsed_ns),
    }


def vm_values(before: DomainSample | None, after: DomainSample) -> dict[str, Any]:
    """The fields of VM_metrics but for what is set when a VM starts, and VCPUs_params if unread."""
    ran = {} if before is None else {each.vcpu: each.time_ns for each in before.vcpus}
    elapsed_ns = 0 if before is None else after.at_ns - before.at_ns
    values: dict[str, Any] = {
        "memory_actual": after.memory_kib * KIB,
        "VCPUs_number": sum(each.cpu is not None for each in after.vcpus),
        "VCPUs_utilisation": {
            each.vcpu: share(each.time_ns - ran.get(each.vcpu, each.time_ns), elapsed_ns)
            for each in after.vcpus
        },
        "VCPUs_CPU": {each.vcpu: each.cpu for each in after.vcpus if each.cpu is not None},
        "VCPUs_flags": {
            each.vcpu: _flags(each.cpu is not None, each.running, each.blocked)
            for each in after.vcpus
        },
        "state": after.state,
    }
    if after.scheduling is not None:
        params = after.scheduling
        values["VCPUs_params"] = {"weight": str(params.weight), "cap": str(params.cap)}
    return values


def _flags(online: bool, running: bool, blocked: bool) -> tuple[str, ...]:
    named = (("online", online), ("running", running), ("blocked", blocked))
    return tuple(name for name, holds in named if holds)


def cpu_utilisation(before: Sample, after: Sample) -> list[float]:
    """The share of time that each of the host's CPUs was busy, by number."""
    elapsed_ns = after.at_ns - before.at_ns
    return [
        share(elapsed_ns - (idle_after - idle_before), elapsed_ns)
        for idle_before, idle_after in zip(before.idle_ns, after.idle_ns, strict=False)
    ]
