"""What the host's own operating system does for the API: power, name, logs."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

import structlog

from ... import programs
from ...programs import ProgramMissing, ProgramTookTooLong

log = structlog.get_logger(__name__)

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
RSYSLOG_RULES: Final = Path("/etc/rsyslog.d/60-xapid.conf")
LOG_KEPT: Final = 512 << 10  # bytes; a task's result can carry them whatever XML escapes
REPORT_KEPT: Final = 4 << 20  # bytes of one program's output in a report


class MachineRefused(Exception):  # noqa: N818
    """The operating system did not do it; the text is a plain sentence."""


@dataclass(frozen=True)
class LogDestination:
    """Another machine that gets a copy of all logs. `address` is a checked name or address."""

    address: str
    port: int
    protocol: Literal["udp", "tcp"]


class Machine(Protocol):
    """The control domain's operating system. Every method raises MachineRefused."""

    async def power_off(self) -> None:
        """Begin to switch the host off; returns once that is under way."""

    async def reboot(self) -> None:
        """Begin to reboot the host; returns once that is under way."""

    async def set_hostname(self, name: str) -> None:
        """Change the host name, now and for later boots; `name` was checked."""

    async def forward_logs(self, destination: LogDestination | None) -> None:
        """Send logs to another machine too, or (None) no longer."""

    async def log(self) -> str:
        """The end of this boot's log."""

    async def diagnose(self, part: str) -> str:
        """One part of a report: a name of DIAGNOSES."""


DIAGNOSES: Final[Mapping[str, tuple[str, ...]]] = {
    "host-log": (
        *("journalctl", "--no-pager", "--quiet", "--boot", "--output=short-iso"),
        "--lines=20000",
    ),
    "kernel-log": ("journalctl", "--no-pager", "--quiet", "--boot", "--dmesg", "--lines=20000"),
    "units": ("systemctl", "--no-pager", "--full", "list-units", "--state=failed"),
    "interfaces": ("ip", "-details", "-statistics", "address"),
    "routes": ("ip", "route", "show", "table", "all"),
    "disks": ("lsblk", "--output=NAME,SIZE,TYPE,FSTYPE,RO,MOUNTPOINTS"),
    "file-systems": ("df", "--local", "--output=target,fstype,size,avail,pcent"),
}
"""The commands whose output goes into a report, each with its fixed arguments."""


def boot_id(path: Path = BOOT_ID) -> str:
    """What tells this boot of the control domain from every other one."""
    return path.read_text().strip()


@dataclass(frozen=True)
class SystemdMachine:
    """A distribution with systemd, and with rsyslog where logs are to go elsewhere."""

    rules: Path = RSYSLOG_RULES
    deadline_s: float = 60.0

    async def power_off(self) -> None:
        await self._run("systemctl", "--no-block", "--no-wall", "poweroff")

    async def reboot(self) -> None:
        await self._run("systemctl", "--no-block", "--no-wall", "reboot")

    async def set_hostname(self, name: str) -> None:
        await self._run("hostnamectl", "set-hostname", "--", name)

    async def forward_logs(self, destination: LogDestination | None) -> None:
        if shutil.which("rsyslogd", path=programs.PATH) is None:
            if destination is None:
                return
            raise MachineRefused("rsyslog is not installed; install it to send logs elsewhere")
        await asyncio.to_thread(_write_rules, self.rules, destination)
        await self._run("systemctl", "restart", "rsyslog.service")

    async def log(self) -> str:
        command = ("journalctl", "--no-pager", "--quiet", "--boot", "--output=short-iso")
        return await self._run(*command, "--lines=5000", kept=LOG_KEPT)

    async def diagnose(self, part: str) -> str:
        return await self._run(*DIAGNOSES[part], kept=REPORT_KEPT)

    async def _run(self, *command: str, kept: int = programs.OUTPUT_KEPT) -> str:
        try:
            done = await programs.run(command, deadline_s=self.deadline_s, output_kept=kept)
        except (ProgramMissing, ProgramTookTooLong) as error:
            raise MachineRefused(str(error)) from error
        if not done.succeeded:
            words: Sequence[str] = done.output.split()
            raise MachineRefused(
                f"{command[0]} ended with status {done.status}: {' '.join(words)[:500]}"
            )
        return done.output


@dataclass
class PretendMachine:
    """Stands in for the operating system where Xen is the mock: does nothing but remember."""

    did: list[str] = field(default_factory=list)

    async def power_off(self) -> None:
        self._note("power off")

    async def reboot(self) -> None:
        self._note("reboot")

    async def set_hostname(self, name: str) -> None:
        self._note(f"host name {name}")

    async def forward_logs(self, destination: LogDestination | None) -> None:
        self._note(f"logs to {destination.address if destination else 'nowhere'}")

    async def log(self) -> str:
        return "".join(f"{line}\n" for line in self.did)

    async def diagnose(self, part: str) -> str:
        return f"{part}: the mock host has none\n"

    def _note(self, what: str) -> None:
        log.info("the mock host pretends", what=what)
        self.did.append(what)


def _write_rules(path: Path, destination: LogDestination | None) -> None:
    """Replace our rsyslog drop-in at once, or remove it. Raises MachineRefused."""
    try:
        if destination is None:
            path.unlink(missing_ok=True)
            return
        rule = (
            "# Written by xapid for host.syslog_reconfigure; changes made here are lost.\n"
            f'*.* action(type="omfwd" target="{destination.address}" '
            f'port="{destination.port}" protocol="{destination.protocol}"\n'
            '  queue.type="LinkedList" action.resumeRetryCount="-1")\n'
        )
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=".xapid-")
        with os.fdopen(fd, "w") as file:
            file.write(rule)
            os.fchmod(fd, 0o644)
        Path(name).replace(path)
    except OSError as error:
        raise MachineRefused(f"{path} cannot be written: {error.strerror}") from error
