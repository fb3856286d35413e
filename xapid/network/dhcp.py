"""Keeps the distribution's DHCP client alive for an interface, also over a restart of ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from ..programs import PATH
from .addresses import NoLease

log = structlog.get_logger(__name__)

AGAIN_AFTER_S: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
END_WITHIN_S: Final = 5.0
METRIC: Final = "IF_METRIC"
"""The variable from which the distribution's scripts take the metric of a route."""
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
Command = Callable[[str, Path, int], Sequence[str]]
"""Interface, the files' beginning, and the metric of the default route."""


def _dhclient(name: str, leases: Path, metric: int) -> Sequence[str]:
    # Where its AppArmor profile lets it write.
    kept = f"dhclient.{leases.name}"
    files = ("-pf", f"/run/{kept}.pid", "-lf", f"/var/lib/dhcp/{kept}.leases")
    return ("dhclient", "-4", "-d", "-q", "-e", f"{METRIC}={metric}", *files, name)


def _dhcpcd(name: str, leases: Path, metric: int) -> Sequence[str]:
    return ("dhcpcd", "-4", "-B", "-q", "-p", "-m", str(metric), name)


def _udhcpc(name: str, leases: Path, metric: int) -> Sequence[str]:
    return ("udhcpc", "-f", "-i", name, "-t", "5", "-T", "2", "-A", "10")


CLIENTS: Final[dict[str, Command]] = {"dhclient": _dhclient, "dhcpcd": _dhcpcd, "udhcpc": _udhcpc}
"""Each in the foreground, so that its end is seen."""


def find_client(path: str = PATH) -> Command | None:
    """How to start the client that is installed; None when there is none."""
    found = (command for name, command in CLIENTS.items() if shutil.which(name, path=path))
    return next(found, None)


class DhcpClient:
    """The one client of one interface.

    directory: where it keeps its leases, and we its process id. It is left running when we end;
    the next instance finds it there.
    """

    def __init__(self, name: str, directory: Path, command: Command | None = None) -> None:
        self.name = name
        self._command = command or find_client()
        self._files = directory / f"dhcp-{name}"
        self._task: asyncio.Task[None] | None = None
        self._pid = self._metric = 0

    @property
    def runs(self) -> bool:
        """Whether a client of ours runs for the interface."""
        return bool(self._pid or self._recorded())

    def start(self, metric: int) -> None:
        """Find the client that runs, or start one, and start it again when it ends.

        metric: of its default route, from its next start on.
        """
        self._metric = metric
        if self._command is None:
            raise NoLease(f"no DHCP client is installed: one of {', '.join(CLIENTS)} is needed")
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep(self._command), name=f"dhcp-{self.name}")

    async def close(self) -> None:
        """Leave the client alone from now on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None

    async def end(self) -> None:
        """End the client. What it configured stays."""
        await self.close()
        pid = self._pid or self._recorded()
        self._pid = 0
        if pid:
            await _terminate(pid)
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self._files.with_name(f"{self._files.name}.process")

    async def _keep(self, command: Command) -> None:
        failures = 0
        while True:
            self._pid = self._recorded()
            if self._pid:
                log.info("the DHCP client is still there", interface=self.name, pid=self._pid)
                await _ended(self._pid)
            else:
                await self._run(command)
            wait = AGAIN_AFTER_S[min(failures, len(AGAIN_AFTER_S) - 1)]
            failures += 1
            log.warning("the DHCP client ended; it starts again", interface=self.name, after_s=wait)
            await asyncio.sleep(wait)

    async def _run(self, command: Command) -> None:
        arguments = command(self.name, self._files, self._metric)
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                cwd="/",
                env={"PATH": PATH, "LC_ALL": "C.UTF-8", METRIC: str(self._metric)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                umask=0o022,  # what it writes for the host, such as resolv.conf, is for all to read
            )
        except OSError as error:
            log.error("the DHCP client does not start", program=arguments[0], reason=str(error))
            return
        self._pid = process.pid
        self._record.write_text(f"{process.pid} {_born(process.pid)}")
        await process.wait()
        self._pid = 0

    def _recorded(self) -> int:
        """The process that an earlier instance started, if it is still that one; else 0."""
        try:
            pid, born = self._record.read_text().split()
        except (OSError, ValueError):
            return 0
        return int(pid) if pid.isdigit() and _born(int(pid)) == born else 0


def _born(pid: int) -> str:
    """When a process was started, and in which boot: no later one of its number has the same."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else f"{fields[19]}@{BOOT_ID.read_text().strip()}"


async def _ended(pid: int) -> None:
    """Wait until a process, whoever's child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        # Of one that is just being reaped Linux says EINVAL, lately ENOENT.
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return
        raise
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _terminate(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await _ended(pid)
        except TimeoutError:
            continue
        return
