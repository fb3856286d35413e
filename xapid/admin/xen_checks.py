"""Checks of Xen itself and of who else might rule its domains."""

from __future__ import annotations

import re
import sys
from typing import Final

from ..config import Config
from ..xen.xenstore import SOCKET as XENSTORE_SOCKET
from ..xen.xenstore_wire import XenstoreError, XenstoreNotFound
from .finding import Check, Findings, fail, ok, skip, warn
from .surroundings import Surroundings

MIB: Final = 1 << 20
LEAST_AVAILABLE_MIB: Final = 128
OLDEST_XEN: Final = (4, 14)
_NO_XEN: Final = "Xen does not run here"
_DEVICES: Final = ("privcmd", "evtchn", "gntdev", "xenbus")
_QEMUS: Final = (
    "/usr/libexec/xen-qemu-system-i386",
    "/usr/libexec/xen/bin/qemu-system-i386",
    "/usr/lib/xen/bin/qemu-system-i386",
    "/usr/local/lib/xen/bin/qemu-system-i386",
    "/usr/bin/qemu-system-i386",
    "/usr/bin/qemu-system-x86_64",
)
_RIVALS: Final = {
    "xend": "xend",
    "xapi": "xapi",
    "xenopsd": "xenopsd (xapi)",
    "xenopsd-xc": "xenopsd (xapi)",
    "qubesd": "Qubes",
    "ganeti-noded": "Ganeti",
}
_XENDOMAINS: Final = (
    "/etc/systemd/system/multi-user.target.wants/xendomains.service",
    *(f"/etc/rc{level}.d" for level in (2, 3, 5)),
)


def xen(host: Surroundings, config: Config) -> Findings:
    if host.text("/sys/hypervisor/type") != "xen":
        yield fail(
            "xen",
            _NO_XEN,
            "install it (Debian: apt install xen-system-amd64), and choose its entry in the boot "
            "menu; without Xen only the mock can be served",
        )
        return
    parts = [host.text(f"/sys/hypervisor/version/{part}") or "" for part in ("major", "minor")]
    version = ".".join(parts) + (host.text("/sys/hypervisor/version/extra") or "")
    if host.text("/proc/xen/capabilities") is None:
        advice = "mount -t xenfs xenfs /proc/xen (Debian: systemctl start xen)"
        yield fail("xen", f"Xen {version}, but /proc/xen is empty", advice)
    elif not host.is_control_domain:
        advice = "run xapid in the domain that Xen starts first"
        yield fail("xen", f"Xen {version}, but this is one of its guests", advice)
    elif tuple(int(part) for part in parts if part.isdigit()) < OLDEST_XEN:
        yield warn("xen", f"Xen {version} is older than any that xapid was tried on", "upgrade it")
    else:
        yield ok("xen", f"Xen {version}, and this is its control domain")
    yield from _libxl(host, ".".join(parts))


def _libxl(host: Surroundings, running: str) -> Findings:
    """The module that reaches libxl is built for one release of Xen."""
    asked = (sys.executable, "-P", "-m", "xapid.xenworker", "--version")
    told = dict(line.split(" ", 1) for line in (host.run(asked) or "").splitlines() if " " in line)
    found = told.get("libxl")
    if found is None:
        advice = "install the package of xapid that was built for this Xen"
        yield fail("libxl", "xapid-xen cannot load libxl", advice)
    elif found.split(".")[:2] != running.split("."):
        advice = "boot the Xen that matches, or install the xapid that was built for this one"
        yield fail("libxl", f"xapid-xen is built for {found}, but Xen {running} runs", advice)
    else:
        yield ok("libxl", f"xapid-xen is built for {found}")


def devices(host: Surroundings, config: Config) -> Findings:
    if not host.is_control_domain:
        yield skip("xen-devices", _NO_XEN)
        return
    missing = [name for name in _DEVICES if not host.exists(f"/dev/xen/{name}")]
    if missing:
        advice = "modprobe -a xen-privcmd xen-evtchn xen-gntdev"
        yield fail("xen-devices", f"no /dev/xen/{', /dev/xen/'.join(missing)}", advice)
    else:
        yield ok("xen-devices", "all in /dev/xen")
    drivers = {"vbd": "xen-blkback (disks)", "vif": "xen-netback (networks)"}
    absent = [
        what
        for name, what in drivers.items()
        if not host.exists(f"/sys/bus/xen-backend/drivers/{name}")
    ]
    if absent:
        advice = (
            "modprobe -a xen-blkback xen-netback, and name them in /etc/modules-load.d/xen.conf"
        )
        yield warn("backends", f"not loaded: {', '.join(absent)}", advice)
    else:
        yield ok("backends", "disks and networks of guests are served by the kernel")


def xenstored(host: Surroundings, config: Config) -> Findings:
    if not host.is_control_domain:
        yield skip("xenstored", _NO_XEN)
        return
    restart = "see journalctl -u xenstored (Debian: -u xen); when it died, only a reboot helps"
    try:
        name = host.xenstore_value(XENSTORE_SOCKET, "/local/domain/0/name")
    except XenstoreNotFound:
        yield fail("xenstored", "it does not know the control domain", "run xen-init-dom0")
    except XenstoreError as error:
        yield fail("xenstored", f"it cannot be asked: {error}", restart)
    except TimeoutError:
        yield fail("xenstored", "it does not answer", restart)
    else:
        yield ok("xenstored", f"answers, and knows {name}")


