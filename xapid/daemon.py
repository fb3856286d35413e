"""The daemon: constructs every object, hands each what it needs, starts and stops them in order.

The body of `serve` is the architecture diagram.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal

import structlog

from .config import MAX_SOCKET_PATH, Config
from .config.reload import Reload
from .datamodel import registry
from .datamodel.declare import Ref
from .datamodel.host import Host
from .datamodel.vm import VM
from .db.failures import CannotOpen, DiskRefused, StorageFailure, StoreInUse
from .db.store import Store
from .garbage import GarbageWatch
from .http import reads
from .http.certificate_watch import CertificateWatch
from .http.figures import (
    OperationFigures,
    loop_lag,
    show_certificate,
    show_connections,
    show_database,
    show_guests,
    show_host,
    show_process,
)
from .http.health import PATH as HEALTH
from .http.health import Check, HealthPage
from .http.host_names import host_addresses
from .http.listener import link_socket, open_to_group
from .http.metrics import PATH as METRICS
from .http.metrics import MetricsPage
from .http.patch_upload import PATH as PATCH_UPLOAD
from .http.patch_upload import PatchUpload
from .http.server import HttpServer, Limits
from .http.tls import CertificateUnusable, load_or_make_certificate
from .log import set_level
from .network.kernel import KernelBridges
from .network.kernel_addresses import KernelAddresses
from .network.kernel_links import KernelLinks
from .network.memory import MemoryBridges
from .network.memory_addresses import MemoryAddresses
from .network.memory_links import MemoryLinks, pretend_hardware
from .prometheus import Registry
from .rpc.accounts import Accounts, PasswordFileUnsafe
from .rpc.arrivals import ARRIVED_AT
from .rpc.dispatch import Dispatcher
from .rpc.events import Events
from .rpc.figures import CallFigures, show_turns
from .rpc.logins import Logins, Users
from .rpc.sessions import Sessions
from .rpc.system_accounts import SystemAccounts
from .rpc.tasks import Tasks
from .rpc.turns import Turns
from .rpc.xmlrpc import Request
from .services.guest_metrics.service import GuestMetrics
from .services.host import introduce_host, read_facts
from .services.host.crashdumps import CrashdumpService
from .services.host.machine import PretendMachine, SystemdMachine, boot_id
from .services.host.report import Reporter
from .services.host.reports import HostReportService
from .services.host.rules import OPERATIONS as HOST_OPERATIONS
from .services.host.rules import host_refusal
from .services.host.state import HostStateService
from .services.metrics.records import govern as govern_metrics
from .services.metrics.sampler import MetricsSampler
from .services.networking.bond import BondService
from .services.networking.follower import LinkFollower
from .services.networking.guard import Guard
from .services.networking.management import ManagementService
from .services.networking.network import NetworkService
from .services.networking.pif import PIFService
from .services.networking.rules import govern as govern_networks
from .services.networking.uplinks import Uplinks
from .services.networking.vif import VIFService
from .services.networking.vlan import VLANService
from .services.networking.wires import WireService
from .services.operations import Operations
from .services.pool.files import PatchFiles
from .services.pool.patches import PatchService
from .services.pool.service import PoolService
from .services.storage.disks import DiskService
from .services.storage.kinds import StorageKinds
from .services.storage.leases import Leases
from .services.storage.pbd import PBDService
from .services.storage.reclaim import Reclaimer
from .services.storage.replug import Replugger
from .services.storage.repositories import Repositories
from .services.storage.rules import govern as govern_storage
from .services.storage.served import QemuServers
from .services.storage.sr import SRService
from .services.storage.vbd import VBDService
from .services.storage.vdi import VDIService
from .services.storage.volumes import Volumes
from .services.templates import make_default_templates
from .services.vm.autostart import AutoStart
from .services.vm.bootfiles import BootFiles
from .services.vm.brake import RestartBrake
from .services.vm.builder import DomainBuilder
from .services.vm.consoles import Consoles
from .services.vm.crashdumps import CrashDumps
from .services.vm.foreign import ForeignDomains
from .services.vm.guests import GuestDomains
from .services.vm.lifecycle import LifecycleService
from .services.vm.live import LiveService
from .services.vm.memory import MemoryLedger
from .services.vm.passthrough import Passthrough
from .services.vm.power import Power
from .services.vm.provision import ProvisionService
from .services.vm.questions import QuestionService
from .services.vm.records import VMRecordService
from .services.vm.rules import OPERATIONS, vm_likeness, vm_neighbours, vm_refusal
from .services.vm.suspend_sr import SuspendSR
from .services.vm.watcher import Watcher
from .services.vtpm import VTPMService
from .stalls import StallWatch
from .storage.driver import Driver
from .storage.dummy import DummyDriver
from .storage.ext import ExtDriver
from .storage.file import FileDriver
from .storage.iscsi import LvmOverIscsiDriver
from .storage.iso import IsoDriver
from .storage.lvm import LvmDriver
from .storage.mounts import Mounts
from .storage.nfs import NfsDriver
from .storage.served import Servers
from .storage.udev import UdevDriver
from .systemd import Supervisor
from .xen.bootloader import Bootloader, Pygrub, find_pygrub, reader_uids
from .xen.bootloader_mock import MockBootloader
from .xen.client import XenClient
from .xen.domains import DomainTable
from .xen.errors import XenUnavailable
from .xen.guest_store import GuestStore, prepare_guest
from .xen.guest_tree import domain_path
from .xen.unit import find_xen, worker_environment
from .xen.xenstore import SOCKET as XENSTORE_SOCKET
from .xen.xenstore import Xenstore
from .xen.xenstored_mock import MockXenstored

log = structlog.get_logger(__name__)

SWITCH_S: Final = 0.0005
"""How long a thread waits for one that computes. At the usual 5 ms the database's writer, which
waits after each row while the loop is busy, commits five times less often."""

EX_UNAVAILABLE: Final = 69
EX_OSERR: Final = 71
EX_IOERR: Final = 74
EX_TEMPFAIL: Final = 75
EX_CONFIG: Final = 78
_STATUS: Final = "answering calls"
VNC_DIRECTORY: Final = Path("/run/xapid/vnc")
SR_MOUNTS: Final = Path("/run/xapid/sr")


def run(config: Config, read_again: Callable[[], Config] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code of the process (sysexits).

    read_again: gives the settings as they are at a SIGHUP; may raise ConfigError.
    """
    os.umask(0o077)
    reads.keep_small()
    sys.setswitchinterval(SWITCH_S)
    supervisor = Supervisor()
    try:
        again = asyncio.run(serve(config, read_again or (lambda: config), supervisor))
    except XenUnavailable as error:
        log.error("Xen cannot be used", reason=str(error))
        return EX_UNAVAILABLE
    except StoreInUse as error:
        log.error("cannot start", reason=str(error))
        return EX_TEMPFAIL
    except (DiskRefused, StorageFailure) as error:
        log.error("cannot start", reason=str(error))
        return EX_IOERR
    except (CannotOpen, CertificateUnusable, PasswordFileUnsafe) as error:
        log.error("cannot start", reason=str(error))
        return EX_CONFIG
    except OSError as error:
        log.error("cannot start", reason=str(error))
        return EX_OSERR
    if again:  # in the same process, so that whoever supervises it sees it live on
        supervisor.give_back()
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606
    return 0


