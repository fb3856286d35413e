"""Keeps guests' device models outside the unit that this process runs in.

libxl forks each device model, so at first it is a process of our own service: it would be counted
and limited with us, and ended by whoever ends all of the service. systemd takes it over into a
scope of its domain's own, in one slice with all others.
"""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Final

from .log import Log

SLICE: Final = "xapid-guests.slice"
# At the host's end guests are shut down first, while their device models still serve them.
STOPPED_AFTER: Final = "xapid-guests.service"
_MARK: Final = b"-xen-domid"
_SYSTEMD: Final = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
_MANAGER: Final = "org.freedesktop.systemd1.Manager"
_ANSWERS_WITHIN_S: Final = 30


class Scopes:
    """A thread that moves device models out of our control group, soon after each `wake`."""

    def __init__(
        self,
        log: Log,
        proc: Path = Path("/proc"),
        groups: Path = Path("/sys/fs/cgroup"),
        busctl: str = "busctl",
    ) -> None:
        self._log = log
        self._proc = proc
        self._busctl = busctl
        self._members = _members_file(proc, groups)
        self._woken = threading.Event()
        self._moved: set[int] = set()
        self._told: set[int] = set()

    def start(self) -> None:
        """Begin, with those that an earlier process left; does nothing outside a service."""
        if self._members is not None:
            self._woken.set()
            threading.Thread(target=self._follow, name="scopes", daemon=True).start()

    def wake(self) -> None:
        """Look soon: an operation has ended, which may have started a device model."""
        self._woken.set()

    def _follow(self) -> None:
        while self._woken.wait():
            self._woken.clear()
            try:
                self.sweep()
            except Exception as error:
                self._log.error(f"device models stay in this unit: {error!r}")

    def sweep(self) -> None:
        """Look once. What systemd refuses stays where it is, and is tried again the next time."""
        found = self._found()
        self._told &= found.keys()
        self._moved &= found.keys()
        for pid in found.keys() - self._moved:
            domid = found[pid]
            problem = self._start_scope(pid, domid)
            if not problem:
                self._moved.add(pid)
                self._log.info(f"the device model of domain {domid} is in {_scope(pid, domid)}")
            elif pid not in self._told:
                self._told.add(pid)
                self._log.warning(f"the device model of domain {domid} stays here: {problem}")

    def _found(self) -> dict[int, int]:
        """The device models in our control group: pid -> domid."""
        found: dict[int, int] = {}
        if self._members is None:
            return found
        for pid in map(int, self._members.read_text().split()):
            try:
                arguments = (self._proc / str(pid) / "cmdline").read_bytes().split(b"\0")
                found[pid] = int(arguments[arguments.index(_MARK) + 1])
            except (OSError, ValueError, IndexError):  # it has ended, or is something else
                continue
        return found

    def _start_scope(self, pid: int, domid: int) -> str:
        """Ask for a new scope around a process; what is wrong with that, in words."""
        properties = [
            *("Description", "s", f"Device model of domain {domid}"),
            *("Slice", "s", SLICE),
            *("PIDs", "au", "1", str(pid)),
            *("Before", "as", "1", STOPPED_AFTER),
            *("CollectMode", "s", "inactive-or-failed"),
        ]
        signature = "ssa(sv)a(sa(sv))"
        unit = _scope(pid, domid)
        return self._ask("StartTransientUnit", signature, unit, "fail", "5", *properties, "0")

    def _ask(self, method: str, signature: str, *arguments: str) -> str:
        command = [self._busctl, "--system", f"--timeout={_ANSWERS_WITHIN_S}", "call", *_SYSTEMD]
        try:
            done = subprocess.run(
                [*command, _MANAGER, method, signature, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=2 * _ANSWERS_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def _scope(pid: int, domid: int) -> str:
    return f"xapid-guest-{domid}-{pid}.scope"


def _members_file(proc: Path, groups: Path) -> Path | None:
    """Where the processes of our service are listed; None when we are not one of systemd's."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    members = groups / path.lstrip("/") / "cgroup.procs"
    return members if path.endswith(".service") and members.exists() else None
