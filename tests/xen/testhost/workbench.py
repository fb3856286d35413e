"""Storage, a network and guests of each type, made through the API and checked from inside."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testhost.api import Api, PackageApi
from testhost.daemon import Daemon
from testhost.guest_console import GuestConsole
from testhost.machine import HostError, Machine
from testhost.sleeper import sleeper_kernel

SR_DIRECTORY = "/srv/xapid/sr"
MIB = 1 << 20
MEMORY = 192 * MIB
DISK_SIZE = 32 * MIB
NULL = "OpaqueRef:NULL"
ADDRESS = "10.9.0.1"
DIRECT = {
    "PV_kernel": "/srv/guest/vmlinux",
    "PV_ramdisk": "/srv/guest/initrd",
    "PV_args": "console=hvc0 quiet loglevel=3",
}
# Type of guest -> its record's fields about booting, its first disk's image, a boot's longest s.
KINDS: dict[str, tuple[dict[str, Any], str, float]] = {
    "pv": ({"domain_type": "pv", **DIRECT}, "", 90),
    "pvh": ({"domain_type": "pvh", **DIRECT}, "", 90),
    "hvm": (
        {"domain_type": "hvm", "HVM_boot_policy": "BIOS order", "HVM_boot_params": {"order": "c"}},
        "/srv/guest/hvm.img",
        300,
    ),
    "pygrub": ({"domain_type": "pv", "PV_bootloader": "pygrub"}, "/srv/guest/pygrub.img", 120),
}
SERVER = "/srv/www"


def memory(size: int) -> dict[str, str]:
    """The fields of a VM that has `size` bytes of memory, no more and no less."""
    limits = ("static_max", "dynamic_max", "dynamic_min", "static_min")
    return {f"memory_{limit}": str(size) for limit in limits}


def wait_until(what: str, condition: Callable[[], Any], timeout_s: float) -> Any:
    """The first true value of condition; HostError when there is none within timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise HostError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.3)