def utc_now() -> datetime:
    return datetime.now(UTC)


async def serve(config: Config, read_again: Callable[[], Config], supervisor: Supervisor) -> bool:
    """Start everything, answer until a signal comes, and stop everything in the reverse order.

    Returns whether a client asked for a restart.
    """
    stop = _stop_signal()
    restart = asyncio.Event()

    def begin_again() -> None:
        restart.set()
        stop.set()

    stalls, figures, garbage = StallWatch(), Registry(), GarbageWatch()
    registry.check()
    async with AsyncExitStack() as stack:
        garbage.begin()
        stack.callback(garbage.stop)
        kind = find_xen(config.xen.driver)
        state = _private_directory(config.state_dir)
        runtime = _runtime_directory(state, stack)
        vnc = _private_directory(VNC_DIRECTORY if kind == "libxl" else runtime / "vnc")

        store = await Store.open(state / "state.db", registry.CLASSES, clock=utc_now)
        stack.push_async_callback(store.close)
        xen = await _start_xen(config, kind, state, runtime)
        stack.push_async_callback(xen.close)
        await make_default_templates(store)
        host = await introduce_host(store, await read_facts(xen), utc_now())

        xenstore = await _start_xenstore(kind, runtime, stack)

        accounts = _make_accounts(config, store, state)
        await accounts.prepare()
        stack.callback(accounts.close)
        sessions = Sessions(
            clock=utc_now,
            idle_s=config.sessions.idle_s,
            per_user=config.sessions.per_user,
            total=config.sessions.total,
            host=host,
        )
        tasks = Tasks(store, clock=utc_now, host=host)
        await tasks.start()
        stack.push_async_callback(tasks.stop)

        operations = Operations(store)
        operations.govern(VM, OPERATIONS, vm_refusal, vm_neighbours, vm_likeness)
        operations.govern(Host, HOST_OPERATIONS, host_refusal)
        machine = SystemdMachine() if kind == "libxl" else PretendMachine()
        host_state = HostStateService(
            store,
            operations,
            xen,
            machine,
            host,
            state,
            boot_id(),
            utc_now,
            begin_again,
        )
        await host_state.start()
        reporter = Reporter(store, xen, machine, config)
        host_dumps = CrashdumpService(store, host, config.host.crash_directory)
        await host_dumps.start()
        stack.push_async_callback(host_dumps.close)
        patches = PatchService(store, PatchFiles(state), host, utc_now)
        await patches.start()
        tpms = VTPMService(store)
        guests = GuestDomains(store)
        mounts = Mounts(SR_MOUNTS if kind == "libxl" else state.resolve() / "sr")
        servers = QemuServers(xenstore)
        storage = await _start_storage(store, operations, xen, guests, host, mounts, servers)
        stack.push_async_callback(storage.repositories.close)
        stack.push_async_callback(storage.kinds.close)
        await storage.disks.restore()
        reclaimer = Reclaimer(store, storage.repositories, tasks)
        stack.push_async_callback(reclaimer.close)
        reclaimer.look_everywhere()
        replugger = Replugger(store, tasks, storage.pbds, host)
        stack.push_async_callback(replugger.close)
        networks = _make_networks(kind, store, operations, xen, guests, host, state)
        await networks.management.guard.open()
        stack.push_async_callback(networks.close)
        await networks.wires.restore()
        await networks.follower.start()
        await govern_metrics(store)
        await operations.refresh_all()

        memory = MemoryLedger(xen)
        boot_files = BootFiles([Path(d) for d in config.guests.kernel_directories])
        prepare = partial(prepare_guest if kind == "libxl" else _prepare_on_mock, xenstore)
        builder = DomainBuilder(
            store,
            xen,
            storage.disks,
            networks.wires,
            memory,
            boot_files,
            await _make_bootloader(kind, xen, state),
            vnc,
            prepare,
            Passthrough(xen, host),
            tpms,
        )
        consoles = Consoles(store, xen, vnc)
        stack.push_async_callback(consoles.close)
        domains = DomainTable()
        image_places = SuspendSR(store)
        crash_dumps = CrashDumps(store, operations, xen, storage.disks, image_places)
        power = Power(
            store,
            xen,
            domains,
            builder,
            storage.disks,
            consoles,
            image_places,
            host,
            utc_now,
            config.guests.clean_shutdown_s,
        )
        watcher = Watcher(
            store,
            operations,
            tasks,
            power,
            domains,
            ForeignDomains(store, host),
            RestartBrake(time.monotonic),
            crash_dumps,
            host,
            utc_now,
            (storage.drives.reconcile, networks.cards.reconcile),
        )
        stack.push_async_callback(watcher.close)
        stack.callback(xen.on_domains(watcher.observe))
        watcher.observe(await xen.domain_list())
        await watcher.reconcile()
        await watcher.restore_devices()

        lifecycle = LifecycleService(store, operations, power, xen, host)
        turns = Turns(rate=config.listen.call_rate, burst=config.listen.call_burst)
        dispatcher = Dispatcher(
            store,
            sessions,
            tasks,
            [
                Events(store, sessions),
                Logins(sessions, accounts, group=config.accounts.group),
                Users(store, sessions, accounts),
                host_state,
                HostReportService(xen, machine, host, reporter, host_state),
                host_dumps,
                PoolService(store, host, state, utc_now),
                patches,
                tpms,
                *storage.services,
                *networks.services,
                VMRecordService(store, operations, storage.disks, utc_now),
                lifecycle,
                LiveService(store, operations, xen),
                consoles,
                crash_dumps,
                ProvisionService(store, operations, storage.disks),
                QuestionService(store, operations, xen, memory, host),
            ],
            reached=networks.management.guard.reached,
            turns=turns,
            observer=CallFigures(figures),
        )
        guest_metrics = GuestMetrics(store, xenstore, xen)
        await guest_metrics.start()
        stack.push_async_callback(guest_metrics.close)
        sampler = MetricsSampler(store, xen)
        await sampler.start()
        stack.push_async_callback(sampler.close)

        tls = load_or_make_certificate(config.tls_dir, _certified_names(config))
        certificate = CertificateWatch(tls, config.tls_dir, _certified_names(config))
        metrics = MetricsPage(figures)
        metrics.allow(config.metrics.addresses, config.metrics.token_file)
        calls: Check = partial(_answers, dispatcher)
        health = HealthPage({"calls": calls, "xen": xen.hello, "database": store.check_writable})
        passed = supervisor.unix_sockets()
        server = HttpServer(
            dispatcher,
            https=config.listen.https,
            http=config.listen.http,
            socket=config.socket,
            tls=tls,
            passed=passed,
            limits=Limits(
                body=config.listen.body_limit,
                tcp_connections=config.listen.tcp_connections,
                unix_connections=config.listen.unix_connections,
            ),
            uploads={PATCH_UPLOAD: PatchUpload(store, sessions, tasks, patches.receive)},
            pages={METRICS: metrics, HEALTH: health},
            turns=turns,
        )
        await server.start()
        stack.push_async_callback(server.stop)
        if server.http_address is not None:
            log.warning("passwords sent over plain HTTP can be read on their way")
        if not passed:
            open_to_group(config.socket, config.accounts.group)
        link_socket(config.socket, _links_wanted(config, server))
        show_turns(figures, turns)
        show_process(figures, sessions, store)
        show_database(figures, store, state / "state.db")
        show_connections(figures, server)
        show_certificate(figures, certificate)
        show_host(figures, store)
        show_guests(figures, store)
        xen.watch(OperationFigures(figures).running)
        stalls.observe = loop_lag(figures, lambda: stalls.worst_s)
        await networks.management.start(server.serve_network)
        stack.push_async_callback(networks.management.close)
        garbage.start()
        stalls.start()
        stack.callback(stalls.stop)
        reload = _make_reload(config, read_again, sessions, supervisor)
        reload.on_change(lambda new: certificate.load(_certified_names(new)))
        reload.on_change(
            lambda new: turns.limit(rate=new.listen.call_rate, burst=new.listen.call_burst)
        )
        reload.on_change(lambda new: metrics.allow(new.metrics.addresses, new.metrics.token_file))
        certificate.start()
        stack.push_async_callback(certificate.close)
        reload.start()
        stack.push_async_callback(reload.close)
        replugger.start()
        autostart = AutoStart(store, tasks, lifecycle, host, state, boot_id())
        await autostart.begin()
        stack.push_async_callback(autostart.close)
        _announce(config, server, kind)
        supervisor.keep_alive(partial(_answers, dispatcher))
        stack.push_async_callback(supervisor.close)
        supervisor.ready(_STATUS)
        await stop.wait()
        supervisor.stopping()
        log.info("stopping; guests go on")
    return restart.is_set()


