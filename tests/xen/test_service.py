"""The package on a host of its own, in the order of an administrator's days: installed, used
through xe alone, upgraded and restarted under guests, rebooted, removed and purged.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from testhost.api import ApiError, PlainApi
from testhost.evidence import MACHINE
from testhost.extent import QUICK
from testhost.guest_console import GuestConsole, install_helper
from testhost.image import ensure_image
from testhost.machine import HostError, Machine, boot, running
from testhost.package import debian_package
from testhost.suite import chosen_suite
from testhost.table import Table
from testhost.workbench import wait_until

pytestmark = pytest.mark.xen

PASSWORD = "seven small stones"
DISKS = "/srv/xapid/disks"
ADDRESS, GUEST_ADDRESS = "10.9.0.1", "10.9.0.2"
INSTALL = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends"
UNITS = ("xapid.socket", "xapid-xen.service", "xapid.service", "xapid-guests.service")
DIRECT = [
    *("PV-bootloader=", "PV-kernel=/srv/guest/vmlinux", "PV-ramdisk=/srv/guest/initrd"),
    "PV-args=console=hvc0 quiet loglevel=3",
]
RESTARTS = 2 if QUICK else 20


@dataclass
class Host:
    """A Xen host and its package; xe is run on it as root."""

    machine: Machine
    package: Path

    def run(self, command: str, timeout_s: float = 300) -> str:
        return self.machine.run(command, timeout_s=timeout_s).strip()

    def xe(self, *words: str) -> str:
        return self.run(shlex.join(["xe", *words]))

    def install(self, package: Path) -> None:
        self.machine.push(package, target="/root")
        self.run(f"{INSTALL} install /root/{package.name} </dev/null", timeout_s=600)

    def field(self, vm: str, name: str) -> str:
        return self.xe("vm-param-get", f"vm={vm}", f"param-name={name}")

    def console(self, vm: str) -> GuestConsole:
        return GuestConsole.of_domain(self.machine, int(self.field(vm, "domid")))

    def active(self) -> list[str]:
        """Those of our units that run."""
        found = self.machine.run(f"systemctl is-active {' '.join(UNITS)}", check=False).split()
        return [unit for unit, state in zip(UNITS, found, strict=True) if state == "active"]

    def device_model(self, vm: str) -> tuple[int, str]:
        """The device model's process and the control group that it is in."""
        domid = self.field(vm, "domid")
        pid = int(self.run(f"pgrep -f -- '-xen-domid {domid} '"))
        return pid, self.run(f"cut -d: -f3 /proc/{pid}/cgroup")


@dataclass
class Marks:
    """What tells that a guest is the one it was: its boot, its device model, a file's sum."""

    boot: str
    device_model: tuple[int, str]
    sum: str


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, table: Table) -> Iterator[Machine]:
    """A host of these tests' own; that of the others stands still, for an idle one is busy, too."""
    suite = chosen_suite()
    image, stash = ensure_image(suite), request.config.stash
    if kept := os.environ.get("XAPID_XENHOST_RUNNING"):
        yield running(suite, kept) or boot(image, kept)
        return
    others = stash.get(MACHINE, None)
    with others.frozen() if others is not None else nullcontext():
        with table.step("service", "boot"):
            stash[MACHINE] = own = boot(image, f"service-{os.getpid()}")
        yield own
        own.down()
        del stash[MACHINE]
    if others is not None:
        stash[MACHINE] = others


@pytest.fixture(scope="module")
def host(machine: Machine) -> Host:
    """A host on which nothing of xapid has ever been."""
    package = debian_package(chosen_suite())
    install_helper(machine)
    machine.run(f"echo 'root:{PASSWORD}' | chpasswd")
    return Host(machine, package)


def marks(host: Host) -> Marks:
    inside = host.console("web")
    read = inside.command("dd if=/dev/xvda bs=1M count=4 iflag=direct 2>/dev/null | md5sum")
    return Marks(inside.boot_id(), host.device_model("screen"), read.split()[0])


def test_the_package_starts_and_root_logs_in_with_the_password_of_the_host(
    host: Host, table: Table
) -> None:
    with table.step("service", "apt install"):
        host.install(host.package)

    assert host.active() == list(UNITS)
    assert "running" in host.run("systemctl show -P SubState xapid")
    with pytest.raises(ApiError, match="SESSION_AUTHENTICATION_FAILED"):
        PlainApi(host.machine.https_port, "not it").close()
    PlainApi(host.machine.https_port, PASSWORD).close()
    assert host.run("hostname") in host.xe("host-list")


def test_a_guest_with_disk_and_network_is_made_by_xe_alone(host: Host, table: Table) -> None:
    host.run(
        f"mkdir -p {DISKS}; printf '[guests]\\nkernel_directories = [\"/srv/guest\"]\\n' "
        "> /etc/xapid/conf.d/guests.toml; systemctl restart xapid"
    )

    host.xe("sr-create", "name-label=disks", "type=file", f"device-config:location={DISKS}")
    host.xe("network-create", "name-label=lan", "bridge=xenbr7")
    for name, template, memory in (
        ("web", "Other install media (PVH)", "192MiB"),
        ("spare", "Other install media (PVH)", "192MiB"),
        ("screen", "Other install media", "128MiB"),
    ):
        made = ["template=" + template, f"new-name-label={name}", "sr=disks", f"memory={memory}"]
        host.xe("vm-install", *made, "disk-size=32MiB", "network=lan")
    for name in ("web", "spare"):
        host.xe("vm-param-set", f"vm={name}", *DIRECT)
    host.xe("vm-param-set", "vm=web", "other-config:auto_poweron=true")
    with table.step("service", "start"):
        for name in ("web", "spare"):
            host.xe("vm-start", f"vm={name}")
        # It has nothing to boot: let run, its BIOS would reboot it again and again.
        host.xe("vm-start", "vm=screen", "paused=true")

    inside = host.console("web")
    inside.command("dd if=/dev/urandom of=/dev/xvda bs=1M count=4 oflag=direct", 120)
    check_network(host)