class Workbench:
    """One host's storage repository and network, and the way to make guests on them."""

    def __init__(self, machine: Machine, daemon: Daemon, api: Api) -> None:
        self.machine = machine
        self.daemon = daemon
        self.api = api
        self.host = self.sr = self.network = self.blob_sum = ""
        self._addresses = 1
        self._has_sleeper = False

    def prepare(self) -> None:
        """Make the storage repository and the network, and serve a file for the guests to fetch."""
        machine, api = self.machine, self.api
        (self.host,) = api.call("host.get_all")
        machine.run(
            f"mkdir -p {SR_DIRECTORY} {SERVER}; "
            f"dd if=/dev/urandom of={SERVER}/blob bs=1M count=2 status=none"
        )
        self._serve()
        self.blob_sum = machine.run(f"md5sum <{SERVER}/blob").split()[0]
        self.sr = api.call(
            "SR.create",
            self.host,
            {"location": SR_DIRECTORY},
            "0",
            "disks",
            "",
            "file",
            "",
            False,
            {},
        )
        self.network = api.call(
            "network.create", {"name_label": "guests", "name_description": "", "other_config": {}}
        )

    def _serve(self) -> None:
        self.machine.run(
            "systemctl -q is-active testserver || "
            f"systemd-run -q --unit testserver python3 -m http.server -d {SERVER} 8000"
        )

    def log_in_again(self) -> None:
        """Sessions may end with the process that they were made in."""
        self.api.close()
        self.api = PackageApi(self.machine.https_port, self.daemon.root_password())

    def resume(self) -> None:
        """After a reboot of the host: what is needed beside xapid."""
        self._serve()
        self.log_in_again()

    def vdi(self, name: str, size: int = DISK_SIZE, sr: str = "") -> str:
        """A new disk."""
        record: dict[str, Any] = {
            "name_label": name,
            "name_description": "",
            "SR": sr or self.sr,
            "virtual_size": str(size),
            "type": "user",
            "sharable": False,
            "read_only": False,
            "other_config": {},
        }
        return str(self.api.call("VDI.create", record))

    def vdi_path(self, vdi: str) -> str:
        """The image file of a disk in dom0."""
        uuid = self.api.call("VDI.get_uuid", vdi)
        return self.machine.run(
            f"find {SR_DIRECTORY} -type f -name '*{uuid}*' ! -name '*.json' | grep ."
        ).strip()

    def fill(self, vdi: str, image: str = "") -> str:
        """Write an image or random bytes to a disk that no guest has; the whole disk's MD5 sum."""
        path = self.vdi_path(vdi)
        source = image or "/dev/urandom"
        self.machine.run(
            f"dd if={source} of={path} bs=1M count={DISK_SIZE // MIB} "
            "conv=notrunc,fsync status=none"
        )
        return self.sum(vdi)

    def sum(self, vdi: str) -> str:
        """The MD5 sum of a disk, read in dom0 past what a cache may hold back."""
        return self.machine.run(f"sync; md5sum <{self.vdi_path(vdi)}").split()[0]

    def vbd(self, vm: str, vdi: str, userdevice: str, bootable: bool = False, **fields: Any) -> str:
        record: dict[str, Any] = {
            "VM": vm,
            "VDI": vdi,
            "userdevice": userdevice,
            "bootable": bootable,
            "mode": "RW",
            "type": "Disk",
            "empty": False,
            "unpluggable": True,
            "other_config": {},
            "qos_algorithm_type": "",
            "qos_algorithm_params": {},
        }
        return str(self.api.call("VBD.create", record | fields))

    def vif(self, vm: str, device: str) -> str:
        record = {
            "VM": vm,
            "network": self.network,
            "device": device,
            "MAC": "",
            "MTU": "1500",
            "other_config": {},
            "qos_algorithm_type": "",
            "qos_algorithm_params": {},
        }
        return str(self.api.call("VIF.create", record))

    def vm(self, name: str, fields: dict[str, Any]) -> str:
        """A halted VM without devices."""
        record: dict[str, Any] = {
            "name_label": name,
            "name_description": "",
            "user_version": "1",
            "is_a_template": False,
            "affinity": NULL,
            **memory(MEMORY),
            "VCPUs_params": {},
            "VCPUs_max": "1",
            "VCPUs_at_startup": "1",
            "actions_after_shutdown": "destroy",
            "actions_after_reboot": "restart",
            "actions_after_crash": "destroy",
            "PV_bootloader": "",
            "PV_kernel": "",
            "PV_ramdisk": "",
            "PV_args": "",
            "PV_bootloader_args": "",
            "PV_legacy_args": "",
            "HVM_boot_policy": "",
            "HVM_boot_params": {},
            "platform": {},
            "PCI_bus": "",
            "other_config": {},
            "recommendations": "",
        }
        return str(self.api.call("VM.create", record | fields))

    def sleeper(self, name: str, mib: int = 8, **fields: Any) -> Guest:
        """A halted PVH guest of a few MiB that sleeps for ever, without devices."""
        kernel = "/srv/guest/sleeper"
        if not self._has_sleeper:
            self.machine.run(f"cat >{kernel}", stdin=sleeper_kernel())
            self._has_sleeper = True
        boot = {"domain_type": "pvh", "PV_kernel": kernel, **memory(mib * MIB)}
        return Guest(self, "pvh", self.vm(name, boot | fields), "", 10, NULL, "")

    def guest(self, kind: str, name: str = "", **fields: Any) -> Guest:
        """A halted VM of a type of guest with a disk and a VIF."""
        boot, image, boot_timeout_s = KINDS[kind]
        vm = self.vm(name or f"{kind} guest", boot | fields)
        disk = self.vdi(f"{name or kind} disk")
        disk_sum = self.fill(disk, image)
        self._addresses += 1
        guest = Guest(self, kind, vm, f"10.9.0.{self._addresses}", boot_timeout_s, disk, disk_sum)
        self.vbd(vm, disk, "0", bootable=True)
        self.vif(vm, "0")
        return guest

    def ensure_address(self) -> None:
        """Give dom0 its address on the guests' network, whose bridge a guest on it keeps."""
        bridge = self.api.call("network.get_bridge", self.network)
        self.machine.run(f"ip address replace {ADDRESS}/24 dev {bridge} && ip link set {bridge} up")

    def domains(self) -> dict[str, tuple[int, str]]:
        """Domain name -> its number and state letters, as xl sees them."""
        rows = [line.split() for line in self.machine.run("xl list").splitlines()[1:]]
        return {row[0]: (int(row[1]), row[4]) for row in rows}

    def free_memory_mib(self) -> int:
        return int(self.machine.run("xl info free_memory"))