@dataclass(frozen=True)
class Storage:
    """The storage services, and what others use of them."""

    disks: DiskService
    drives: VBDService
    pbds: PBDService
    kinds: StorageKinds
    repositories: Repositories
    services: tuple[object, ...]


def _storage_drivers(mounts: Mounts, servers: Servers) -> list[Driver]:
    """The kinds of storage there are; SM records and SR.get_supported_types follow from them."""
    return [
        FileDriver(servers),
        ExtDriver(mounts, servers),
        NfsDriver(mounts, servers),
        LvmDriver(),
        LvmOverIscsiDriver(),
        IsoDriver(mounts),
        UdevDriver(),
        DummyDriver(),
    ]


async def _start_storage(
    store: Store,
    operations: Operations,
    xen: XenClient,
    guests: GuestDomains,
    host: Ref[Host],
    mounts: Mounts,
    servers: Servers,
) -> Storage:
    kinds = StorageKinds(store, _storage_drivers(mounts, servers))
    await kinds.publish()
    govern_storage(store, operations, kinds)
    leases = Leases()
    repositories = Repositories(store, kinds)
    volumes = Volumes(store, operations, repositories, leases)
    disks = DiskService(store, repositories, volumes, leases, host)
    drives = VBDService(store, operations, disks, guests, xen)
    pbds = PBDService(store, operations, kinds, repositories, leases, host)
    services = (
        SRService(store, operations, kinds, repositories, host),
        pbds,
        VDIService(store, operations, kinds, repositories, volumes, leases),
        drives,
    )
    return Storage(disks, drives, pbds, kinds, repositories, services)


