"""What slow connections, many sessions and a busy client cost everybody else.

`python -m bench.limits` starts a daemon on the mock and measures the calls of four clients, two on
the Unix socket and two over TLS, a hundred calls a second each: before; while 10,000 sessions are
kept; while 5,000 slow connections stand as well (some silent, some that send a request's head or
body bit by bit, some that do not read their answers); beside one client that calls on 64
connections without a pause; and afterwards. It prints the 99th percentiles and their ratios.
Everything is on loopback. On a machine that others use, `chrt -f 1` in front of it takes what they
cost out of the figures; the load itself never runs with that priority.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.sslproto
import os
import random
import re
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from .processes import PATIENCE_S, cpu_s, request, resident_mib, start_xapid

ADDRESSES: Final = 25
"""From which the slow ones come: 127.0.0.2 and on."""

BUSY: Final = 64
EVERY_S: Final = 0.01
BIT_EVERY_S: Final = 2.0
KINDS: Final = ("silent", "head", "body", "reader")
_VALUE: Final = re.compile(rb"<name>Value</name><value>(.*?)</value>", re.DOTALL)
_LENGTH: Final = re.compile(rb"(?i)content-length: *(\d+)")


def raise_file_limit() -> None:
    """Let this process open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Client:
    """A client that keeps its connection, and makes it again when the server ended it."""

    def __init__(self, address: str, trusted: Path, *, source: str = "127.0.0.1") -> None:
        self._address = address
        self._source = source
        self._tls = ssl.create_default_context(cafile=trusted)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.broken = 0

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            if self._address.startswith("/"):
                self._streams = await asyncio.open_unix_connection(self._address)
            else:
                host, _, port = self._address.rpartition(":")
                self._streams = await asyncio.open_connection(
                    host, int(port), ssl=self._tls, local_addr=(self._source, 0)
                )
        return self._streams

    async def __call__(self, method: str, *params: str) -> bytes:
        """The answer, or "" when the connection was lost on the way."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await self._connected()
                writer.write(request(method, *params))
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                assert length is not None, head
                return await reader.readexactly(int(length[1]))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            self.broken += 1
            return b""

    async def value(self, method: str, *params: str) -> str:
        found = _VALUE.search(await self(method, *params))
        assert found is not None
        return found[1].decode()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Callers:
    """The clients that are measured."""

    def __init__(self, clients: dict[str, list[Client]], session: str, host: str) -> None:
        self._clients = clients
        self._calls = (("host.get_name_label", host), ("host.get_record", host), ("VM.get_all",))
        self._session = session

    async def measure(self, seconds: float) -> dict[str, list[float]]:
        """Milliseconds of every call, by how it came."""
        found: dict[str, list[float]] = {kind: [] for kind in self._clients}
        end = time.monotonic() + seconds

        async def call_on(client: Client, times: list[float], first: float) -> None:
            due, number = first, 0
            while due < end:
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
                method, *params = self._calls[number % len(self._calls)]
                began = time.perf_counter()
                answer = await client(method, self._session, *params)
                times.append((time.perf_counter() - began) * 1000)
                assert not answer or b"Success" in answer, answer
                due, number = max(due + EVERY_S, time.monotonic()), number + 1

        async with asyncio.TaskGroup() as group:
            for kind, clients in self._clients.items():
                for place, client in enumerate(clients):
                    first = time.monotonic() + EVERY_S * place / len(clients)
                    group.create_task(call_on(client, found[kind], first))
        return found

    @property
    def broken(self) -> int:
        return sum(client.broken for clients in self._clients.values() for client in clients)


# The slow ones, in a process of their own


class Slow:
    """Connections that are as slow as can be, each made again when the server ends it."""

    def __init__(self, address: str, trusted: Path, session: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._tls = ssl.create_default_context(cafile=trusted)
        self._session = session
        self.open: Counter[str] = Counter()
        self.ended = 0

    async def keep(self, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        source = (f"127.0.0.{2 + number // len(KINDS) % ADDRESSES}", 0)
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    self._host,
                    self._port,
                    local_addr=source,
                    ssl=None if kind == "silent" else self._tls,
                    ssl_handshake_timeout=None if kind == "silent" else PATIENCE_S,
                )
            except (OSError, ssl.SSLError):
                await asyncio.sleep(1.0 + random.random())  # noqa: S311
                continue
            self.open[kind] += 1
            try:
                await self._stand(kind, reader, writer)
            except (OSError, ssl.SSLError):
                pass
            finally:
                self.open[kind] -= 1
                self.ended += 1
                writer.transport.abort()
            await asyncio.sleep(1.0 + random.random())  # noqa: S311

    async def _stand(
        self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Do as little as the kind does, until the server ends it."""
        if kind == "reader":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request("VM.get_all_records", self._session) * 50)
        while not writer.is_closing():
            if kind == "head":
                writer.write(b"P" if self._first(writer) else b"X-Slow: ")
            elif kind == "body":
                first = self._first(writer)
                writer.write(request("a", "b" * 900)[:200] if first else b"b")
            await asyncio.sleep(BIT_EVERY_S * (0.5 + random.random()))  # noqa: S311
            if reader.at_eof():
                return

    @staticmethod
    def _first(writer: asyncio.StreamWriter) -> bool:
        seen = getattr(writer, "begun", False)
        writer.begun = True  # type: ignore[attr-defined]
        return not seen