@dataclass
class Guest:
    """One VM and the way into it."""

    workbench: Workbench
    kind: str
    vm: str
    address: str
    boot_timeout_s: float
    disk: str
    disk_sum: str

    def call(self, method: str, *arguments: Any) -> Any:
        """A message of this VM, by its name without the class."""
        return self.workbench.api.call(f"VM.{method}", self.vm, *arguments)

    @property
    def state(self) -> str:
        return str(self.call("get_power_state"))

    @property
    def domid(self) -> int:
        return int(self.call("get_domid"))

    @property
    def domain_name(self) -> str:
        """What xl calls the domain."""
        return f"xapid-{self.call('get_uuid')}"

    def domain(self) -> tuple[int, str] | None:
        """Number and state letters of the VM's domain as xl sees it, None when it has none."""
        return self.workbench.domains().get(self.domain_name)

    def console(self) -> GuestConsole:
        """The console of the domain that the VM has now."""
        return GuestConsole.of_domain(self.workbench.machine, self.domid)

    def inside(self, command: str, timeout_s: float = 60) -> str:
        """What a shell command in the guest writes."""
        return self.console().command(command, timeout_s)

    def wait_booted(self) -> str:
        """Wait until the guest answers; the boot's id."""
        return self.console().command("cat /proc/sys/kernel/random/boot_id", self.boot_timeout_s)

    def wait_state(self, state: str, timeout_s: float) -> None:
        wait_until(f"{self.kind} guest is {state}", lambda: self.state == state, timeout_s)

    def ensure(self, state: str) -> None:
        """Bring the VM to Running (and booted) or Halted, from wherever an earlier test left it."""
        found = self.state
        if found == state:
            pass
        elif state == "Halted":
            self.call("hard_shutdown")
        elif found == "Suspended":
            self.call("resume", False, False)
        elif found == "Paused":
            self.call("unpause")
        else:
            self.call("start", False, False)
        if state == "Running":
            self.wait_booted()

    def check_traffic(self) -> None:
        """Fetch a file from dom0 over the guest's first VIF, and reach the guest from dom0."""
        self.workbench.ensure_address()
        self.inside(f"ifconfig eth0 {self.address} netmask 255.255.255.0 up; ip link set eth0 up")
        reached = f"for i in $(seq 8); do ping -c1 -W2 {ADDRESS} >/dev/null && break; done"
        fetch = f"wget -q -O - http://{ADDRESS}:8000/blob | md5sum"
        assert self.inside(f"{reached}; {fetch}").split()[0] == self.workbench.blob_sum
        word = hashlib.md5(self.vm.encode(), usedforsecurity=False).hexdigest()
        self.inside(f"(echo {word} | nc -l -p 7000 >/dev/null) & sleep 0.2")
        connect = f"import socket; s = socket.create_connection(('{self.address}', 7000), 20)"
        reach = f'python3 -c "{connect}; print(s.makefile().readline())"'
        assert self.workbench.machine.run(reach).strip() == word
