"""A real store with a host, and a Xen whose counters the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import VmPowerState
from xapid.datamodel.host import Host
from xapid.datamodel.network import Network
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vif import VIF
from xapid.datamodel.vm import VM
from xapid.datamodel.vm_metrics import VMMetrics
from xapid.db.events import StoredEvent
from xapid.db.store import Store
from xapid.services.metrics.sampler import MetricsSampler
from xapid.xen.device_counters import DeviceCounters, Moved
from xapid.xen.types import DomainSample, Sample, SchedParams, VcpuSample

SECOND_NS = 1_000_000_000
EVERYTHING = frozenset({"*"})


@dataclass
class PlayedXen:
    """The counters that the next sample finds, and what was asked of it."""

    at_ns: int = 10 * SECOND_NS
    idle_ns: tuple[int, ...] = (0, 0)
    domains: dict[int, DomainSample] = field(default_factory=dict)
    disks: dict[tuple[int, int], Moved] = field(default_factory=dict)
    nics: dict[tuple[int, int], Moved] = field(default_factory=dict)
    asked: list[tuple[int, ...]] = field(default_factory=list)
    failure: Exception | None = None

    async def sample(self, scheduling: Sequence[int] = ()) -> Sample:
        self.asked.append(tuple(scheduling))
        if self.failure is not None:
            raise self.failure
        return Sample(self.at_ns, 1000, 400, self.idle_ns, tuple(self.domains.values()))

    def counters(self) -> DeviceCounters:
        return DeviceCounters(self.at_ns, dict(self.disks), dict(self.nics))

    def show(self, domid: int, uuid: str, *ran_ns: int, **more: Any) -> None:
        """Let the sample find a domain whose vCPUs ran that long."""
        vcpus = tuple(VcpuSample(n, n, True, False, ns) for n, ns in enumerate(ran_ns))
        values: dict[str, Any] = {
            "state": ("running",),
            "memory_kib": 2048,
            "vcpus": vcpus,
            "scheduling": SchedParams("credit2", 256, 0),
        } | more
        self.domains[domid] = DomainSample(domid=domid, uuid=uuid, at_ns=self.at_ns, **values)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class World:
    store: Store
    xen: PlayedXen
    sampler: MetricsSampler
    host: Ref[Host]
    network: Ref[Network]

    async def guest(self, domid: int = 1, *ran_ns: int) -> VM:
        """A running VM with a disk and an interface, and its domain."""
        async with self.store.transaction() as tx:
            values = {
                "name_label": f"guest {domid}",
                "power_state": VmPowerState.RUNNING,
                "domid": domid,
                "metrics": tx.create(VMMetrics),
                "memory_static_max": 1,
                "memory_dynamic_max": 1,
                "memory_dynamic_min": 1,
            }
            vm = tx.create(VM, values)
            tx.create(
                VBD, {"VM": vm, "userdevice": "0", "device": "xvda", "currently_attached": True}
            )
            vif = {"VM": vm, "device": "0", "network": self.network, "currently_attached": True}
            tx.create(VIF, vif)
        record = self.store.get(vm)
        self.xen.show(domid, record.uuid, *(ran_ns or (0,)))
        return record

    def metrics(self, vm: VM) -> VMMetrics:
        found: VMMetrics = self.store.get(self.store.get(vm.ref).metrics)
        return found

    def events_since(self, event_id: int) -> list[StoredEvent]:
        return self.store.feed.read(event_id, EVERYTHING)
