"""What /metrics shows of the daemon, the host and its guests, beside the calls."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from ..datamodel.declare import Class
from ..datamodel.enums import TaskStatusType
from ..datamodel.host_cpu import HostCpu
from ..datamodel.host_metrics import HostMetrics
from ..datamodel.pif import PIF
from ..datamodel.pif_metrics import PIFMetrics
from ..datamodel.task import Task
from ..datamodel.vbd import VBD
from ..datamodel.vbd_metrics import VBDMetrics
from ..datamodel.vif import VIF
from ..datamodel.vif_metrics import VIFMetrics
from ..datamodel.vm import VM
from ..datamodel.vm_metrics import VMMetrics
from ..db.store import Store
from ..prometheus import Histogram, Labels, Reading, Registry
from ..rpc.sessions import Sessions
from ..version import VERSION
from .certificate_watch import CertificateWatch
from .listener import Listener
from .server import HttpServer

LAGS: Final = (0.001, 0.005, 0.01, 0.02, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def show_process(registry: Registry, sessions: Sessions, store: Store) -> None:
    """Show the process, its sessions and its tasks."""
    info = Reading("gauge", "xapid_info", "The version.", lambda: {(VERSION,): 1.0}, ("version",))
    registry.add(info)
    registry.gauge("xapid_sessions", "Sessions that have not ended.", lambda: len(sessions))
    registry.gauge("process_resident_memory_bytes", "Memory in use.", _resident)
    registry.gauge("process_open_fds", "Open file descriptors.", _descriptors)
    registry.counter("process_cpu_seconds_total", "CPU time used.", lambda: sum(os.times()[:2]))

    def tasks() -> dict[Labels, float]:
        found = Counter(str(task.status) for task in store.all(Task))
        return {(str(status),): float(found[str(status)]) for status in TaskStatusType}

    registry.add(Reading("gauge", "xapid_tasks", "Tasks, by status.", tasks, ("status",)))


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _descriptors() -> float:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted


def loop_lag(registry: Registry, worst: Callable[[], float]) -> Callable[[float], None]:
    """What takes each tick's delay, in seconds. worst: gives the longest so far."""
    lag = Histogram(
        "xapid_loop_lag_seconds", "How long a callback kept the event loop.", bounds=LAGS
    )
    registry.add(lag)
    registry.gauge("xapid_loop_lag_worst_seconds", "The longest of them.", worst)
    return lambda seconds: lag.observe(max(seconds, 0.0))


def show_database(registry: Registry, store: Store, path: Path) -> None:
    """Show the store: what it holds, its file, and how writing goes."""
    commits = Histogram("xapid_db_commit_seconds", "How long a write to the database took.")
    store.observe_commits(commits.observe)

    def sizes() -> dict[Labels, float]:
        files = {"database": path, "wal": path.with_name(path.name + "-wal")}
        return {(name,): _size(file) for name, file in files.items()}

    def objects() -> dict[Labels, float]:
        return {(cls.wire,): float(store.count(cls)) for cls in store.classes}

    registry.add(
        commits,
        Reading("gauge", "xapid_db_size_bytes", "Size of the database's files.", sizes, ("file",)),
        Reading(
            "gauge", "xapid_objects", "Objects in the database, by class.", objects, ("class",)
        ),
    )
    registry.gauge(
        "xapid_db_queue", "Transactions that wait to be written.", lambda: store.waiting_writes
    )


def _size(path: Path) -> float:
    try:
        return float(path.stat().st_size)
    except OSError:
        return 0.0


class OperationFigures:
    """Counts what libxl is asked for."""

    def __init__(self, registry: Registry) -> None:
        self._running: Counter[str] = Counter()
        self._seconds = Histogram(
            "xapid_libxl_operation_seconds",
            "How long an operation of xapid-xen took.",
            ("operation",),
        )
        running = Reading(
            "gauge",
            "xapid_libxl_operations",
            "Operations of xapid-xen that run.",
            lambda: {(name,): float(count) for name, count in self._running.items()},
            ("operation",),
        )
        registry.add(self._seconds, running)

    @contextmanager
    def running(self, operation: str) -> Iterator[None]:
        """While an operation runs."""
        began = monotonic()
        self._running[operation] += 1
        try:
            yield
        finally:
            self._running[operation] -= 1
            self._seconds.observe(monotonic() - began, operation)


