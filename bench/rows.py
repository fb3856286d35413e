"""What is measured: one function for each subject, each giving its rows."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from xapid.db.writer import UPSERT

from .lag import Lag
from .processes import (
    Server,
    Xapid,
    libvirtd,
    nginx,
    request,
    resident_mib,
    start_xapid,
    xapid,
)
from .samples import BUILT, MICRO, Row, Sample, load, median_us, p99_us, rate, script, virt

VMS: Final = 1_000
CLIENTS: Final = 32
WAITING: Final = 100
CLASSES: Final = ("VM", "VBD", "VIF", "VDI", "SR", "network", "host", "VM_metrics")
ARRAY: Final = "<array><data><value>VM</value></data></array>"
VARIED: Final = "changed @@@@@@@@"  # the load client counts there
FALSE: Final = "<boolean>0</boolean>"


@dataclass
class World:
    """The servers that stay up all the time."""

    seconds: float
    directory: Path
    x: Xapid
    libvirt: Server
    file_unix: Server
    file_tls: Server
    vms: list[str]
    bare: list[str]

    def calls(self, address: str, connections: int, *methods: tuple[str, ...]) -> dict[str, float]:
        """Load with a call on as many VMs as there are connections."""
        requests = [
            [request(name, self.x.session, self.vms[n], *more) for name, *more in methods]
            for n in range(connections)
        ]
        return self.load(address, requests)

    def load(self, address: str, requests: list[list[bytes]]) -> dict[str, float]:
        path = script(requests)
        try:
            return load(address, len(requests), self.seconds, path, self.x.pid)
        finally:
            path.unlink()

    def virt(self, mode: str, count: int) -> dict[str, float]:
        return virt(self.libvirt.address, mode, count, self.seconds, self.libvirt.pid)


@contextmanager
def world(directory: Path, seconds: float) -> Iterator[World]:
    """xapid, libvirtd and nginx, with the same 1,000 VMs, or their bytes in a file."""
    with ExitStack() as stack:
        x = stack.enter_context(xapid(directory / "xapid", count=VMS, bare=CLIENTS))
        peer = stack.enter_context(libvirtd(directory / "libvirt", BUILT / "virt", VMS))
        files = directory / "nginx"
        file_unix, file_tls = stack.enter_context(nginx(files, x.state / "tls"))
        (files / "files" / "all.xml").write_bytes(x.call("VM.get_all_records"))
        set_knobs(x.state / "mock-xen", build_ms=0)
        yield World(seconds, directory, x, peer, file_unix, file_tls, x.refs("vm"), x.refs("bare"))


def set_knobs(state: Path, **knobs: int) -> None:
    """Let the mock take so long over things."""
    program = "from xapid.xenworker._libxl_mock import lib\n"
    program += "\n".join(
        f"assert lib.xapid_mock_set({name.encode()!r}, {value}) == 0"
        for name, value in knobs.items()
    )
    environment = {**os.environ, "XAPID_MOCK_STATE": str(state)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def getters(w: World) -> Iterator[Row]:
    many, one = ("VM.get_power_state",), "libvirtd, info"
    for side, address, least in (("Unix", w.x.unix, 2.5), ("TLS", w.x.tls, 1.5)):
        yield Row(
            f"1 {side}",
            f"a getter, {CLIENTS} connections, {side}",
            one,
            "calls/s",
            partial(lambda address: rate(w.calls(address, CLIENTS, many)), address),
            lambda: rate(w.virt("info", CLIENTS)),
            least=least,
        )
    yield Row(
        "2",
        "a getter, 1 connection, p50",
        one,
        "us",
        lambda: median_us(w.calls(w.x.unix, 1, many)),
        lambda: median_us(w.virt("info", 1)),
        most=1.0,
    )


def records(w: World) -> Iterator[Row]:
    yield Row(
        "3",
        f"VM.get_record, {CLIENTS} connections",
        "libvirtd, XMLDesc",
        "calls/s",
        lambda: rate(w.calls(w.x.unix, CLIENTS, ("VM.get_record",))),
        lambda: rate(w.virt("xml", CLIENTS)),
        least=2.5,
    )
    everything = request("VM.get_all_records", w.x.session)
    file = b"GET /all.xml HTTP/1.1\r\nHost: x\r\n\r\n"
    sides = (("Unix", w.x.unix, w.file_unix, 1 / 30), ("TLS", w.x.tls, w.file_tls, 1 / 12))
    for side, address, _, most in sides:
        yield Row(
            f"4 {side}",
            f"VM.get_all_records of {VMS}, {side}",
            "libvirtd, list and XMLDesc of each",
            "us",
            partial(lambda address: median_us(w.load(address, [[everything]])), address),
            lambda: median_us(w.virt("list", 1)),
            most=most,
        )
    for side, address, server, _ in sides:
        yield Row(
            f"5 {side}",
            f"VM.get_all_records of {VMS}, {side}",
            "nginx, the same bytes",
            "us",
            partial(lambda address: median_us(w.load(address, [[everything]])), address),
            partial(lambda address: median_us(w.load(address, [[file]])), server.address),
            most=1.5,
        )


def writes(w: World) -> Iterator[Row]:
    setter = ("VM.set_name_description", VARIED)
    yield Row(
        "6",
        f"a durable setter, {CLIENTS} clients",
        "libvirtd, define + undefine (memory)",
        "calls/s",
        lambda: rate(w.calls(w.x.unix, CLIENTS, setter)),
        lambda: rate(w.virt("define", CLIENTS)),
        least=3.0,
    )
    yield Row(
        "7",
        "a durable setter, 64 clients",
        "sqlite3 alone, FULL, 64 rows a commit",
        "calls/s",
        lambda: rate(w.calls(w.x.unix, 64, setter)),
        partial(sqlite_alone, w),
        least=0.5,
    )


def sqlite_alone(w: World) -> Sample:
    """Rows a second that SQLite takes: the daemon's own rows, 64 changed in each commit."""
    path = w.directory / "alone.db"
    with sqlite3.connect(w.x.state / "state.db") as source, sqlite3.connect(path) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    rows = connection.execute(
        "SELECT ref, class, uuid, body FROM object WHERE class = 'VM' LIMIT 64"
    ).fetchall()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < w.seconds:
        mark = b"%08d" % (done % 10**8)
        changed = [(r, c, u, bytes(b).replace(b"description", mark, 1)) for r, c, u, b in rows]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(UPSERT, changed)
        connection.execute("COMMIT")
        done += len(rows)
    took = time.perf_counter() - began
    connection.close()
    for each in path.parent.glob("alone.db*"):
        each.unlink()
    return Sample(done / took)