@dataclass(frozen=True)
class Networks:
    """The network services, and what others use of them."""

    uplinks: Uplinks
    wires: WireService
    cards: VIFService
    follower: LinkFollower
    management: ManagementService
    services: tuple[object, ...]

    async def close(self) -> None:
        """Let go of the host's network, which stays as it is."""
        await self.follower.close()
        await self.uplinks.addresses.close()
        await self.uplinks.links.close()
        await self.uplinks.bridges.close()


async def _make_bootloader(
    kind: Literal["libxl", "mock"], xen: XenClient, state: Path
) -> Bootloader:
    if kind == "mock":
        return MockBootloader()
    version = await xen.version_info()
    pygrub = find_pygrub(f"{version.major}.{version.minor}")
    return Pygrub(state / "bootloader", pygrub, reader_uids())


def _make_networks(
    kind: Literal["libxl", "mock"],
    store: Store,
    operations: Operations,
    xen: XenClient,
    guests: GuestDomains,
    host: Ref[Host],
    state: Path,
) -> Networks:
    uplinks = _make_uplinks(kind, store, state)
    wires = WireService(store, uplinks.bridges, uplinks)
    govern_networks(operations)
    cards = VIFService(store, operations, wires, guests, xen)
    guard = Guard(store, state, boot_id(), ARRIVED_AT.get)
    pifs = PIFService(store, uplinks, wires, host, guard)
    management = ManagementService(store, pifs, guard, host)
    services = (
        NetworkService(store, uplinks.bridges, wires),
        pifs,
        VLANService(store, pifs, host),
        BondService(store, pifs, host),
        management,
        cards,
    )
    follower = LinkFollower(store, uplinks, utc_now)
    return Networks(uplinks, wires, cards, follower, management, services)


