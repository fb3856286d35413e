"""A server in dom0 that takes what xapid sends elsewhere: uploads and logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from testhost.machine import Machine

HELPER = "/root/receiver.py"
DIRECTORY = "/srv/received"
HTTP_PORT, SYSLOG_PORT = 8001, 5514


@dataclass(frozen=True)
class Receiver:
    """Listens in dom0 alone."""

    machine: Machine

    @property
    def log_destination(self) -> str:
        """Where it takes syslog messages over UDP."""
        return f"127.0.0.1:{SYSLOG_PORT}"

    def url(self, name: str) -> str:
        """Where a file can be PUT, to be kept under this name."""
        return f"http://127.0.0.1:{HTTP_PORT}/{name}"

    def path(self, name: str) -> str:
        """The file in dom0 that was PUT under this name, or "log"."""
        return f"{DIRECTORY}/{name}"

    def start(self) -> None:
        """Begin to listen, with nothing received yet."""
        self.machine.push(Path(__file__).parent / "dom0/receiver.py", target=HELPER)
        self.machine.run(
            f"systemctl stop receiver 2>/dev/null; rm -rf {DIRECTORY}; "
            f"systemd-run -q --unit receiver python3 {HELPER} {DIRECTORY} "
            f"{HTTP_PORT} {SYSLOG_PORT}; "
            f"until ss -ltn | grep -q :{HTTP_PORT}; do sleep 0.2; done",
            timeout_s=30,
        )
