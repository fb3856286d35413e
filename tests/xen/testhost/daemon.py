"""xapid inside the test host: starts, stops and kills it, and reads what it wrote."""

from __future__ import annotations

import time
from dataclasses import dataclass

from testhost.machine import HostError, Machine
from testhost.package import ENVIRONMENT

STATE = "/var/lib/xapid"
UNIT = "xapid"
CRASH_DIRECTORY = "/srv/crash"
CONFIGURATION = f"""[guests]
kernel_directories = ["/srv/guest"]
[host]
crash_directory = "{CRASH_DIRECTORY}"
"""
# Only the main process ends with the unit: the device models of guests are its descendants.
UNIT_FILE = f"""[Unit]
Description=The XenAPI control plane
After=xen.service
[Service]
ExecStart={ENVIRONMENT}/bin/xapid --config /etc/xapid.toml --state-dir {STATE} \\
    --https 0.0.0.0:443 --xen auto
KillMode=process
TimeoutStopSec=30
StandardOutput=truncate:/run/xapid.out
StandardError=journal
Environment=PYTHONFAULTHANDLER=1
"""
START_TIMEOUT_S = 240

FORGET = f"""
xl list | grep -o '^xapid-[^ ]*' | while read -r name; do xl destroy "$name"; done
rm -rf {STATE} /srv/xapid
ip netns | while read -r name rest; do
    ip netns pids "$name" | xargs -r kill -9; ip netns delete "$name"
done
for kind in vlan bond bridge; do
    ip -o link show type $kind | cut -d' ' -f2 | cut -d@ -f1 | tr -d : | xargs -r -n1 ip link delete
done
for card in eth1 eth2 eth3 eth4; do ip link set $card down; done 2>/dev/null
true
"""
FIND = {
    "xapid": f"victim=$(systemctl show -P MainPID {UNIT})",
    "xapid-xen": f"victim=$(pgrep -P $(systemctl show -P MainPID {UNIT}) -f 'xapid[.-]xen')",
}


@dataclass
class Daemon:
    """The one xapid of a test host, as a systemd unit of its own."""

    machine: Machine
    configuration: str = CONFIGURATION

    def start(self) -> None:
        """Start xapid and wait until it says that it is ready."""
        self.machine.write("/etc/xapid.toml", self.configuration)
        self.machine.write(f"/etc/systemd/system/{UNIT}.service", UNIT_FILE)
        ready = (
            f"systemctl daemon-reload; systemctl reset-failed {UNIT} 2>/dev/null; "
            # What an earlier one said must not be read as this one's.
            f"systemctl -q is-active {UNIT} || rm -f /run/xapid.out; "
            f"systemctl start {UNIT} || exit 9; "
            "until grep -qs '^xapid ready ' /run/xapid.out; "
            f"do systemctl -q is-active {UNIT} || exit 9; sleep 0.3; done"
        )
        try:
            self.machine.run(ready, timeout_s=START_TIMEOUT_S)
        except HostError as error:
            log = self.machine.run(f"journalctl -u {UNIT} -n 60 --no-pager -o cat", check=False)
            raise HostError(f"xapid does not become ready\n{log}") from error

    def stop(self) -> None:
        """End xapid as an administrator does, with SIGTERM."""
        self.machine.run(f"systemctl stop {UNIT}", timeout_s=60)

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill9(self, process: str, moment: str = "") -> None:
        """kill -9 xapid or xapid-xen, at once or when the shell commands `moment` have ended."""
        # The victim is found before the moment comes: what follows it must be quick.
        found = f"{FIND[process]}; test ${{victim:-0}} -gt 1 || exit 9"
        script = f"{found}; {moment or ':'}; kill -9 $victim"
        self.machine.run(script, timeout_s=90)

    def main_pid(self) -> int:
        return int(self.machine.run(f"systemctl show -P MainPID {UNIT}"))

    def wait_dead(self) -> None:
        """Wait until systemd knows that the main process is gone."""
        for _ in range(50):
            if self.main_pid() == 0:
                return
            time.sleep(0.2)
        raise HostError("xapid outlived kill -9")

    def root_password(self) -> str:
        return self.machine.run(f"cat {STATE}/root-password").strip()

    def forget_everything(self) -> None:
        """Stop xapid and delete its state, its guests and its disks, for a first start."""
        self.machine.run(f"systemctl stop {UNIT} 2>/dev/null; {FORGET}", timeout_s=120)