def xenconsoled(host: Surroundings, config: Config) -> Findings:
    if not host.is_control_domain:
        yield skip("xenconsoled", _NO_XEN)
    elif "xenconsoled" in host.processes:
        yield ok("xenconsoled", "runs")
    else:
        advice = "systemctl start xenconsoled (Debian: systemctl restart xen)"
        yield fail("xenconsoled", "does not run: guests have no text console", advice)


def processor(host: Surroundings, config: Config) -> Findings:
    if not host.is_control_domain:
        yield skip("hvm", _NO_XEN)
        yield skip("iommu", _NO_XEN)
        return
    able = host.text("/sys/hypervisor/properties/capabilities") or ""
    if "hvm-" in able:
        yield ok("hvm", "PV, PVH and HVM guests can run")
    else:
        advice = "switch VT-x or AMD-V on in the firmware's settings"
        yield warn("hvm", "only PV guests can run", advice)
    if not host.xl_info:
        yield skip("iommu", "xl does not say", "apt install xen-utils-common to let it be seen")
    elif "directio" in host.xl_info.get("virt_caps", ""):
        yield ok("iommu", "devices can be passed through to guests")
    else:
        advice = "to pass devices through, switch VT-d or AMD-Vi on in the firmware; else nothing"
        yield warn("iommu", "none: no device can be passed through to a guest", advice)


def memory(host: Surroundings, config: Config) -> Findings:
    """How much the control domain has, and whether guests have to take it away from it."""
    found = dict(re.findall(r"(?m)^(\w+):\s+(\d+) kB", host.text("/proc/meminfo") or ""))
    available_mib = int(found.get("MemAvailable", 0)) >> 10
    total_mib = int(found.get("MemTotal", 0)) >> 10
    told = f"{available_mib} of {total_mib} MiB available"
    if available_mib < LEAST_AVAILABLE_MIB:
        advice = "give the control domain more (dom0_mem of Xen), or end what takes it"
        yield warn("dom0-memory", told, advice)
    else:
        yield ok("dom0-memory", told)
    if not host.is_control_domain:
        yield skip("ballooning", _NO_XEN)
        return
    line = host.xl_info.get("xen_commandline")
    if line is None:
        yield skip(
            "ballooning", "xl does not say how Xen was started", "apt install xen-utils-common"
        )
    elif "dom0_mem=" not in line:
        yield warn(
            "ballooning",
            "the control domain began with all memory, which guests must first be given",
            'set GRUB_CMDLINE_XEN_DEFAULT="dom0_mem=2G,max:2G" in /etc/default/grub, update-grub, '
            "and reboot",
        )
    elif "max:" not in line.partition("dom0_mem=")[2].split()[0]:
        advice = "write dom0_mem=2G,max:2G: the kernel then keeps no room for memory it never gets"
        yield warn("ballooning", "dom0_mem has no max", advice)
    else:
        setting = line.partition("dom0_mem=")[2].split()[0]
        yield ok("ballooning", f"the control domain's memory is fixed (dom0_mem={setting})")


def qemu(host: Surroundings, config: Config) -> Findings:
    versioned = [f"/usr/lib/{name}/bin/qemu-system-i386" for name in host.names("/usr/lib")]
    places = [*_QEMUS, *(place for place in versioned if "/xen-" in place)]
    found = next((place for place in places if host.exists(place)), None)
    if found is None:
        advice = "apt install qemu-system-xen"
        yield warn("qemu", "none: no HVM guests, no qcow2 disks, no VNC consoles", advice)
    else:
        yield ok("qemu", found)


def rivals(host: Surroundings, config: Config) -> Findings:
    """Whoever else starts and stops domains."""
    found = sorted({name for process, name in _RIVALS.items() if process in host.processes})
    domains = [name for name in host.names("/run/libvirt/libxl") if name.endswith(".xml")]
    if domains and {"libvirtd", "virtxend"} & host.processes:
        found.append(f"libvirt, with {len(domains)} domains")
    if found:
        advice = "let one of them manage this host: stop and disable the others"
        yield fail("toolstacks", f"beside xapid there is {', '.join(found)}", advice)
    else:
        yield ok("toolstacks", "no other manages domains here")
    yield from _xendomains(host)


def _xendomains(host: Surroundings) -> Findings:
    links = [*host.names(_XENDOMAINS[1]), *host.names(_XENDOMAINS[2]), *host.names(_XENDOMAINS[3])]
    enabled = host.exists(_XENDOMAINS[0]) or any(
        re.fullmatch(r"S\d+xendomains", link) for link in links
    )
    own = host.names("/etc/xen/auto")
    if enabled:
        also = f", and starts {', '.join(own)} by itself" if own else ""
        yield warn(
            "xendomains",
            f"enabled: when the host stops it saves or shuts down xapid's guests{also}",
            "systemctl disable xendomains (do not stop it: that ends all guests); "
            "xapid-guests.service does this for xapid's",
        )
    else:
        yield ok("xendomains", "not enabled")


CHECKS: Final[tuple[Check, ...]] = (
    xen,
    devices,
    xenstored,
    xenconsoled,
    processor,
    memory,
    qemu,
    rivals,
)
