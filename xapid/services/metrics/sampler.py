"""Reads all counters at intervals and writes what they say into the metrics, in memory only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog

from ...datamodel.declare import NULL, Class, Ref
from ...datamodel.host_cpu import HostCpu
from ...datamodel.host_metrics import HostMetrics
from ...datamodel.vbd import VBD
from ...datamodel.vbd_metrics import VBDMetrics
from ...datamodel.vif import VIF
from ...datamodel.vif_metrics import VIFMetrics
from ...datamodel.vm import VM
from ...datamodel.vm_metrics import VMMetrics
from ...db.failures import StorageFailure
from ...db.store import Store
from ...db.transaction import Transaction
from ...xen.device_counters import Device, DeviceCounters, disk_number, read_counters
from ...xen.errors import XenError
from ...xen.types import DomainSample, Sample
from .rates import KIB, NO_DOMAIN, cpu_utilisation, device_rates, vm_values

log = structlog.get_logger(__name__)

SCHEDULING_EVERY = 12
"""Samples between two looks at a domain's share of the CPUs, which seldom changes."""

AT_ONCE = 20
"""Guests whose values are compared and written while nobody else is heard."""

Values = dict[str, Any]
Metered = VM | VBD | VIF


class SampledXen(Protocol):
    """What is needed of XenClient."""

    async def sample(self, scheduling: Sequence[int] = ()) -> Sample: ...


@dataclass(frozen=True)
class _Reading:
    """Everything read in one pass."""

    sample: Sample
    devices: DeviceCounters

    def by_uuid(self) -> dict[str, DomainSample]:
        """A dying domain keeps its uuid until it is gone, beside the one that takes its place."""
        ordered = sorted(self.sample.domains, key=lambda d: "dying" not in d.state)
        return {domain.uuid: domain for domain in ordered}


@dataclass(frozen=True)
class _Change:
    """New values for metrics that are there, or for new ones that the VM `owner` gets."""

    metrics: Ref[Any]
    values: Values
    owner: Ref[VM] = NULL


