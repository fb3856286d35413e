"""Commands run inside a guest, through its console and dom0."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from testhost.machine import HostError, Machine

HELPER = "/root/console.py"


class GuestConsole:
    """The agent on one guest's console, found by the tty in dom0 that leads to it."""

    def __init__(self, machine: Machine, tty_path: str) -> None:
        self.machine = machine
        self.tty_path = tty_path

    @classmethod
    def of_domain(cls, machine: Machine, domid: int, timeout_s: float = 30) -> GuestConsole:
        """The console that Xen's console daemon serves for the domain, as soon as it does."""
        deadline = time.monotonic() + timeout_s
        path = f"/local/domain/{domid}/console/tty"
        while time.monotonic() < deadline:
            tty = machine.run(f"xenstore-read {path} 2>/dev/null", check=False).strip()
            if tty:
                return cls(machine, tty)
            time.sleep(0.5)
        raise HostError(f"domain {domid} has no console")

    def command(self, command: str, timeout_s: float = 60) -> str:
        """What the shell command writes in the guest; HostError when it fails or none answers."""
        words = ["python3", "-ISE", HELPER, self.tty_path, str(timeout_s), command]
        return self.machine.run(shlex.join(words), timeout_s=timeout_s + 20).strip()

    def counter(self) -> int:
        """Half seconds that the guest has run since it was booted."""
        return int(self.command("cat /run/counter"))

    def boot_id(self) -> str:
        """Names one boot of the guest's kernel; outlives suspend and resume."""
        return self.command("cat /proc/sys/kernel/random/boot_id")


def install_helper(machine: Machine) -> None:
    """Put the program that speaks to the consoles into dom0."""
    machine.push(Path(__file__).parent / "dom0/console.py", target=HELPER)
