"""Xen for the rest of xapid: one typed method for each operation of xapid-xen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from .connection import Connection, OnDomains
from .fresh import Fresh
from .link import Progress
from .types import (
    JSON,
    CpuPlace,
    Disk,
    Domain,
    Hello,
    Nic,
    NumaNode,
    PhysInfo,
    Sample,
    SchedParams,
    Vcpu,
    VersionInfo,
    hello_from,
    numa_node_from,
    physinfo_from,
    sample_from,
    vcpu_from,
)
from .worker import WorkerCommand

MockAction = Literal["fail", "fail_after", "hang", "abort", "abort_halfway"]


class XenClient:
    """All methods raise XenError; XenUnavailable at once when the worker is not there or ends.

    A method whose task is cancelled aborts the operation, waits for its end, and undoes what was
    made in spite of it: no native call is ever left running. Memory is in KiB.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._domain_list = Fresh(self._ask_domain_list)

    @classmethod
    async def start(
        cls,
        *,
        socket_path: Path,
        lock_path: Path,
        xen: Literal["libxl", "mock"],
        spawn: bool = True,
        contexts: int = 16,
        builds: int = 4,
        poll_s: float = 2.0,
        stop_within_s: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> XenClient:
        """Start the worker (spawn) or connect to the one that serves `socket_path`.

        stop_within_s: how long the worker may take at its end to abort and clean up.
        environment: more variables for the worker. Raises XenUnavailable with the reason.
        """
        command = WorkerCommand(
            socket_path,
            lock_path,
            xen,
            contexts,
            builds,
            poll_s,
            stop_within_s,
            tuple((environment or {}).items()),
        )
        connection = Connection(command, spawn=spawn)
        await connection.start()
        return cls(connection)

    async def close(self) -> None:
        """End the connection and a worker of ours; guests go on."""
        await self._connection.close()

    @property
    def available(self) -> bool:
        """Whether the worker is there now."""
        return self._connection.available

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id while it is our child and runs."""
        return self._connection.pid

    async def wait_available(self) -> None:
        """Return when the worker is there."""
        await self._connection.wait_available()

    def watch(self, running: Callable[[str], AbstractContextManager[None]]) -> None:
        """Enter `running` around each operation from now on, with the operation's name."""
        self._connection.watch = running

    def on_domains(self, listener: OnDomains) -> Callable[[], None]:
        """Give `listener` each new list of domains, and the latest at once; returns what stops it.

        The list is the whole truth each time; it comes again after every reconnection.
        """
        return self._connection.on_domains(listener)

    # The host

    async def hello(self) -> Hello:
        """Ask who answers."""
        return hello_from(await self._ask("hello"))

    async def physinfo(self) -> PhysInfo:
        """Read the host's CPUs, memory and abilities."""
        return physinfo_from(await self._ask("physinfo"))

    async def cpu_topology(self) -> list[CpuPlace]:
        """List the CPUs that are online."""
        return [CpuPlace(**each) for each in await self._ask("cpu_topology")]

    async def numa_info(self) -> list[NumaNode]:
        """List the memory nodes."""
        return [numa_node_from(each) for each in await self._ask("numa_info")]

    async def version_info(self) -> VersionInfo:
        """Read which Xen runs."""
        return VersionInfo(**await self._ask("version_info"))

    async def free_memory(self) -> int:
        """Read how many KiB new domains could have."""
        return int((await self._ask("free_memory"))["free_kib"])

    async def scheduler(self) -> str:
        """Name the scheduler Xen runs."""
        return str((await self._ask("scheduler"))["name"])

    async def sample(self, scheduling: Sequence[int] = ()) -> Sample:
        """Read all counters of the host and its domains in one pass.

        scheduling: the domids whose share of the CPUs is to be read as well.
        """
        return sample_from(await self._ask("sample", scheduling=list(scheduling)))

    async def need_memory(self, config: JSON) -> int:
        """Reckon how many KiB a domain of that configuration takes."""
        return int((await self._ask("need_memory", config=config))["kib"])

    async def debug_keys(self, keys: str) -> None:
        """Send debug keys to Xen."""
        await self._ask("debug_keys", keys=keys)

    async def console_read(self, *, clear: bool = False) -> str:
        """Read Xen's console ring; clear: and empty it."""
        return str((await self._ask("console_read", clear=clear))["text"])

    # The life of a domain

    async def domain_list(self) -> list[Domain]:
        """List all domains, as on_domains gives them; who asks at the same time shares the list."""
        return await self._domain_list()

    async def _ask_domain_list(self) -> list[Domain]:
        return [Domain(**each) for each in await self._ask("domain_list")]

    async def domain_create(
        self, config: JSON, userdata: str, *, progress: Progress | None = None
    ) -> int:
        """Build a domain, leave it paused and return its domid. On failure nothing is left.

        config: a libxl_domain_config; keys libxl does not know are refused (XenInvalid).
        userdata: noted with the domain, which makes it ours.
        """
        args = {"config": config, "userdata": userdata, "paused": True}
        return await self._make("domain_create", config, args, progress)

    async def domain_restore(
        self,
        config: JSON,
        userdata: str,
        path: Path,
        offset: int = 0,
        *,
        progress: Progress | None = None,
    ) -> int:
        """Build a domain from what domain_suspend wrote; otherwise as domain_create."""
        args = {"config": config, "userdata": userdata, "path": str(path), "offset": offset}
        return await self._make("domain_restore", config, args, progress)

    async def domain_suspend(
        self,
        domid: int,
        path: Path,
        offset: int = 0,
        *,
        live: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Write the domain to an existing file or device; returns the offset of the end.

        When it returns the data is on its medium, and the domain stopped for "suspend": destroy it
        or let it go on with domain_resume. The same holds for a cancel that came too late.
        """
        args = {"domid": domid, "path": str(path), "offset": offset, "live": live}
        answer = await self._connection.request("domain_suspend", args, progress)
        return int(answer["end_offset"])

    async def domain_resume(self, domid: int) -> None:
        """Let a domain stopped for "suspend" go on."""
        await self._ask("domain_resume", domid=domid)

    async def domain_pause(self, domid: int) -> None:
        """Stop the domain's vCPUs."""
        await self._ask("domain_pause", domid=domid)

    async def domain_unpause(self, domid: int) -> None:
        """Let the domain's vCPUs run."""
        await self._ask("domain_unpause", domid=domid)

    async def domain_shutdown(self, domid: int) -> None:
        """Ask the guest to power off; on_domains tells when it has. Raises XenNoPVDrivers."""
        await self._ask("domain_shutdown", domid=domid)

    async def domain_reboot(self, domid: int) -> None:
        """Ask the guest to reboot: it ends with the reason "reboot". Raises XenNoPVDrivers."""
        await self._ask("domain_reboot", domid=domid)

    async def domain_destroy(self, domid: int, uuid: str) -> None:
        """End the domain by force; returns when it is gone.

        Raises XenDomainNotFound when there is no such domain with that uuid.
        """
        await self._ask("domain_destroy", domid=domid, uuid=uuid)

    async def domain_config(self, domid: int) -> JSON:
        """Read the libxl_domain_config the domain has now."""
        config: JSON = await self._ask("domain_config", domid=domid)
        return config

    async def userdata_get(self, domid: int) -> str | None:
        """Read what was noted with the domain, None when it is not ours."""
        data: str | None = (await self._ask("userdata_get", domid=domid))["data"]
        return data

    async def userdata_set(self, domid: int, data: str) -> None:
        """Note `data` with the domain."""
        await self._ask("userdata_set", domid=domid, data=data)

    async def rename(self, domid: int, name: str) -> None:
        """Change the domain's name in Xen."""
        await self._ask("rename", domid=domid, name=name)

    async def core_dump(self, domid: int, path: Path) -> None:
        """Write the domain's memory to a new file, or to a disk that is there."""
        await self._ask("core_dump", domid=domid, path=str(path))

    async def send_trigger(self, domid: int, trigger: str, vcpu: int = 0) -> None:
        """Send power, sleep, nmi, init, reset or s3resume."""
        await self._ask("send_trigger", domid=domid, trigger=trigger, vcpu=vcpu)

    async def send_sysrq(self, domid: int, key: str) -> None:
        """Send a magic SysRq key."""
        await self._ask("send_sysrq", domid=domid, key=key)

    async def console_tty(self, domid: int) -> Path:
        """Find the terminal of the primary console. Raises XenNotReady while there is none."""
        return Path((await self._ask("console_tty", domid=domid))["path"])

    # Memory, vCPUs, scheduling

    async def set_memory_target(self, domid: int, target_kib: int, *, enforce: bool) -> None:
        """Ask the guest to balloon; enforce: and make the target its limit."""
        await self._ask("set_memory_target", domid=domid, target_kib=target_kib, enforce=enforce)

    async def set_max_memory(self, domid: int, kib: int) -> None:
        """Set the most memory the domain may have."""
        await self._ask("set_max_memory", domid=domid, kib=kib)

    async def memory_target(self, domid: int) -> int:
        """Read the balloon target."""
        return int((await self._ask("memory_target", domid=domid))["kib"])

    async def set_paging_memory(self, domid: int, kib: int) -> None:
        """Set the memory for page tables, a multiple of 4 KiB. Raises XenNoMemory."""
        await self._ask("set_paging_memory", domid=domid, kib=kib)

    async def set_vcpu_online(self, domid: int, count: int) -> None:
        """Bring the first `count` vCPUs online, the others offline."""
        await self._ask("set_vcpu_online", domid=domid, count=count)

    async def set_vcpu_affinity(
        self, domid: int, hard: Sequence[int], vcpu: int | None = None
    ) -> None:
        """Let one vCPU, or all, run only on these CPUs of the host."""
        await self._ask("set_vcpu_affinity", domid=domid, hard=list(hard), vcpu=vcpu)

    async def sched_set(
        self, domid: int, *, weight: int | None = None, cap: int | None = None
    ) -> None:
        """Set the domain's share of the CPUs."""
        await self._ask("sched_set", domid=domid, weight=weight, cap=cap)

    async def sched_get(self, domid: int) -> SchedParams:
        """Read the domain's share of the CPUs."""
        return SchedParams(**await self._ask("sched_get", domid=domid))

    async def vcpu_list(self, domid: int) -> list[Vcpu]:
        """List the domain's vCPUs."""
        return [vcpu_from(each) for each in await self._ask("vcpu_list", domid=domid)]

    # Devices

    async def disk_add(self, domid: int, disk: JSON) -> JSON:
        """Attach a disk (libxl_device_disk); returns it as libxl completed it."""

        async def undo(_: JSON) -> None:
            await self.disk_remove(domid, disk["vdev"], force=True)

        return await self._add("disk_add", {"domid": domid, "disk": disk}, undo)

    async def disk_remove(self, domid: int, vdev: str, *, force: bool = False) -> None:
        """Detach a disk: with the guest's consent (XenTimedOut without), or by force."""
        await self._ask("disk_remove", domid=domid, vdev=vdev, force=force)

    async def disk_list(self, domid: int) -> list[Disk]:
        """List the domain's disks."""
        return [Disk(**each) for each in await self._ask("disk_list", domid=domid)]

    async def cdrom_insert(self, domid: int, disk: JSON) -> None:
        """Put another disc, or none, into a CD drive."""
        await self._ask("cdrom_insert", domid=domid, disk=disk)

    async def nic_add(self, domid: int, nic: JSON) -> JSON:
        """Attach a network interface (libxl_device_nic); returns it as libxl completed it."""

        async def undo(made: JSON) -> None:
            await self.nic_remove(domid, mac=made["mac"], force=True)

        return await self._add("nic_add", {"domid": domid, "nic": nic}, undo)

    async def nic_remove(
        self, domid: int, *, devid: int | None = None, mac: str | None = None, force: bool = False
    ) -> None:
        """Detach the network interface with that devid, or that mac."""
        await self._ask("nic_remove", domid=domid, devid=devid, mac=mac, force=force)

    async def nic_list(self, domid: int) -> list[Nic]:
        """List the domain's network interfaces."""
        return [Nic(**each) for each in await self._ask("nic_list", domid=domid)]

    # The mock's world

    async def mock_set(self, **knobs: int) -> None:
        """Turn knobs of the mock host."""
        await self._ask("mock_set", **knobs)

    async def mock_get(self, knob: str) -> int:
        """Read a knob of the mock host."""
        return int((await self._ask("mock_get", knob=knob))["value"])

    async def mock_domain(self, domid: int, order: str, value: int = 1) -> None:
        """Make a mock guest do something by itself."""
        await self._ask("mock_domain", domid=domid, order=order, value=value)

    async def mock_ask(self, domid: int, fact: str) -> int:
        """Ask for a fact about a mock guest."""
        return int((await self._ask("mock_ask", domid=domid, fact=fact))["value"])

    async def mock_fail(
        self,
        function: str,
        action: MockAction = "fail",
        *,
        rc: int = -3,
        count: int = 1,
        domid: int | None = None,
        uuid: str | None = None,
    ) -> None:
        """Make calls of a libxl function fail, hang, or end the worker."""
        await self._ask(
            "mock_fail",
            function=function,
            action=action,
            rc=rc,
            count=count,
            domid=domid,
            uuid=uuid,
        )

    async def mock_release(self) -> None:
        """End all hangs and drop all rules of mock_fail."""
        await self._ask("mock_release")

    async def mock_hanging(self) -> int:
        """Count the calls that hang."""
        return int((await self._ask("mock_hanging"))["value"])

    async def mock_reset(self) -> None:
        """Give the mock a fresh host."""
        await self._ask("mock_reset")

    async def _ask(self, op: str, **args: Any) -> Any:
        return await self._connection.request(op, args)

    async def _make(self, op: str, config: JSON, args: JSON, progress: Progress | None) -> int:
        async def undo(made: JSON) -> None:
            await self.domain_destroy(made["domid"], config["c_info"]["uuid"])

        answer = await self._connection.request(op, args, progress, undo)
        return int(answer["domid"])

    async def _add(self, op: str, args: JSON, undo: Callable[[JSON], Awaitable[None]]) -> JSON:
        added: JSON = await self._connection.request(op, args, None, undo)
        return added
