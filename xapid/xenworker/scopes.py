"""Keeps guests' device models outside the unit that this process runs in.

libxl forks each device model, so at first it is a process of our own service: it would be counted
and limited with us, and ended by whoever ends all of the service. systemd takes it over into a
scope of its domain's own, in one slice with all others.
"""

from __future__ import annotations

import subprocess
import threading
from collections import defaultdict
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
        self._refused: set[int] = set()

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
        for domid, pids in sorted(self._found().items()):
            problem = self._start_scope(domid, pids) and self._join_scope(domid, pids)
            if not problem:
                self._refused.discard(domid)
                self._log.info(f"the device model of domain {domid} is in {_scope(domid)}")
            elif domid not in self._refused:
                self._refused.add(domid)
                self._log.warning(f"the device model of domain {domid} stays here: {problem}")

    def _found(self) -> dict[int, list[int]]:
        """The device models in our control group, by domid."""
        found: dict[int, list[int]] = defaultdict(list)
        if self._members is None:
            return found
        for pid in map(int, self._members.read_text().split()):
            try:
                arguments = (self._proc / str(pid) / "cmdline").read_bytes().split(b"\0")
                domid = int(arguments[arguments.index(_MARK) + 1])
            except (OSError, ValueError, IndexError):  # it has ended, or is something else
                continue
            found[domid].append(pid)
        return found

    def _start_scope(self, domid: int, pids: list[int]) -> str:
        """Ask for a new scope around the processes; what is wrong with that, in words."""
        properties = [
            *("Description", "s", f"Device model of domain {domid}"),
            *("Slice", "s", SLICE),
            *("PIDs", "au", str(len(pids)), *map(str, pids)),
            *("Before", "as", "1", STOPPED_AFTER),
            *("CollectMode", "s", "inactive-or-failed"),
        ]
        return self._ask(
            "StartTransientUnit", "ssa(sv)a(sa(sv))", _scope(domid), "fail", "5", *properties, "0"
        )

    def _join_scope(self, domid: int, pids: list[int]) -> str:
        """Ask for the processes to be taken into the scope that the domain has already."""
        numbers = [str(len(pids)), *map(str, pids)]
        return self._ask("AttachProcessesToUnit", "ssau", _scope(domid), "", *numbers)

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


def _scope(domid: int) -> str:
    return f"xapid-guest-{domid}.scope"


def _members_file(proc: Path, groups: Path) -> Path | None:
    """Where the processes of our service are listed; None when we are not one of systemd's."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    members = groups / path.lstrip("/") / "cgroup.procs"
    return members if path.endswith(".service") and members.exists() else None