def _make_uplinks(kind: Literal["libxl", "mock"], store: Store, state: Path) -> Uplinks:
    if kind == "libxl":
        return Uplinks(store, KernelLinks(), KernelBridges(), KernelAddresses(state / "dhcp"))
    bridges = MemoryBridges()
    links = MemoryLinks(bridges, pretend_hardware())
    return Uplinks(store, links, bridges, MemoryAddresses(bridges))


async def _start_xenstore(
    kind: Literal["libxl", "mock"], runtime: Path, stack: AsyncExitStack
) -> Xenstore:
    path = XENSTORE_SOCKET
    if kind == "mock":
        path = runtime / "xenstored"
        mock = MockXenstored(path)
        await mock.start()
        stack.push_async_callback(mock.close)
    xenstore = Xenstore(path)
    await xenstore.start()
    stack.push_async_callback(xenstore.close)
    return xenstore


async def _prepare_on_mock(xenstore: Xenstore, domid: int, plan: GuestStore) -> None:
    """Make the domain's directory first: the mock libxl writes nothing to xenstore."""
    await xenstore.mkdir(domain_path(domid))
    await prepare_guest(xenstore, domid, plan)


def _links_wanted(config: Config, server: HttpServer) -> list[Path]:
    """The links to make to the Unix socket: not where systemd gave us a socket already."""
    return [link for link in config.listen.socket_links if str(link) not in server.paths]