def show_connections(registry: Registry, server: HttpServer) -> None:
    """Show the listening sockets, each by what is spoken on it."""

    def each(value: Callable[[Listener], int]) -> Callable[[], Mapping[Labels, float]]:
        def values() -> dict[Labels, float]:
            found: Counter[str] = Counter()
            for listener in server.listeners:
                found[_spoken(server, listener)] += value(listener)
            return {(name,): float(count) for name, count in found.items()}

        return values

    labels = ("socket",)
    registry.add(
        Reading(
            "gauge", "xapid_connections", "Open connections.", each(lambda x: len(x.slots)), labels
        ),
        Reading(
            "gauge",
            "xapid_connections_limit",
            "As many may be open.",
            each(lambda x: x.cap),
            labels,
        ),
        Reading(
            "counter",
            "xapid_connections_accepted_total",
            "Connections accepted.",
            each(lambda x: x.accepted),
            labels,
        ),
        Reading(
            "counter",
            "xapid_connections_refused_total",
            "Connections refused because their address had too many.",
            each(lambda x: x.refused),
            labels,
        ),
        Reading(
            "counter",
            "xapid_connections_ended_total",
            "Connections ended to make room for others.",
            each(lambda x: x.slots.ended),
            labels,
        ),
    )


def _spoken(server: HttpServer, listener: Listener) -> str:
    if listener.local:
        return "unix"
    port = listener.socket.getsockname()[1]
    plain = server.http_address is not None and port == server.http_address[1]
    return "http" if plain else "https"


def show_certificate(registry: Registry, certificate: CertificateWatch) -> None:
    """Show when the certificate ends."""
    registry.gauge(
        "xapid_certificate_expires_timestamp_seconds",
        "When the certificate in use ends.",
        lambda: certificate.ends.timestamp(),
    )


def show_host(registry: Registry, store: Store) -> None:
    """Show the host's memory, processors and network, and its guests."""

    def memory() -> dict[Labels, float]:
        found = next(iter(store.all(HostMetrics)), None)
        if found is None:
            return {}
        return {("total",): float(found.memory_total), ("free",): float(found.memory_free)}

    def processors() -> dict[Labels, float]:
        return {(str(cpu.number),): cpu.utilisation for cpu in store.all(HostCpu)}

    def cards() -> dict[Labels, float]:
        rates: dict[Labels, float] = {}
        for card in store.all(PIF):
            if (metrics := store.find(PIFMetrics, card.metrics)) is not None:
                rates |= _rates((card.device,), metrics.io_read_kbs, metrics.io_write_kbs)
        return rates

    def states() -> dict[Labels, float]:
        guests = (vm for vm in store.all(VM) if not vm.is_a_template and not vm.is_control_domain)
        return {
            (state,): float(n) for state, n in Counter(str(vm.power_state) for vm in guests).items()
        }

    registry.add(
        Reading("gauge", "xapid_host_memory_bytes", "Memory of the host.", memory, ("kind",)),
        Reading("gauge", "xapid_host_cpu_ratio", "Use of each processor.", processors, ("cpu",)),
        Reading(
            "gauge",
            "xapid_host_network_bytes_per_second",
            "What passes through the network cards.",
            cards,
            ("device", "direction"),
        ),
        Reading("gauge", "xapid_guests", "Guests, by power state.", states, ("power_state",)),
    )


def show_guests(registry: Registry, store: Store) -> None:
    """Show each guest that runs."""

    def running() -> Iterator[tuple[Labels, VM, VMMetrics]]:
        for vm in store.all(VM):
            metrics = store.find(VMMetrics, vm.metrics) if vm.domid >= 0 else None
            if metrics is not None:
                yield (vm.uuid, vm.name_label), vm, metrics

    def memory() -> dict[Labels, float]:
        return {labels: float(metrics.memory_actual) for labels, _, metrics in running()}

    def processors() -> dict[Labels, float]:
        return {
            (*labels, str(number)): use
            for labels, _, metrics in running()
            for number, use in metrics.VCPUs_utilisation.items()
        }

    def devices(field: str, cls: type[Class], metrics_cls: type[Class]) -> dict[Labels, float]:
        rates: dict[Labels, float] = {}
        for labels, vm, _ in running():
            for ref in vm.row[field]:
                device = store.find(cls, ref)
                found = store.find(metrics_cls, device.row["metrics"]) if device else None
                if device is not None and found is not None:
                    name = str(device.row.get("userdevice", device.row.get("device", "")))
                    row = found.row
                    rates |= _rates((*labels, name), row["io_read_kbs"], row["io_write_kbs"])
        return rates

    guest = ("uuid", "name")
    through = (*guest, "device", "direction")
    registry.add(
        Reading("gauge", "xapid_guest_memory_bytes", "Memory of a guest.", memory, guest),
        Reading("gauge", "xapid_guest_vcpu_ratio", "Use of a vCPU.", processors, (*guest, "vcpu")),
        Reading(
            "gauge",
            "xapid_guest_disk_bytes_per_second",
            "What a guest reads from its disks and writes to them.",
            lambda: devices("VBDs", VBD, VBDMetrics),
            through,
        ),
        Reading(
            "gauge",
            "xapid_guest_network_bytes_per_second",
            "What passes through a guest's interfaces.",
            lambda: devices("VIFs", VIF, VIFMetrics),
            through,
        ),
    )


def _rates(labels: Labels, read_kbs: float, write_kbs: float) -> dict[Labels, float]:
    return {(*labels, "read"): read_kbs * 1024, (*labels, "write"): write_kbs * 1024}
