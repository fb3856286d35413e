"""This host: the records that stand for it, and what Xen says of it."""

from __future__ import annotations

import asyncio
import platform
import socket
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import VmPowerState
from ...datamodel.host import Host
from ...datamodel.host_cpu import HostCpu
from ...datamodel.host_metrics import HostMetrics
from ...datamodel.pool import Pool
from ...datamodel.vm import VM
from ...datamodel.vm_metrics import VMMetrics
from ...db.store import Store
from ...db.transaction import Transaction
from ...version import VERSION
from ...xen.client import XenClient
from ...xen.types import CpuPlace, Domain, Hello, PhysInfo
from .processor import UNKNOWN, Processor, flag_names, read_processor

API_MAJOR, API_MINOR = 1, 1
KHZ_PER_MHZ = 1000
KIB = 1024


@dataclass(frozen=True)
class HostFacts:
    """What Xen said of this host when the daemon started."""

    hello: Hello
    physical: PhysInfo
    scheduler: str
    control_domain: Domain
    domains: tuple[Domain, ...] = ()
    places: tuple[CpuPlace, ...] = ()
    processor: Processor = UNKNOWN

    @property
    def overhead(self) -> int:
        """Bytes of memory that neither a domain has nor is free: Xen's own."""
        page = self.hello.version_info.pagesize
        physical = self.physical
        left = physical.total_pages - physical.free_pages - physical.scrub_pages
        return max(0, left * page - sum(d.current_memkb for d in self.domains) * KIB)


async def read_facts(xen: XenClient) -> HostFacts:
    """Ask Xen for everything the records need. Raises XenError."""
    domains = await xen.domain_list()
    return HostFacts(
        await xen.hello(),
        await xen.physinfo(),
        await xen.scheduler(),
        next(d for d in domains if d.domid == 0),
        tuple(domains),
        tuple(await xen.cpu_topology()),
        await asyncio.to_thread(read_processor),
    )


async def introduce_host(store: Store, facts: HostFacts, now: datetime) -> Ref[Host]:
    """Make, or bring up to date, the records of the pool, this host and its control domain."""
    async with store.transaction() as tx:
        host = _host(store, tx, facts)
        _metrics(tx, host, facts, now)
        _cpus(store, tx, host, facts)
        _pool(store, tx, host)
        _control_domain(store, tx, host, facts)
    return host


def _only(store: Store, tx: Transaction, cls: type[Any], values: dict[str, Any]) -> Ref[Any]:
    known: list[Ref[Any]] = [record.ref for record in store.all(cls)]
    return known[0] if known else tx.create(cls, values)


def _host(store: Store, tx: Transaction, facts: HostFacts) -> Ref[Host]:
    name = socket.gethostname()
    host = _only(
        store, tx, Host, {"name_label": name, "name_description": "A Xen host run by xapid"}
    )
    version = facts.hello.version_info
    tx.update(
        host,
        {
            "API_version_major": API_MAJOR,
            "API_version_minor": API_MINOR,
            "API_version_vendor": "xapid",
            "API_version_vendor_implementation": {"version": VERSION},
            "memory_overhead": facts.overhead,
            "hostname": name,
            "address": host_address(),
            "software_version": {
                "product_brand": "xapid",
                "product_version": VERSION,
                "xapi": f"{API_MAJOR}.{API_MINOR}",
                "xen": f"{version.major}.{version.minor}{version.extra}",
                "xen_changeset": version.changeset,
                "xen_build_id": version.build_id,
                "xen_compile_date": version.compile_date,
                "xen_commandline": version.commandline,
                "libxl": facts.hello.libxl_version,
                "linux": platform.release(),
            },
            "capabilities": tuple(version.capabilities.split()),
            "sched_policy": facts.scheduler,
            "supported_bootloaders": ("pygrub",),
            "cpu_configuration": _cpu_configuration(facts),
        },
    )
    return host