def _certified_names(config: Config) -> list[str]:
    return [*config.tls.names, *host_addresses()]


def _make_accounts(config: Config, store: Store, state: Path) -> Accounts:
    if config.accounts.source == "system":
        return SystemAccounts(store, state, group=config.accounts.group)
    return Accounts(store, state)


def _make_reload(
    config: Config,
    read_again: Callable[[], Config],
    sessions: Sessions,
    supervisor: Supervisor,
) -> Reload:
    ready = partial(supervisor.ready, _STATUS)
    reload = Reload(config, read_again, begin=supervisor.reloading, done=ready)
    reload.on_change(lambda new: set_level(new.log.level))
    reload.on_change(lambda new: sessions.limit(**vars(new.sessions)))
    return reload


async def _start_xen(
    config: Config, kind: Literal["libxl", "mock"], state: Path, runtime: Path
) -> XenClient:
    return await XenClient.start(
        socket_path=config.xen.socket or runtime / "xen.sock",
        lock_path=state / "xen.lock",
        xen=kind,
        spawn=config.xen.socket is None,
        contexts=config.xen.contexts,
        builds=config.xen.builds,
        environment=worker_environment(kind, state),
    )


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    return stop


def _private_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _runtime_directory(state: Path, stack: AsyncExitStack) -> Path:
    """Where our own sockets are: the state directory unless its path is too long for one."""
    longest = state / "vnc" / ("x" * 36)
    if len(os.fsencode(longest)) <= MAX_SOCKET_PATH:
        return state
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xapid-")))


async def _answers(dispatcher: Dispatcher) -> None:
    """Raise RuntimeError unless a call is answered as it must be: the probe of the watchdog."""
    answer = await dispatcher.answer(Request("session.get_uuid", ["", ""]), "")
    if b"SESSION_INVALID" not in b"".join(answer.pieces):
        raise RuntimeError("a call is not answered as it must be")


def _announce(config: Config, server: HttpServer, kind: str) -> None:
    """Say that the daemon answers: one line for programs, and some for people."""
    host, port = server.https_address or ("", 0)
    https = f"{host}:{port}" if server.https_address else ""
    sys.stdout.write(f"xapid ready https={https} socket={config.socket}\n")
    sys.stdout.flush()
    if "JOURNAL_STREAM" in os.environ or not https or config.accounts.source == "system":
        return
    crt, password = config.tls_dir / "server.crt", config.state_dir / "root-password"
    sys.stderr.write(
        f"""
xapid answers on https://{https} and on {config.socket}; Xen: {kind}
Log in as root with the password in {password}

  import ssl, xmlrpc.client; tls = ssl.create_default_context(cafile="{crt}")
  xen = xmlrpc.client.ServerProxy("https://{https}", context=tls)
  print(xen.session.login_with_password("root", open("{password}").read().strip()))

"""
    )