async def be_slow(count: int, address: str, trusted: Path, session: str) -> None:
    """Keep the connections until the parent goes away, and tell it how many stand.

    With the least priority: what they cost the machine's processors is not what is measured.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    raise_file_limit()
    asyncio.sslproto.SSLProtocol.max_size = 16 * 1024  # type: ignore[attr-defined]
    slow = Slow(address, trusted, session)
    tasks = [asyncio.create_task(slow.keep(number)) for number in range(count)]
    async for _ in told_by_parent():
        stand = sum(slow.open.values())
        print(stand, slow.ended, *(f"{kind}={slow.open[kind]}" for kind in KINDS), flush=True)
    for task in tasks:
        task.cancel()


async def be_busy(count: int, address: str, trusted: Path, session: str) -> None:
    """Call on so many connections without a pause, and tell the parent how often."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    asyncio.sslproto.SSLProtocol.max_size = 16 * 1024  # type: ignore[attr-defined]
    clients = [Client(address, trusted, source="127.0.0.100") for _ in range(count)]
    calls = 0

    async def hammer(client: Client) -> None:
        nonlocal calls
        while True:
            await client("VM.get_all_records", session)
            calls += 1

    tasks = [asyncio.create_task(hammer(client)) for client in clients]
    async for _ in told_by_parent():
        print(calls, flush=True)
    for task in tasks:
        task.cancel()


async def told_by_parent() -> AsyncIterator[bytes]:
    """The lines on stdin, until the parent goes away."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line


class Load:
    """The process of those who slow others down, as the parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, kind: str, count: int, address: str, trusted: Path, session: str) -> Load:
        command = [sys.executable, "-m", "bench.limits", f"--{kind}", str(count), address]
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                *command, str(trusted), session, stdin=pipe, stdout=pipe
            )
        )

    async def state(self) -> list[str]:
        """What it tells: of the slow ones how many stand, were ended, and stand by kind."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return (await self._process.stdout.readline()).decode().split()

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


# The measurement


async def gather(
    socket: Path, address: str, trusted: Path, chosen: argparse.Namespace, process: int
) -> int:
    """Measure before, under load, and after; the exit code says whether the ratio is kept."""
    clients = {
        "Unix": [Client(str(socket), trusted) for _ in range(2)],
        "TLS": [Client(address, trusted) for _ in range(2)],
    }
    first = clients["Unix"][0]
    session = await first.value("session.login_with_password", "root", "")
    hosts = await first("host.get_all", session)
    host = hosts.split(b"OpaqueRef:")[1].split(b"<")[0].decode()
    callers = Callers(clients, session, f"OpaqueRef:{host}")
    await callers.measure(2.0)
    before = await callers.measure(chosen.seconds)
    memory = resident_mib(process)
    for _ in range(chosen.sessions):
        await first("session.login_with_password", "root", "")
    print(f"{chosen.sessions} sessions: {resident_mib(process) - memory:.0f} MiB more")
    sessions_only = await callers.measure(chosen.seconds)
    slow = await Load.start("slow", chosen.connections, address, trusted, session)
    try:
        await _settle(slow, chosen)
        standing = await slow.state()
        lag = await lag_counts(socket)
        cpu, began = cpu_s(process), time.monotonic()
        during = await callers.measure(chosen.seconds)
        busy = (cpu_s(process) - cpu) / (time.monotonic() - began)
        print(f"slow connections that stand: {' '.join(standing)}, then", end=" ")
        print(f"{' '.join(await slow.state())}; the daemon used {busy:.2f} of a CPU", end=" ")
        print(f"and {resident_mib(process):.0f} MiB ({memory:.0f} before)")
        figures = await metrics(socket)
        held = re.search(r'xapid_connections{socket="https"} (\d+)', figures)
        assert held is not None
        print(f"the daemon holds {held[1]} connections over TCP; ticks of its loop that came")
        late = await lag_counts(socket)
        shares = (f"{bound} s: {late[bound] - lag[bound]}" for bound in late)
        print(f"  at most so late: {', '.join(shares)}")
    finally:
        await slow.stop()
    await asyncio.sleep(3.0)
    busy_one = await Load.start("busy", BUSY, address, trusted, session)
    try:
        await asyncio.sleep(5.0)
        first_count = int((await busy_one.state())[0])
        beside = await callers.measure(chosen.seconds)
        calls = int((await busy_one.state())[0]) - first_count
        print(f"the busy client made {calls / chosen.seconds:.0f} calls a second")
    finally:
        await busy_one.stop()
    await asyncio.sleep(3.0)
    after = await callers.measure(chosen.seconds)
    print(f"connections of measured clients that were lost: {callers.broken}")
    for each in (client for both in clients.values() for client in both):
        each.close()
    return report(before, sessions_only, during, beside, after)


async def metrics(socket: Path) -> str:
    """The daemon's figures."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


