"""What xapid costs when there is much of everything.

`python -m bench.scale` starts daemons on the mock and measures, each as a ratio or a share seen in
one run: calls with 5,000 VMs and 20,000 devices against the same with 100 VMs; the sampling of 200
running guests; scans of SRs with 10,000 disks; what a change costs with 1,000 waiting clients
against 100; and the event loop's lag while 100 guests start at once. Everything is on loopback.
CPU is the daemon's own, from the kernel's scheduler, that of the idle daemon taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .crowd import add_vms, make_qcow2_disks
from .lag import Lag
from .processes import PATIENCE_S, Xapid, request, xapid
from .rows import set_knobs
from .samples import BUILT, load, script

MANY: Final = 5_000
FEW: Final = 100
DISKS: Final = 10_000
RUNNING: Final = 200
STORM: Final = 100
STORMS: Final = 5
WAITING: Final = (100, 1_000)
SIZE: Final = str(1 << 30)
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (nothing is kept there)
ALLOWED_RATIO: Final = 1.5
ALLOWED_SHARE: Final = 0.05
ALLOWED_SCAN_S: Final = 2.0
ALLOWED_WAITING: Final = 12.0
ALLOWED_LAG_S: Final = 0.02

_VALUE: Final = re.compile(rb"<name>Value</name><value>(.*?)</value>", re.DOTALL)
_LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")
FALSE: Final = "<boolean>0</boolean>"


# Measuring


def cpu_s(pid: int) -> float:
    """CPU time of a process's living threads so far, in seconds; finer than the clock's ticks."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def worker_of(pid: int) -> int:
    """The xapid-xen that an xapid started."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"xapid.xenworker" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise LookupError("no xapid-xen")


class Caller:
    """One connection to a daemon's Unix socket, which waits for each answer."""

    def __init__(self, x: Xapid, session: str = "") -> None:
        self.session = session or x.session
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(x.socket))
        self.call("VM.get_all")  # a connection that stays silent would soon be ended

    def ask(self, method: str, *params: str) -> None:
        self._socket.sendall(request(method, self.session, *params))

    def answer(self) -> bytes:
        answered = b""
        while not (head := answered.partition(b"\r\n\r\n"))[1]:
            answered += self._read()
        length = _LENGTH.search(head[0])
        assert length is not None, answered
        body = [head[2]]
        left = int(length[1]) - len(head[2])
        while left:
            body.append(self._read())
            left -= len(body[-1])
        whole = b"".join(body)
        assert b"<value>Success</value>" in whole, whole[:1000]
        return whole

    def _read(self) -> bytes:
        piece = self._socket.recv(1 << 20)
        assert piece, "the daemon ended the connection"
        return piece

    def call(self, method: str, *params: str) -> str:
        """The answer's value."""
        self.ask(method, *params)
        found = _VALUE.search(self.answer())
        return found[1].decode() if found is not None else ""

    def close(self) -> None:
        self._socket.close()


