"""This host on a real store, with a Xen that is played and an operating system that pretends."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from xapid.config import Config
from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import VmPowerState
from xapid.datamodel.host import Host
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.host.crashdumps import CrashdumpService
from xapid.services.host.machine import PretendMachine
from xapid.services.host.report import Reporter
from xapid.services.host.reports import HostReportService
from xapid.services.host.rules import OPERATIONS, host_refusal
from xapid.services.host.state import HostStateService
from xapid.services.operations import Operations
from xapid.xen.types import CpuPlace, Domain, Hello, NumaNode, PhysInfo, VersionInfo

NOW = datetime(2030, 1, 1, tzinfo=UTC)
numbers = itertools.count()


DOM0 = Domain(
    domid=0, uuid="0" * 36, name="Domain-0", ours=False, running=True, blocked=False, paused=False,
    shutdown=False, shutdown_reason="none", dying=False, domain_type="pv", current_memkb=1 << 20,
    max_memkb=1 << 20, cpu_time_ns=1, vcpu_online=2, vcpu_max_id=1,
)  # fmt: skip
VERSION_INFO = VersionInfo(
    major=4, minor=17, extra=".5", pagesize=4096, changeset="abc", commandline="placeholder",
    build_id="1f", compiler="cc", compile_by="me", compile_domain="here", compile_date="today",
    capabilities="xen-3.0-x86_64 hvm-3.0-x86_64",
)  # fmt: skip
PHYSICAL = PhysInfo(
    threads_per_core=2, cores_per_socket=2, max_cpu_id=7, nr_cpus=4, cpu_khz=2_400_000,
    total_pages=1 << 20, free_pages=1 << 19, scrub_pages=0, outstanding_pages=0, nr_nodes=1,
    cap_hvm=True, cap_pv=True, cap_hvm_directio=False, cap_hap=True, cap_shadow=True,
    hw_cap=(0b11, 1, 0, 4, 0, 0, 0, 0),
)  # fmt: skip
PLACES = [CpuPlace(cpu=n, core=n // 2, socket=0, node=0) for n in range(4)]


class PlayedXen:
    """A host with what XenClient would say of it; `ring` is Xen's console."""

    def __init__(self) -> None:
        self.domains = [DOM0]
        self.physical = PHYSICAL
        self.places = PLACES
        self.ring = "(XEN) booted\n"

    async def hello(self) -> Hello:
        return Hello("mock", "4.17", VERSION_INFO, 16)

    async def physinfo(self) -> PhysInfo:
        return self.physical

    async def cpu_topology(self) -> list[CpuPlace]:
        return self.places

    async def numa_info(self) -> list[NumaNode]:
        return [NumaNode(node=0, size=1 << 32, free=1 << 31, distances=(10,))]

    async def scheduler(self) -> str:
        return "credit2"

    async def domain_list(self) -> list[Domain]:
        return list(self.domains)

    async def console_read(self, *, clear: bool = False) -> str:
        text = self.ring
        if clear:
            self.ring = ""
        return text

    async def debug_keys(self, keys: str) -> None:
        self.ring += f"(XEN) {keys} pressed\n"


@dataclass
class Caller:
    """A call of a client, which remembers how far it was said to be."""

    task: Ref[Any] = field(default_factory=lambda: Ref(f"OpaqueRef:task-{next(numbers)}"))
    user: str = "root"
    session: Ref[Any] = field(default_factory=lambda: Ref("OpaqueRef:session"))
    fractions: list[float] = field(default_factory=list)

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)


class World:
    """The host's services, wired as the daemon wires them."""

    def __init__(self, directory: Path, store: Store, xen: Any, host: Ref[Host]) -> None:
        self.directory = directory
        self.store = store
        self.xen = xen
        self.host = host
        self.machine = PretendMachine()
        self.restarts: list[None] = []
        self.operations = Operations(store)
        self.operations.govern(Host, OPERATIONS, host_refusal)
        self.boot("boot-1")
        self.dumps = CrashdumpService(store, host, directory / "crash")
        self.reporter = Reporter(store, xen, self.machine, Config(state_dir=directory))
        self.reports = HostReportService(xen, self.machine, host, self.reporter, self.state)

    def boot(self, boot: str) -> None:
        """Begin again with the state service, as the daemon does when it starts."""
        self.state = HostStateService(
            self.store,
            self.operations,
            self.xen,
            self.machine,
            self.host,
            self.directory,
            boot,
            lambda: NOW,
            lambda: self.restarts.append(None),
        )

    @property
    def record(self) -> Host:
        return self.store.get(self.host)

    async def disabled(self) -> None:
        await self.state.disable(Caller(), self.host)

    async def guest(self, **values: Any) -> Ref[VM]:
        """The record of a guest that runs here."""
        given = {"power_state": VmPowerState.RUNNING, "resident_on": self.host, "domid": 7}
        async with self.store.transaction() as tx:
            return tx.create(VM, {"name_label": "guest", **given, **values})


class Receiver:
    """A web server that takes uploads: what came, by path, and how it answers."""

    def __init__(self) -> None:
        self.got: dict[str, bytes] = {}
        self.methods: list[str] = []
        self.answer: Callable[[], Awaitable[web.Response]] = self._taken
        self.arrived = asyncio.Event()
        self.reads = True
        self.url = ""
        self.ends = asyncio.Event()

    async def _taken(self) -> web.Response:
        return web.Response(status=201)

    async def never(self) -> web.Response:
        """An answer that does not come while the test runs."""
        await self.ends.wait()
        return web.Response(status=500)

    async def handle(self, request: web.Request) -> web.Response:
        self.methods.append(request.method)
        self.arrived.set()
        if self.reads:
            self.got[request.path] = await request.read()
        return await self.answer()