class MetricsSampler:
    """One pass each interval; a value that has not changed is not written, so it makes no event."""

    def __init__(
        self,
        store: Store,
        xen: SampledXen,
        *,
        interval_s: float = 5.0,
        counters: Callable[[], DeviceCounters] = read_counters,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """counters: reads the kernel's counters, in a thread. pause: waits some seconds."""
        self._store = store
        self._xen = xen
        self._interval_s = interval_s
        self._counters = counters
        self._now = now
        self._pause = pause
        self._before: _Reading | None = None
        self._passes = 0
        self._asked: set[int] = set()
        self._shown: set[Ref[VM]] = set()  # those that had a domain
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to sample."""
        self._task = asyncio.create_task(self._run(), name="metrics")

    async def close(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self.sample()
            except StorageFailure as error:
                log.warning("metrics not kept", reason=str(error))
            except Exception:
                log.exception("bug while sampling")
            await self._pause(max(self._interval_s / 2, self._interval_s - (loop.time() - began)))

    async def sample(self) -> None:
        """One pass. Where Xen does not answer, the host is shown as not live."""
        try:
            reading = await self._read()
        except XenError as error:
            log.warning("nothing could be measured", reason=str(error))
            await self._apply(self._host_metrics_changes({"live": False}))
            return
        before, self._before = self._before, reading
        self._passes += 1
        await self._apply(self._host_changes(before, reading))
        await self._apply_guests(before, reading)
        await self._forget_orphans()

    async def _read(self) -> _Reading:
        loop = asyncio.get_running_loop()
        devices = loop.run_in_executor(None, self._counters)
        try:
            sample = await self._xen.sample(self._due_for_scheduling())
        finally:
            counters = await devices
        return _Reading(sample, counters)

    def _due_for_scheduling(self) -> list[int]:
        """The domains whose turn it is, and those that were never asked."""
        domids = {domid for domid in self._store.values(VM.domid) if domid >= 0}
        turn = self._passes % SCHEDULING_EVERY
        due = {d for d in domids if d not in self._asked or d % SCHEDULING_EVERY == turn}
        self._asked = domids
        return sorted(due)

    # What has changed

    def _host_changes(self, before: _Reading | None, after: _Reading) -> Iterable[_Change]:
        values = {
            "memory_total": after.sample.total_kib * KIB,
            "memory_free": after.sample.free_kib * KIB,
            "live": True,
        }
        yield from self._host_metrics_changes(values)
        if before is not None:
            yield from self._cpu_changes(cpu_utilisation(before.sample, after.sample))

    def _host_metrics_changes(self, values: Values) -> Iterable[_Change]:
        for metrics in self._store.all(HostMetrics):
            yield from self._unless_equal(metrics, values)

    def _cpu_changes(self, utilisation: list[float]) -> Iterable[_Change]:
        for cpu in self._store.all(HostCpu):
            if 0 <= cpu.number < len(utilisation):
                busy = utilisation[cpu.number]
                if cpu.utilisation != busy:
                    yield _Change(cpu.ref, {"utilisation": busy})

    def _domains_by_vm(self, reading: _Reading) -> dict[Ref[VM], DomainSample]:
        store, domains = self._store, reading.by_uuid()
        found = {ref: d for uuid, d in domains.items() if (ref := store.by_uuid(VM, uuid))}
        control = next((d for d in domains.values() if d.domid == 0), None)
        for ref in store.having(VM.is_control_domain, True):
            found.pop(ref, None)
            if control is not None:
                found[ref] = control
        return found

    async def _apply_guests(self, before: _Reading | None, after: _Reading) -> None:
        """What runs, and what ran when it was last looked at: all others have been at zero since.

        A pass costs what runs costs, however many VMs there are.
        """
        domains = self._domains_by_vm(after)
        earlier = {(d.domid, d.uuid): d for d in before.sample.domains} if before else {}
        self._shown |= domains.keys()
        vms = list(self._shown)
        for start in range(0, len(vms), AT_ONCE):
            changes: list[_Change] = []
            for vm in map(partial(self._store.find, VM), vms[start : start + AT_ONCE]):
                if vm is not None:
                    domain = domains.get(vm.ref)
                    changes += self._vm_changes(vm, domain, earlier)
                    devices = before.devices if before else None
                    changes += self._device_changes(vm, domain, devices, after.devices)
            await self._apply(changes)
        self._shown = set(domains)

    def _vm_changes(
        self, vm: VM, domain: DomainSample | None, earlier: dict[tuple[int, str], DomainSample]
    ) -> Iterable[_Change]:
        values = NO_DOMAIN
        if domain is not None:
            values = vm_values(earlier.get((domain.domid, domain.uuid)), domain)
        if vm.metrics == NULL and domain is not None:  # another toolstack's
            yield _Change(NULL, self._dated(values), vm.ref)
        else:
            yield from self._metrics_of(vm, values)

    def _device_changes(
        self,
        vm: VM,
        domain: DomainSample | None,
        before: DeviceCounters | None,
        after: DeviceCounters,
    ) -> Iterable[_Change]:
        elapsed_ns = after.at_ns - before.at_ns if before else 0
        domid = None if domain is None or vm.is_control_domain else domain.domid
        for vbd in map(self._store.get, vm.VBDs):
            disk = _device(domid, disk_number(vbd.device), vbd.currently_attached)
            seen = before.disks.get(disk) if before and disk else None
            rates = device_rates(seen, after.disks.get(disk) if disk else None, elapsed_ns)
            yield from self._metrics_of(vbd, rates)
        for vif in map(self._store.get, vm.VIFs):
            number = int(vif.device) if vif.device.isdecimal() else None
            nic = _device(domid, number, vif.currently_attached)
            seen = before.nics.get(nic) if before and nic else None
            rates = device_rates(seen, after.nics.get(nic) if nic else None, elapsed_ns)
            yield from self._metrics_of(vif, rates)

    def _metrics_of(self, owner: Metered, values: Values) -> Iterable[_Change]:
        if owner.metrics != NULL:
            yield from self._unless_equal(self._store.get(owner.metrics), values)

    def _unless_equal(self, record: Class, values: Values) -> Iterable[_Change]:
        row = record.row
        if any(row[name] != value for name, value in values.items()):
            yield _Change(record.ref, self._dated(values))

    def _dated(self, values: Values) -> Values:
        return values | {"last_updated": self._now()}

    # Writing

    async def _apply(self, changes: Iterable[_Change]) -> None:
        """Write them; what vanished meanwhile is passed over."""
        pending = list(changes)
        if pending:
            async with self._store.transaction() as tx:
                for change in pending:
                    _write(tx, change)
        await asyncio.sleep(0)

    async def _forget_orphans(self) -> None:
        """Metrics whose VM or device is gone; foreign domains leave theirs behind as well."""
        store = self._store
        orphans: list[Ref[Any]] = []
        for owner, cls in ((VM, VMMetrics), (VBD, VBDMetrics), (VIF, VIFMetrics)):
            # A device always has metrics, a VM may have none: then counting says nothing.
            if owner is VM or store.count(cls) > store.count(owner):
                orphans += (ref for ref in store.refs(cls) if not store.referrers(ref))
        if orphans:
            async with store.transaction() as tx:
                for ref in orphans:
                    tx.destroy(ref)


def _device(domid: int | None, number: int | None, attached: bool) -> Device | None:
    return (domid, number) if attached and domid is not None and number is not None else None


def _write(tx: Transaction, change: _Change) -> None:
    if change.owner == NULL:
        if tx.exists(change.metrics):
            tx.update(change.metrics, change.values)
    elif tx.exists(change.owner):
        metrics = tx.create(VMMetrics, change.values, volatile=True)
        tx.update(change.owner, {"metrics": metrics})
