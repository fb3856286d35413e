"""The world outside a test host: a namespace in dom0 with a card of its own on the same switch.

Nothing but the switch joins it with the host: eth4 is its only way in or out. A VLAN of it is a
namespace too, so that what answers there cannot be what answers on the untagged side.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testhost.api import ApiError
from testhost.machine import HostError, Machine

CARD = "eth4"
NAME = "outside"
CALLER = "/root/call.py"
LEASES = "/run/outside.leases"

DHCP_SERVER = f"""
interface {CARD}
start {{start}}
end {{end}}
option subnet 255.255.255.0
option router {{own}}
option dns {{own}}
option lease 600
lease_file {LEASES}
pidfile /run/outside.dhcp.pid
"""


@dataclass
class Outside:
    """Hosts beyond the switch: one on the untagged network and one on each VLAN."""

    machine: Machine
    _tagged: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Take the card out of the host's sight; what an interrupted run left goes first."""
        self.close()
        self.machine.push(Path(__file__).parent / "dom0/call.py", target=CALLER)
        # A namespace that ends gives its card back a moment later.
        self.machine.run(
            f"until test -e /sys/class/net/{CARD}; do sleep 0.1; done; "
            f"ip netns add {NAME} && ip link set {CARD} netns {NAME} && "
            f"ip -n {NAME} link set lo up && ip -n {NAME} link set {CARD} up"
        )

    def close(self) -> None:
        """End everything outside; the card is the host's again."""
        for name in [*self._tagged, NAME]:
            self.machine.run(
                f"ip netns pids {name} 2>/dev/null | xargs -r kill -9; ip netns delete {name}",
                check=False,
            )
        self._tagged = []

    def run(self, command: str, where: str = NAME, timeout_s: float = 60) -> str:
        """What a shell command writes outside. Raises HostError."""
        return self.machine.run(
            f"ip netns exec {where} sh -c {shlex.quote(command)}", timeout_s=timeout_s
        )

    def begin(self, unit: str, command: str) -> None:
        """Let a command run outside beside what follows; its output is in /run/<unit>."""
        self.machine.run(
            f"systemctl reset-failed {unit} 2>/dev/null; systemd-run -q --unit {unit} "
            f"-p StandardOutput=truncate:/run/{unit} ip netns exec {NAME} "
            f"sh -c {shlex.quote(command)}"
        )

    def has(self, *addresses: str) -> None:
        """Give the host outside these addresses and no others, each with its prefix."""
        added = "".join(f" && ip address add {each} dev {CARD}" for each in addresses)
        self.run(f"ip address flush dev {CARD}{added}")

    def tagged(self, tag: int, address: str) -> str:
        """A host on a VLAN of the trunk: the namespace that it is."""
        name = f"{NAME}-{tag}"
        self.machine.run(
            f"ip netns add {name} && "
            f"ip -n {NAME} link add link {CARD} name tag{tag} type vlan id {tag} && "
            f"ip -n {NAME} link set tag{tag} netns {name} && "
            f"ip -n {name} address add {address} dev tag{tag} && ip -n {name} link set tag{tag} up"
        )
        self._tagged.append(name)
        return name

    def reaches(self, address: str, where: str = NAME) -> bool:
        """Whether an address answers within a few seconds."""
        command = f"for i in 1 2 3; do busybox ping -c 1 -W 2 {address} && exit; done; exit 1"
        try:
            self.run(command, where)
        except HostError:
            return False
        return True

    def serve_dhcp(self, own: str, start: str, end: str) -> None:
        """A DHCP server with `own` as the router, until close or `end_dhcp`."""
        self.has(f"{own}/24")
        self.machine.write("/run/outside.dhcp", DHCP_SERVER.format(own=own, start=start, end=end))
        self.machine.run(f": >{LEASES}")
        self.begin("outside-dhcp", "exec busybox udhcpd -f -S /run/outside.dhcp")

    def end_dhcp(self) -> None:
        self.machine.run("systemctl stop outside-dhcp", check=False)

    def call(self, address: str, password: str, method: str, *arguments: Any) -> Any:
        """What a client outside gets from the API at this address of the host.

        Raises ApiError; HostError when it is not reached.
        """
        words = ["python3", CALLER, address, password, method, json.dumps(arguments)]
        answer = json.loads(self.run(shlex.join(words)))
        if answer["Status"] != "Success":
            raise ApiError(method, answer["ErrorDescription"])
        return answer["Value"]
