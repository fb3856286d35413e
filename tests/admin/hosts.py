"""Pretended hosts for `xapid doctor`: a good one, and each way in which one can be bad."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xapid.admin.doctor import examine
from xapid.admin.finding import Finding, Status
from xapid.admin.surroundings import Surroundings
from xapid.config import AccountSettings, Config, Guests, Listen, Tls
from xapid.http.tls import load_or_make_certificate
from xapid.xen.xenstore_wire import XenstoreNotFound, XenstoreUnavailable

FILES = {
    "sys/hypervisor/type": "xen",
    "sys/hypervisor/version/major": "4",
    "sys/hypervisor/version/minor": "17",
    "sys/hypervisor/version/extra": ".5",
    "sys/hypervisor/properties/capabilities": "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_64",
    "sys/bus/xen-backend/drivers/vbd/bind": "",
    "sys/bus/xen-backend/drivers/vif/bind": "",
    "sys/class/net/xenbr0/bridge/stp_state": "0",
    "sys/class/net/xenbr0/brif/eth0": "",
    "sys/class/net/xenbr0/brif/vif3.0": "",
    "sys/class/net/eth0/device/vendor": "",
    "proc/xen/capabilities": "control_d",
    "proc/1/comm": "systemd",
    "proc/77/comm": "xenconsoled",
    "proc/meminfo": "MemTotal:  2048000 kB\nMemFree: 1 kB\nMemAvailable: 1024000 kB",
    "dev/xen/privcmd": "",
    "dev/xen/evtchn": "",
    "dev/xen/gntdev": "",
    "dev/xen/xenbus": "",
    "dev/loop-control": "",
    "dev/net/tun": "",
    "etc/pam.d/xapid": "",
    "run/systemd/journal/socket": "",
    "var/log/journal/x": "",
    "boot/vmlinuz": "",
    "usr/libexec/xen-qemu-system-i386": "",
    "sbin/vgs": "",
    "sbin/lvs": "",
    "sbin/lvcreate": "",
    "usr/sbin/thin_check": "",
    "usr/sbin/iscsiadm": "",
    "sbin/mount.nfs": "",
    "sbin/mkfs.ext4": "",
    "usr/bin/qemu-img": "",
}
XL_INFO = """\
xen_commandline        : placeholder dom0_mem=2G,max:2G no-real-mode
virt_caps              : pv hvm hvm_directio pv_directio hap shadow
"""


class PretendedHost(Surroundings):
    """A host of files in a directory, and of programs that say what they are told to say."""

    domain_zero: str | Exception = "Domain-0"
    told: bytes = b"<string>SESSION_INVALID</string>"

    def path(self, absolute: str | Path) -> Path:
        """Settings name places of the test itself, which are taken as they are."""
        own = Path(absolute)
        return own if own.is_relative_to(self.root) else super().path(absolute)

    def xenstore_value(self, socket_path: Path, node: str) -> str:
        if isinstance(self.domain_zero, Exception):
            raise self.domain_zero
        return self.domain_zero

    def answer(self, socket_path: Path, body: str) -> bytes:
        return self.told


@dataclass
class Made:
    """The host of one test, to be spoilt."""

    root: Path
    programs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, text in FILES.items():
            self.write(name, text)
        self.programs |= {
            "xl": XL_INFO,
            "python": "libxl 4.17.0\nmock 4.17.0\n",
            "systemctl": "active\nrunning\n",
            "timedatectl": "yes\n",
        }
        self.host = PretendedHost(self.root, self._run, space(50 << 30))
        self.config = Config(
            state_dir=self.root / "state",
            tls=Tls(directory=self.root / "tls"),
            listen=Listen(socket=self.root / "s"),
            accounts=AccountSettings(source="system", group="root"),
            guests=Guests(kernel_directories=(str(self.root / "boot"),)),
        )

    def _run(self, arguments: Sequence[str]) -> str | None:
        name = Path(arguments[0]).name
        return self.programs.get("python" if name.startswith("python") else name)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def remove(self, name: str) -> None:
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def findings(self) -> dict[str, Finding]:
        return {finding.name: finding for finding in examine(self.host, self.config)}


def spoil_xen_missing(made: Made) -> None:
    made.remove("sys/hypervisor/type")


def spoil_guest(made: Made) -> None:
    made.write("proc/xen/capabilities", "")


def spoil_xenfs(made: Made) -> None:
    made.remove("proc/xen/capabilities")


def spoil_old_xen(made: Made) -> None:
    made.write("sys/hypervisor/version/minor", "4")


def spoil_other_libxl(made: Made) -> None:
    made.programs["python"] = "libxl 4.20.0\n"


def spoil_no_libxl(made: Made) -> None:
    made.programs["python"] = "mock 4.17.0\n"


def spoil_devices(made: Made) -> None:
    made.remove("dev/xen/gntdev")


def spoil_backends(made: Made) -> None:
    made.remove("sys/bus/xen-backend/drivers/vif")


def spoil_xenstored(made: Made) -> None:
    made.host.domain_zero = XenstoreUnavailable("no xenstored")


def spoil_dom0_init(made: Made) -> None:
    made.host.domain_zero = XenstoreNotFound("ENOENT", "/local/domain/0/name")


def spoil_silent_xenstored(made: Made) -> None:
    made.host.domain_zero = TimeoutError()


def spoil_xenconsoled(made: Made) -> None:
    made.remove("proc/77")


def spoil_hvm(made: Made) -> None:
    made.write("sys/hypervisor/properties/capabilities", "xen-3.0-x86_64")


def spoil_iommu(made: Made) -> None:
    made.programs["xl"] = XL_INFO.replace("directio", "")


def spoil_no_xl(made: Made) -> None:
    del made.programs["xl"]


def spoil_balloon(made: Made) -> None:
    made.programs["xl"] = XL_INFO.replace("dom0_mem=2G,max:2G", "")


def spoil_balloon_max(made: Made) -> None:
    made.programs["xl"] = XL_INFO.replace(",max:2G", "")


def spoil_memory(made: Made) -> None:
    made.write("proc/meminfo", "MemTotal: 2048000 kB\nMemAvailable: 100000 kB")


def spoil_qemu(made: Made) -> None:
    made.remove("usr/libexec")


def spoil_xapi(made: Made) -> None:
    made.write("proc/99/comm", "xapi")


def spoil_libvirt(made: Made) -> None:
    made.write("proc/99/comm", "virtxend")
    made.write("run/libvirt/libxl/guest.xml", "")


def spoil_xendomains(made: Made) -> None:
    made.write("etc/rc3.d/S05xendomains", "")
    made.write("etc/xen/auto/web.cfg", "")


def spoil_filter(made: Made) -> None:
    made.write("proc/sys/net/bridge/bridge-nf-call-iptables", "1")


def spoil_bond(made: Made) -> None:
    made.write("sys/class/net/bonding_masters", "bond0")
    made.write("sys/class/net/bond0/bonding/slaves", "")


def spoil_bond_setting(made: Made) -> None:
    made.write("sys/class/net/bonding_masters", "bond1")
    made.write("sys/class/net/bond1/bonding/slaves", "eth0 eth1")


def spoil_lvm(made: Made) -> None:
    made.remove("sbin/lvs")


def spoil_iscsi(made: Made) -> None:
    made.remove("usr/sbin/iscsiadm")


def spoil_modules(made: Made) -> None:
    made.remove("dev/net/tun")


def space(free: int, *, flag: int = 0, inodes: int = 1000) -> Callable[[Path], os.statvfs_result]:
    size = 100 << 30
    blocks, left = size // 4096, free // 4096
    answer = os.statvfs_result((4096, 4096, blocks, left, left, 1000, inodes, inodes, flag, 255))
    return lambda path: answer


def spoil_full_disk(made: Made) -> None:
    made.host.statvfs = space(10 << 20)


def spoil_fuller_disk(made: Made) -> None:
    made.host.statvfs = space(4 << 30)


def spoil_inodes(made: Made) -> None:
    made.host.statvfs = space(50 << 30, inodes=5)


def spoil_read_only(made: Made) -> None:
    made.host.statvfs = space(50 << 30, flag=os.ST_RDONLY)


def spoil_clock(made: Made) -> None:
    made.programs["timedatectl"] = "no\n"


def spoil_journal(made: Made) -> None:
    made.remove("var/log/journal")


def spoil_service(made: Made) -> None:
    made.programs["systemctl"] = "failed\nfailed\n"


def spoil_answer(made: Made) -> None:
    made.host.told = b"nginx"


def spoil_database(made: Made) -> None:
    made.write("state/state.db", "no database at all")


def spoil_backup(made: Made) -> None:
    made.write("state/backup/xapid-20260101T000000Z.tar.gz", "no archive")


def spoil_key_mode(made: Made) -> None:
    load_or_make_certificate(made.root / "tls")
    (made.root / "tls/server.key").chmod(0o644)


def spoil_other_key(made: Made) -> None:
    load_or_make_certificate(made.root / "tls")
    load_or_make_certificate(made.root / "other")
    shutil.copy(made.root / "other/server.key", made.root / "tls/server.key")


def spoil_certificate(made: Made) -> None:
    made.write("tls/server.crt", "no certificate")
    made.write("tls/server.key", "no key")


def spoil_pam(made: Made) -> None:
    made.remove("etc/pam.d/xapid")


def spoil_group(made: Made) -> None:
    made.config = Config(accounts=AccountSettings(source="system", group="no-such-group"))


def spoil_kernels(made: Made) -> None:
    made.remove("boot")


SPOILT = [
    (spoil_xen_missing, "xen", Status.FAIL, "does not run"),
    (spoil_guest, "xen", Status.FAIL, "one of its guests"),
    (spoil_xenfs, "xen", Status.FAIL, "/proc/xen is empty"),
    (spoil_old_xen, "xen", Status.WARN, "older than any"),
    (spoil_other_libxl, "libxl", Status.FAIL, "built for 4.20.0, but Xen 4.17 runs"),
    (spoil_no_libxl, "libxl", Status.FAIL, "cannot load"),
    (spoil_devices, "xen-devices", Status.FAIL, "/dev/xen/gntdev"),
    (spoil_backends, "backends", Status.WARN, "xen-netback"),
    (spoil_xenstored, "xenstored", Status.FAIL, "cannot be asked"),
    (spoil_dom0_init, "xenstored", Status.FAIL, "does not know the control domain"),
    (spoil_silent_xenstored, "xenstored", Status.FAIL, "does not answer"),
    (spoil_xenconsoled, "xenconsoled", Status.FAIL, "does not run"),
    (spoil_hvm, "hvm", Status.WARN, "only PV"),
    (spoil_iommu, "iommu", Status.WARN, "none"),
    (spoil_no_xl, "iommu", Status.SKIP, "does not say"),
    (spoil_balloon, "ballooning", Status.WARN, "all memory"),
    (spoil_balloon_max, "ballooning", Status.WARN, "no max"),
    (spoil_memory, "dom0-memory", Status.WARN, "97 of 2000 MiB"),
    (spoil_qemu, "qemu", Status.WARN, "no HVM guests"),
    (spoil_xapi, "toolstacks", Status.FAIL, "xapi"),
    (spoil_libvirt, "toolstacks", Status.FAIL, "libvirt, with 1 domains"),
    (spoil_xendomains, "xendomains", Status.WARN, "starts web.cfg by itself"),
    (spoil_filter, "bridge-filter", Status.WARN, "firewall"),
    (spoil_bond, "bonding", Status.WARN, "without members: bond0"),
    (spoil_bond_setting, "bonding", Status.WARN, "empty bond0 at each boot"),
    (spoil_lvm, "sr-lvm", Status.WARN, "no lvs"),
    (spoil_iscsi, "sr-iscsi", Status.SKIP, "no iscsiadm"),
    (spoil_modules, "modules", Status.WARN, "tun"),
    (spoil_full_disk, "disk-state", Status.FAIL, "10 of 102400 MiB free"),
    (spoil_fuller_disk, "disk-state", Status.WARN, "4096 of 102400 MiB free"),
    (spoil_inodes, "disk-state", Status.FAIL, "5 inodes"),
    (spoil_read_only, "disk-state", Status.FAIL, "read-only"),
    (spoil_clock, "time", Status.WARN, "nobody keeps"),
    (spoil_journal, "journal", Status.WARN, "lost at each reboot"),
    (spoil_service, "xapid", Status.FAIL, "failed"),
    (spoil_answer, "api", Status.FAIL, "nonsense"),
    (spoil_database, "database", Status.FAIL, "not a database"),
    (spoil_backup, "backups", Status.WARN, "damaged"),
    (spoil_key_mode, "certificate", Status.FAIL, "anybody can read"),
    (spoil_other_key, "certificate", Status.FAIL, "is not the key of"),
    (spoil_certificate, "certificate", Status.FAIL, "cannot be used"),
    (spoil_pam, "accounts", Status.FAIL, "no password is accepted"),
    (spoil_group, "accounts", Status.WARN, "only root can log in"),
    (spoil_kernels, "kernels", Status.WARN, "no directory"),
]