def check_network(host: Host) -> None:
    """web and dom0 reach each other over xapid's bridge."""
    host.run(f"ip address replace {ADDRESS}/24 dev xenbr7 && ip link set xenbr7 up")
    inside = host.console("web")
    inside.command(f"ifconfig eth0 {GUEST_ADDRESS} netmask 255.255.255.0 up")
    tries = (
        f"for i in $(seq 8); do ping -c1 -W2 {ADDRESS} >/dev/null && echo reached && break; done"
    )
    assert inside.command(tries) == "reached"


def test_a_device_model_is_in_no_unit_that_restarts(host: Host) -> None:
    def moved() -> bool:
        return "/xapid-guests.slice/" in host.device_model("screen")[1]

    wait_until("the device model is in a scope of its own", moved, 30)

    _, group = host.device_model("screen")
    assert group.startswith("/xapid.slice/xapid-guests.slice/xapid-guest-")
    left = host.run("cat /sys/fs/cgroup/system.slice/xapid-xen.service/cgroup.procs").split()
    assert left == [host.run("systemctl show -P MainPID xapid-xen")]


def test_guests_do_not_notice_an_upgrade(host: Host, table: Table, tmp_path: Path) -> None:
    before = marks(host)
    old = host.run("systemctl show -P MainPID xapid")

    with table.step("service", "upgrade"):
        host.install(rebuilt(host.package, tmp_path))

    assert host.active() == list(UNITS)
    assert host.run("systemctl show -P MainPID xapid") != old
    assert host.run("dpkg-query -W -f '${Version}' xapid").endswith("+rebuilt")
    assert marks(host) == before
    assert host.field("web", "power-state") == "running"
    check_network(host)


def rebuilt(package: Path, place: Path) -> Path:
    """The same package with a later version."""
    tree = place / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    later = [line + "+rebuilt" if line.startswith("Version:") else line for line in lines]
    control.write_text("\n".join(later) + "\n")
    made = place / "rebuilt.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, made], check=True)
    return made


def test_guests_do_not_notice_restarts(host: Host, table: Table) -> None:
    before = marks(host)

    with table.step("service", f"{RESTARTS} restarts"):
        again = f"for i in $(seq {RESTARTS}); do systemctl restart xapid xapid-xen || exit; done"
        host.run(again, timeout_s=2400)

    assert host.active() == list(UNITS)
    assert marks(host) == before
    names = "params=name-label", "--minimal"
    running_now = host.xe("vm-list", "power-state=running", "is-control-domain=false", *names)
    assert sorted(running_now.split(",")) == ["spare", "web"]


def test_marked_guests_start_again_with_the_host(host: Host, table: Table) -> None:
    first = marks(host)
    host.xe("vm-hard-shutdown", "vm=screen")  # there is nothing in it that could shut down
    keep = "[Journal]\\nStorage=persistent\\n"
    host.run(
        f"printf '{keep}' > /etc/systemd/journald.conf.d/zz-persistent.conf; "
        "systemctl restart systemd-journald; journalctl --flush"
    )

    with table.step("service", "reboot"):
        host.machine.reboot()
    with table.step("service", "guests after it"):
        wait_until("web runs again", lambda: state_of(host, "web") == "running", 240)

    assert host.active() == list(UNITS)
    inside = host.console("web")
    assert inside.command("cat /proc/sys/kernel/random/boot_id", 120) != first.boot
    read = inside.command("dd if=/dev/xvda bs=1M count=4 iflag=direct 2>/dev/null | md5sum")
    assert read.split()[0] == first.sum
    check_network(host)
    assert state_of(host, "spare") == "halted"
    ended = host.run("journalctl -m -u xapid-guests -o cat --no-pager")
    assert "web was shut down" in ended
    assert "spare was shut down" in ended


def state_of(host: Host, vm: str) -> str:
    """As xe tells it; nothing while xapid does not answer yet."""
    try:
        return host.field(vm, "power-state")
    except HostError:
        return ""


def test_removing_the_package_leaves_guests_alone(host: Host) -> None:
    inside = host.console("web")
    before = inside.boot_id()

    host.run(f"{INSTALL} remove xapid </dev/null")

    assert host.active() == []
    assert inside.boot_id() == before
    inside.command("dd if=/dev/zero of=/dev/xvda bs=1M count=1 oflag=direct", 120)
    assert host.run("test -e /usr/sbin/xapid || echo gone") == "gone"


def test_purging_it_deletes_what_xapid_knew_and_no_disk(host: Host) -> None:
    disks = host.run(f"find {DISKS} -type f | sort")

    host.run(f"{INSTALL} purge xapid </dev/null")

    assert len(disks.splitlines()) >= 3
    assert host.run(f"find {DISKS} -type f | sort") == disks
    assert host.run("test -e /var/lib/xapid || echo gone") == "gone"
    assert host.run("ls /run/xapid/*.sock 2>/dev/null || echo gone") == "gone"
    assert host.run("systemctl list-units --failed --no-legend 'xapid*'") == ""
    assert host.run("xl list | grep -c xapid-") == "1"