def events(w: World) -> Iterator[Row]:
    sessions = [w.x.login() for _ in range(WAITING)]
    for session in sessions:
        w.x.call("event.register", ARRAY, session=session)
    change = [request("VM.set_name_label", w.x.session, w.vms[0], VARIED)]
    requests = [change, *([request("event.next", session)] for session in sessions)]
    rounds = 20

    def ours() -> Sample:
        path = script(requests)
        try:
            return median_us(load(w.x.unix, len(requests), -rounds, path, w.x.pid))
        finally:
            path.unlink()

    yield Row(
        "8",
        f"a durable change to the last of {WAITING} waiting clients",
        "libvirtd, lifecycle event (memory)",
        "us",
        ours,
        lambda: median_us(virt(w.libvirt.address, "events", WAITING, rounds, w.libvirt.pid)),
        most=1.5,
    )


def under_load(w: World) -> Iterator[Row]:
    setter = [
        [request("VM.set_name_description", w.x.session, w.vms[n + 1], VARIED)] for n in range(8)
    ]
    everything = [[request("VM.get_all_records", w.x.session)]]
    seconds = str(w.seconds + 1)

    @contextmanager
    def busy(*commands: list[str]) -> Iterator[None]:
        running = [subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in commands]
        time.sleep(0.3)
        yield
        for each in running:
            assert each.wait(60) == 0

    def ours() -> dict[str, float]:
        paths = [script(setter), script(everything)]
        client = str(BUILT / "load")
        writers = [client, w.x.unix, str(len(setter)), seconds, str(paths[0])]
        lister = [client, w.x.unix, "1", seconds, str(paths[1])]
        with busy(writers, lister):
            told = w.calls(w.x.unix, 1, ("VM.get_power_state",))
        for path in paths:
            path.unlink()
        return told

    def longest() -> Sample:
        lag = Lag(w.x)
        with lag.watched():
            ours()
        return Sample(lag.quantile(1.0) * MICRO)

    def theirs() -> Sample:
        client = [str(BUILT / "virt"), w.libvirt.address]
        with busy([*client, "define", "8", seconds], [*client, "list", "1", seconds]):
            told = w.virt("info", 1)
        return p99_us(told)

    yield Row(
        "9",
        f"a getter's p99 while {VMS} VMs are listed and eight write",
        "libvirtd, the same load",
        "us",
        lambda: p99_us(ours()),
        theirs,
        most=0.5,
    )
    yield Row(
        "9 loop",
        "the longest that a callback kept the loop meanwhile, at most",
        "5 ms",
        "us",
        longest,
        lambda: Sample(5_000),
        most=1.0,
    )