async def lag_counts(socket: Path) -> dict[str, int]:
    """How many ticks of the daemon's loop came at most so late, by seconds."""
    found = re.findall(r'xapid_loop_lag_seconds_bucket{le="([^"]+)"} (\d+)', await metrics(socket))
    return {bound: int(count) for bound, count in found}


async def _settle(slow: Load, chosen: argparse.Namespace) -> None:
    """Wait until nearly all stand, or no more come."""
    most, unchanged = 0, 0
    for _ in range(chosen.patience):
        await asyncio.sleep(1.0)
        stand = int((await slow.state())[0])
        unchanged = 0 if stand > most else unchanged + 1
        most = max(most, stand)
        if stand >= 0.95 * chosen.connections or unchanged >= 15:
            return


def report(*phases: dict[str, list[float]]) -> int:
    """Print what was measured; 1 when a 99th percentile more than doubled."""
    names = ("before", "10,000 sessions", "and slow connections", "a busy client", "after")
    failed = 0
    for kind in phases[0]:
        p99 = [statistics.quantiles(phase[kind], n=100)[98] for phase in phases]
        p50 = [statistics.median(phase[kind]) for phase in phases]
        base = (p99[0] + p99[-1]) / 2
        for name, phase, middle, high in zip(names, phases, p50, p99, strict=True):
            calls = len(phase[kind])
            print(f"{kind}, {name}: {calls} calls, median {middle:.2f} ms, 99th {high:.2f} ms")
        print(
            f"{kind}: the 99th percentile is {p99[2] / base:.2f} times that of before and after"
            f" with slow connections, {p99[3] / base:.2f} times beside a busy client"
        )
        failed += p99[2] > 2 * base
    return int(failed > 0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.limits")
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--places", type=int, default=6_000, help="listen.tcp_connections")
    parser.add_argument("--patience", type=int, default=120, help="seconds until they stand")
    parser.add_argument("--slow", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--busy", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if load := chosen.slow or chosen.busy:
        count, address, trusted, session = load
        be = be_slow if chosen.slow else be_busy
        asyncio.run(be(int(count), address, Path(trusted), session))
        return 0
    raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="xapid-limits-") as directory:
        state = Path(directory)
        settings = state / "xapid.toml"
        settings.write_text(
            f"[listen]\ntcp_connections = {chosen.places}\n"
            "[sessions]\nper_user = 20000\ntotal = 20000\n"
        )
        process = start_xapid(state, settings)
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("xapid ready "), (state / "log").read_text()
            address = ready.split()[2].removeprefix("https=")
            trusted = state / "tls/server.crt"
            print(f"places over TCP: {chosen.places}")
            return asyncio.run(gather(state / "s", address, trusted, chosen, process.pid))
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