@dataclass
class Row:
    """One line of the table. cells: what is shown, in the order of the table's columns."""

    cells: list[str]
    value: float
    most: float | None = None
    more: dict[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        return self.most is None or self.value <= self.most

    def shown(self) -> str:
        word = "" if self.most is None else "reached" if self.reached else "**missed**"
        return "| " + " | ".join([*self.cells, word]) + " |"


# Calls with few and with many VMs


@dataclass
class Side:
    """A daemon with some VMs, and connections to it."""

    x: Xapid
    caller: Caller
    listener: Caller
    vms: list[str]
    network: str
    vdi: str
    sr: str
    small_sr: str
    bare: str
    other: dict[str, str] = field(default_factory=dict)

    def next(self, number: int) -> str:
        """One of the VMs, another one each time."""
        return self.vms[number * 37 % len(self.vms)]


Operation = Callable[[Side, int], object]


def struct(**members: str) -> str:
    """The <value> of a record of texts and, in pointed brackets, of other values."""
    shown = (f"<member><name>{k}</name><value>{v}</value></member>" for k, v in members.items())
    return f"<struct>{''.join(shown)}</struct>"


def vm_record(name: str) -> str:
    size = str(64 << 20)
    empty = "<struct></struct>"
    texts = {
        **dict.fromkeys(("name_description", "affinity", "PV_kernel", "PV_ramdisk"), ""),
        **dict.fromkeys(("PV_args", "PV_bootloader_args", "PV_legacy_args", "PCI_bus"), ""),
        **dict.fromkeys(("HVM_boot_policy", "recommendations"), ""),
        **dict.fromkeys(("actions_after_shutdown", "actions_after_crash"), "destroy"),
        **dict.fromkeys(("VCPUs_max", "VCPUs_at_startup", "user_version"), "1"),
    }
    sizes = ("static_max", "dynamic_max", "dynamic_min", "static_min", "target")
    texts |= {f"memory_{each}": size for each in sizes}
    texts |= dict.fromkeys(
        ("VCPUs_params", "HVM_boot_params", "platform", "other_config", "xenstore_data"), empty
    )
    return struct(
        **texts,
        name_label=name,
        is_a_template=FALSE,
        actions_after_reboot="restart",
        PV_bootloader="pygrub",
        HVM_shadow_multiplier="<double>1.0</double>",
    )


def vbd_record(vm: str, vdi: str) -> str:
    return struct(
        **{"VM": vm, "VDI": vdi, "userdevice": "5", "bootable": FALSE, "mode": "RO"},
        **{"type": "Disk", "unpluggable": "<boolean>1</boolean>", "empty": FALSE},
        **dict.fromkeys(("other_config", "qos_algorithm_params"), "<struct></struct>"),
        qos_algorithm_type="",
    )


def vif_record(vm: str, network: str) -> str:
    return struct(
        **{"VM": vm, "network": network, "device": "5", "MAC": "", "MTU": "1500"},
        **dict.fromkeys(("other_config", "qos_algorithm_params"), "<struct></struct>"),
        qos_algorithm_type="",
    )


def vdi_record(sr: str) -> str:
    return struct(
        **{"name_label": "made", "name_description": "", "SR": sr, "virtual_size": SIZE},
        **{"type": "user", "sharable": FALSE, "read_only": FALSE},
        **dict.fromkeys(("other_config", "xenstore_data", "sm_config"), "<struct></struct>"),
    )


def made_and_destroyed(cls: str, record: Callable[[Side, int], str]) -> Operation:
    def operation(s: Side, number: int) -> None:
        ref = s.caller.call(f"{cls}.create", record(s, number))
        s.caller.call(f"{cls}.destroy", ref)

    return operation


def cloned(s: Side, number: int) -> None:
    s.caller.call("VM.destroy", s.caller.call("VM.clone", s.bare, f"clone {number}"))


def started(s: Side, number: int) -> None:
    vm = s.vms[number % 10]
    s.caller.call("VM.start", vm, FALSE, FALSE)
    s.caller.call("VM.hard_shutdown", vm)


def told(s: Side, number: int) -> None:
    s.listener.ask("event.next")
    s.caller.call("VM.set_name_description", s.bare, f"told {number} {time.monotonic_ns()}")
    s.listener.answer()


OPERATIONS: Final[dict[str, tuple[Operation, int]]] = {
    "VM.get_power_state": (lambda s, n: s.caller.call("VM.get_power_state", s.next(n)), 30),
    "VM.get_record": (lambda s, n: s.caller.call("VM.get_record", s.next(n)), 30),
    "VM.get_by_name_label": (lambda s, n: s.caller.call("VM.get_by_name_label", "vm0042"), 30),
    "VM.set_name_label": (
        lambda s, n: s.caller.call("VM.set_name_label", s.bare, f"bare {n} {time.time_ns()}"),
        12,
    ),
    "VM.add_to_other_config": (
        lambda s, n: s.caller.call("VM.add_to_other_config", s.bare, "k", str(time.time_ns())),
        12,
    ),
    "VM.create, destroy": (made_and_destroyed("VM", lambda s, n: vm_record(f"made {n}")), 5),
    "VM.clone, destroy": (cloned, 5),
    "VBD.create, destroy": (made_and_destroyed("VBD", lambda s, n: vbd_record(s.bare, s.vdi)), 5),
    "VIF.create, destroy": (
        made_and_destroyed("VIF", lambda s, n: vif_record(s.bare, s.network)),
        5,
    ),
    "VDI.create, destroy": (made_and_destroyed("VDI", lambda s, n: vdi_record(s.small_sr)), 3),
    "VDI.create, destroy where all disks are": (
        made_and_destroyed("VDI", lambda s, n: vdi_record(s.sr)),
        2,
    ),
    "SR.scan of 100 disks": (lambda s, n: s.caller.call("SR.scan", s.small_sr), 5),
    "VM.start, hard_shutdown": (started, 3),
    "a setter, event.next told": (told, 12),
}
"""What is measured, and how often in a round: seldom, so that both sides share what disturbs."""


@dataclass(frozen=True)
class Places:
    """Where databases and disks are."""

    state: Path
    disks: Path


@contextmanager
def prepared() -> Iterator[Places]:
    """Databases in memory where they can be: how fast a disk syncs is not what is measured."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="xapid-bench-", dir=memory) as state,
        tempfile.TemporaryDirectory(prefix="xapid-bench-") as disks,
    ):
        yield Places(Path(state), Path(disks))


@contextmanager
def side(places: Places, name: str, count: int) -> Iterator[Side]:
    """A daemon with so many VMs, whose disks are in one SR and whose interfaces on one network."""
    directory = places.state / name
    disks, small = places.disks / name / "disks", places.disks / name / "small"
    directory.mkdir()
    with xapid(directory) as x:
        host = refs(x, "host")[0]
        sr = create_sr(x, host, disks, "raw")
        small_sr = create_sr(x, host, small, "raw")
        caller = Caller(x)
        for _ in range(FEW):
            vdi = caller.call("VDI.create", vdi_record(small_sr))
        network = caller.call("network.create", struct(name_label="crowd", bridge="crowd"))
        bare = caller.call("VM.create", vm_record("bare"))
        caller.close()
    asyncio.run(add_vms(directory / "state.db", sr, disks, network, count))
    with xapid(directory) as x:
        set_knobs(directory / "mock-xen", build_ms=0)
        caller, listener = Caller(x), Caller(x, x.login())
        listener.call("event.register", "<array><data><value>VM</value></data></array>")
        yield Side(*(x, caller, listener, x.refs("vm0")[:FEW], network, vdi, sr, small_sr, bare))
        caller.close()
        listener.close()


def create_sr(x: Xapid, host: str, place: Path, images: str) -> str:
    config = struct(location=str(place), format=images)
    texts = ("0", "disks", "", "file", "", FALSE)
    return x.value("SR.create", host, config, *texts)


def refs(x: Xapid, cls: str) -> list[str]:
    return re.findall(r"OpaqueRef:[0-9a-f-]{36}", x.call(f"{cls}.get_all").decode())


@dataclass
class Seen:
    """What one operation took on one side, in seconds each time. cpu_s: in each round."""

    latency_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def calls(few: Side, many: Side, rounds: int, only: str) -> Iterator[Row]:
    """Each operation in turn with few and with many VMs."""
    idle = {s.x.pid: idle_share(s.x.pid, 10.0) for s in (few, many)}
    yield Row(
        [
            "an idle daemon",
            f"{idle[few.x.pid]:.2%}",
            f"{idle[many.x.pid]:.2%}",
            "of a core",
            "",
            "",
        ],
        idle[many.x.pid],
    )
    for name, (operation, times) in OPERATIONS.items():
        if only not in name:
            continue
        seen = {few.x.pid: Seen(), many.x.pid: Seen()}
        for number in range(rounds + 1):
            for s in (few, many):
                once = _round(s, operation, number * times, times, idle[s.x.pid])
                if number:  # the first round counts for nothing
                    seen[s.x.pid].latency_s += once.latency_s
                    seen[s.x.pid].cpu_s += once.cpu_s
        yield _compared(name, seen[few.x.pid], seen[many.x.pid])


def _round(s: Side, operation: Operation, first: int, times: int, idle: float) -> Seen:
    latencies = []
    began, cpu = time.monotonic(), cpu_s(s.x.pid)
    for number in range(first, first + times):
        start = time.perf_counter()
        operation(s, number)
        latencies.append(time.perf_counter() - start)
    used = cpu_s(s.x.pid) - cpu - idle * (time.monotonic() - began)
    return Seen(latencies, [max(used, 0.0) / times])


def _compared(name: str, few: Seen, many: Seen) -> Row:
    latency = [statistics.median(each.latency_s) * 1e6 for each in (few, many)]
    cpu = [statistics.median(each.cpu_s) * 1e6 for each in (few, many)]
    by_latency, by_cpu = latency[1] / latency[0], cpu[1] / max(cpu[0], 1e-9)
    cells = [
        name,
        *(f"{latency[n]:,.0f} µs, {cpu[n]:,.0f} of CPU" for n in (0, 1)),
        f"{by_latency:.2f}, CPU {by_cpu:.2f}",
        f"≤ {ALLOWED_RATIO}",
    ]
    more = dict(zip(("few_us", "many_us"), latency, strict=True))
    more |= dict(zip(("few_cpu_us", "many_cpu_us"), cpu, strict=True))
    return Row(cells, max(by_latency, by_cpu), ALLOWED_RATIO, more)


def idle_share(pid: int, seconds: float) -> float:
    """The share of a core that a process takes, on average."""
    time.sleep(1.0)
    began, cpu = time.monotonic(), cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - cpu) / (time.monotonic() - began)


# Running guests


def all_of(x: Xapid, vms: list[str], method: str, *params: str) -> None:
    """Do this with all of the VMs at once and wait until all of it is done."""
    caller = Caller(x)
    tasks = [caller.call(method, vm, *params) for vm in vms]
    for task in tasks:
        while (status := caller.call("task.get_status", task)) == "pending":
            time.sleep(0.05)
        assert status == "success", caller.call("task.get_error_info", task)
    caller.close()


def storm_and_sampling(places: Places, seconds: float) -> Iterator[Row]:
    """How late the loop is while guests start at once; what runs cost while they run."""
    with side(places, "running", RUNNING) as s:
        running = s.x.refs("vm0")
        lag = Lag(s.x)
        for number in range(STORMS):
            if number:
                all_of(s.x, running[:STORM], "Async.VM.hard_shutdown")
            with lag.watched():
                all_of(s.x, running[:STORM], "Async.VM.start", FALSE, FALSE)
        worst, p99 = lag.quantile(1.0), lag.quantile(0.99)
        yield Row(
            [
                f"{STORM} guests start at once, {STORMS} times: the loop's lag, 99th percentile",
                f"at most {p99 * 1e3:g} ms",
                f"worst at most {worst * 1e3:g} ms",
                f"≤ {ALLOWED_LAG_S * 1e3:g} ms",
            ],
            p99,
            ALLOWED_LAG_S,
        )
        all_of(s.x, running[STORM:], "Async.VM.start", FALSE, FALSE)
        worker = worker_of(s.x.pid)
        time.sleep(10.0)  # until nothing of the starts is left to do
        began, cpu = time.monotonic(), (cpu_s(s.x.pid), cpu_s(worker))
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        ours, theirs = (cpu_s(s.x.pid) - cpu[0]) / elapsed, (cpu_s(worker) - cpu[1]) / elapsed
        yield Row(
            [
                f"{RUNNING} guests run, with {4 * RUNNING} devices",
                f"xapid {ours:.2%} of a core",
                f"xapid-xen {theirs:.2%}",
                f"≤ {ALLOWED_SHARE:.0%}",
            ],
            ours,
            ALLOWED_SHARE,
        )


# Scans


def scans(s: Side, directory: Path) -> Iterator[Row]:
    """Scans of 10,000 disks: raw ones with their labels, and qcow2 ones that are new."""
    qcow2 = create_sr(s.x, refs(s.x, "host")[0], directory, "qcow2")
    make_qcow2_disks(directory, DISKS)
    for what, sr in (
        ("raw disks, all known", s.sr),
        ("qcow2 disks, all new", qcow2),
        ("qcow2 disks, all known", qcow2),
    ):
        lag = Lag(s.x)
        with lag.watched():
            cpu, began = cpu_s(s.x.pid), time.perf_counter()
            s.caller.call("SR.scan", sr)
            took, used = time.perf_counter() - began, cpu_s(s.x.pid) - cpu
        worst = lag.quantile(1.0)
        cells = [
            f"SR.scan of {DISKS:,} {what}",
            f"{took:.2f} s, {used:.2f} of CPU",
            f"the loop's worst lag at most {worst * 1e3:g} ms",
            f"≤ {ALLOWED_SCAN_S:g} s",
        ]
        yield Row(cells, took, ALLOWED_SCAN_S, {"cpu_s": used, "lag_s": worst})


# Waiting clients


def waiting(x: Xapid, vm: str, rounds: int) -> Row:
    """The daemon's CPU for one change that so many clients wait for, and ask again."""
    costs = []
    for count in WAITING:
        sessions = [x.login() for _ in range(count)]
        for session in sessions:
            array = "<array><data><value>VM</value></data></array>"
            x.call("event.register", array, session=session)
        change = [request("VM.set_name_label", x.session, vm, "changed @@@@@@@@")]
        path = script([change, *([request("event.next", session)] for session in sessions)])
        few, many = rounds, 3 * rounds  # the difference has no connecting in it
        cpu = [
            told["server_cpu_us"] * told["calls"]
            for told in (load(x.unix, count + 1, -n, path, x.pid) for n in (few, many))
        ]
        path.unlink()
        costs.append((cpu[1] - cpu[0]) / (many - few))
        for session in sessions:
            x.raw("session.logout", session)
    ratio = costs[1] / costs[0]
    cells = [
        f"CPU of a change that {WAITING[0]} clients wait for, and that {WAITING[1]:,} do",
        *(f"{cost / 1e3:.1f} ms" for cost in costs),
        f"{ratio:.1f} times",
        f"≤ {ALLOWED_WAITING:g}",
    ]
    return Row(cells, ratio, ALLOWED_WAITING)


# The whole


def measured(places: Places, arguments: argparse.Namespace) -> Iterator[Row | str]:
    """The rows, and the heads of the tables before them."""
    parts = set(arguments.only.split(","))
    if parts & {"calls", "scans", "waiting", ""}:
        with side(places, "few", FEW) as few, side(places, "many", MANY) as many:
            if parts & {"calls", ""}:
                yield f"| | {FEW} VMs | {MANY:,} VMs | ratio | goal | |\n|---|---|---|---|---|---|"
                yield from calls(few, many, arguments.rounds, arguments.operation)
            if parts & {"waiting", ""}:
                yield "\n| | 100 | 1,000 | ratio | goal | |\n|---|---|---|---|---|---|"
                yield waiting(few.x, few.bare, 5)
            if parts & {"scans", ""}:
                yield HEAD
                yield from scans(many, places.disks / "qcow2")
    if parts & {"guests", ""}:
        yield HEAD
        yield from storm_and_sampling(places, 30.0)


HEAD: Final = "\n| | seen | beside it | goal | |\n|---|---|---|---|---|"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of each operation on each side")
    parser.add_argument("--only", default="", help="of calls, waiting, scans, guests")
    parser.add_argument("--operation", default="", help="only operations whose names contain this")
    arguments = parser.parse_args()
    began, rows = time.monotonic(), []
    with prepared() as places:
        for row in measured(places, arguments):
            print(row if isinstance(row, str) else row.shown(), flush=True)
            if isinstance(row, Row):
                rows.append(row)
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    now = datetime.now(UTC)
    path = BUILT / f"scale-{now:%Y%m%dT%H%M%S}-{commit or 'unknown'}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"at": now.isoformat(), "rows": [vars(row) for row in rows]}))
    print(f"\n{time.monotonic() - began:.0f} s; saved in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