def lifecycle(w: World) -> Iterator[Row]:
    requests = [
        [
            request("VM.start", w.x.session, vm, FALSE, FALSE),
            request("VM.hard_shutdown", w.x.session, vm),
        ]
        for vm in w.bare
    ]
    yield Row(
        "10",
        f"start + hard_shutdown on the mock, {CLIENTS} clients",
        "libvirtd's test driver",
        "pairs/s",
        lambda: rate(w.load(w.x.unix, requests), 2),
        lambda: rate(w.virt("cycle", CLIENTS)),
        least=0.7,
    )


READ_RAW: Final = """
import sqlite3, sys
import xapid.daemon
sqlite3.connect(sys.argv[1]).execute("SELECT ref, class, body FROM object").fetchall()
"""


def starting(w: World) -> Iterator[Row]:
    state = w.directory / "start"
    with xapid(state, count=10_000 // 6):
        pass  # what only the first start does is done

    def ours() -> Sample:
        began = time.perf_counter()
        process = start_xapid(state, state / "xapid.toml")
        assert process.stdout is not None
        process.stdout.readline()
        daemon = Xapid(state, process, "")
        daemon.login()
        took = time.perf_counter() - began
        process.terminate()
        process.wait(60)
        process.stdout.close()
        return Sample(took)

    def theirs() -> Sample:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", READ_RAW, str(state / "state.db")], check=True)
        return Sample(time.perf_counter() - began)

    yield Row(
        "11",
        "process start to the first answer, 10,000 objects",
        "importing the modules, reading the raw rows",
        "s",
        ours,
        theirs,
        most=1.5,
    )


def memory(w: World) -> Iterator[Row]:
    state = w.directory / "memory"

    def ours() -> Sample:
        with xapid(state, count=VMS) as x:
            for cls in CLASSES:
                x.call(f"{cls}.get_all_records")
            return Sample(resident_mib(x.pid))

    def theirs() -> Sample:
        place = w.directory / f"libvirt-{time.monotonic_ns()}"
        with libvirtd(place, BUILT / "virt", VMS) as server:
            virt(server.address, "list", 1, 0.1, server.pid)
            return Sample(resident_mib(server.pid))

    yield Row(
        "12",
        f"resident memory, {VMS} VMs, every record read",
        "libvirtd, the same domains",
        "MiB",
        ours,
        theirs,
        most=2.5,
    )


def size(w: World) -> Iterator[Row]:
    with (
        xapid(w.directory / "ten-thousand", count=10_000) as large,
        xapid(w.directory / "hundred", count=100) as small,
    ):

        def cost(x: Xapid) -> Sample:
            requests = [[request("VM.get_record", x.session, ref)] for ref in some[x.pid]]
            path = script(requests)
            try:
                told = load(x.unix, len(requests), w.seconds, path, x.pid)
            finally:
                path.unlink()
            return Sample(told["server_cpu_us"], told["server_cpu_us"], told)

        some = {
            x.pid: re.findall(r"OpaqueRef:[0-9a-f-]{36}", x.call("VM.get_all").decode())[:CLIENTS]
            for x in (large, small)
        }
        yield Row(
            "15",
            "CPU of a VM.get_record with 10,000 VMs",
            "with 100 VMs",
            "us",
            partial(cost, large),
            partial(cost, small),
            most=1.2,
        )


SUBJECTS: Final = (
    getters,
    records,
    writes,
    events,
    under_load,
    lifecycle,
    starting,
    memory,
    size,
)