def host_address() -> str:
    """The address that this host's default route leaves from; "" where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: a datagram socket only picks a route
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def _cpu_configuration(facts: HostFacts) -> dict[str, str]:
    """What `xl info` says of the processors; the first five names are those of that command."""
    physical = facts.physical
    sockets = {place.socket for place in facts.places}
    abilities = {  # in the order of that command, which names the grant table's versions besides
        "pv": physical.cap_pv,
        "hvm": physical.cap_hvm,
        "hvm_directio": physical.cap_hvm and physical.cap_hvm_directio,
        "pv_directio": physical.cap_pv and physical.cap_hvm_directio,
        "hap": physical.cap_hap,
        "shadow": physical.cap_shadow,
    }
    return {
        "nr_cpus": str(physical.nr_cpus),
        "nr_nodes": str(physical.nr_nodes),
        "cores_per_socket": str(physical.cores_per_socket),
        "threads_per_core": str(physical.threads_per_core),
        "cpu_mhz": str(physical.cpu_khz // KHZ_PER_MHZ),
        "cpu_count": str(physical.nr_cpus),
        "socket_count": str(len(sockets)),
        "max_cpu_id": str(physical.max_cpu_id),
        "virt_caps": " ".join(name for name, there in abilities.items() if there),
        "hw_caps": ":".join(f"{word:08x}" for word in physical.hw_cap),
        "vendor": facts.processor.vendor,
        "features": "-".join(f"{word:08x}" for word in physical.hw_cap),
    }


def _metrics(tx: Transaction, host: Ref[Host], facts: HostFacts, now: datetime) -> None:
    metrics = tx.get(host).metrics
    if metrics == NULL:
        metrics = tx.create(HostMetrics)
        tx.set(host, Host.metrics, metrics)
    page = facts.hello.version_info.pagesize
    tx.update(
        metrics,
        {
            "memory_total": facts.physical.total_pages * page,
            "memory_free": facts.physical.free_pages * page,
            "live": True,
            "last_updated": now,
        },
    )


def _cpus(store: Store, tx: Transaction, host: Ref[Host], facts: HostFacts) -> None:
    """One record for each processor that is online, by Xen's number of it."""
    known = {cpu.number: cpu.ref for cpu in store.all(HostCpu)}
    online = {place.cpu for place in facts.places} or set(range(facts.physical.nr_cpus))
    processor = facts.processor
    values = {
        "speed": facts.physical.cpu_khz // KHZ_PER_MHZ,
        "vendor": processor.vendor,
        "modelname": processor.model_name,
        "family": processor.family,
        "model": processor.model,
        "stepping": processor.stepping,
        "flags": " ".join(flag_names(facts.physical.hw_cap)),
        "features": "-".join(f"{word:08x}" for word in facts.physical.hw_cap),
    }
    for number in sorted(online - known.keys()):
        tx.create(HostCpu, {"host": host, "number": number, **values})
    for number, ref in known.items():
        if number in online:
            tx.update(ref, values)
        else:
            tx.destroy(ref)


def _pool(store: Store, tx: Transaction, host: Ref[Host]) -> None:
    pool = _only(store, tx, Pool, {"name_label": tx.get(host).name_label})
    tx.set(pool, Pool.master, host)


def _control_domain(store: Store, tx: Transaction, host: Ref[Host], facts: HostFacts) -> None:
    known = [vm.ref for vm in store.all(VM) if vm.is_control_domain]
    name = f"Control domain on host: {tx.get(host).name_label}"
    dom0 = known[0] if known else tx.create(VM, {"name_label": name, "is_control_domain": True})
    if tx.get(dom0).metrics == NULL:
        tx.set(dom0, VM.metrics, tx.create(VMMetrics))
    memory = facts.control_domain.current_memkb * KIB
    tx.update(
        dom0,
        {
            "power_state": VmPowerState.RUNNING,
            "domid": 0,
            "resident_on": host,
            "memory_static_max": memory,
            "memory_dynamic_max": memory,
            "memory_target": memory,
            "VCPUs_max": facts.control_domain.vcpu_max_id + 1,
            "VCPUs_at_startup": facts.control_domain.vcpu_online,
        },
    )
