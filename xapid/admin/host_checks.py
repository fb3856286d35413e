"""Checks of the control domain's own system: networks, storage's tools, disks, clock, log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..config import Config
from .finding import Check, Finding, Findings, fail, ok, skip, warn
from .surroundings import Surroundings

MIB: Final = 1 << 20
FAIL_BELOW: Final = 64 * MIB
WARN_BELOW: Final = 1024 * MIB
WARN_SHARE: Final = 0.05
_TOOLS: Final = (
    ("sr-lvm", ("vgs", "lvs", "lvcreate"), "lvm2", "SRs of type lvm", warn),
    ("sr-lvm-thin", ("thin_check",), "thin-provisioning-tools", "thin LVM disks", skip),
    ("sr-iscsi", ("iscsiadm",), "open-iscsi", "SRs of type lvmoiscsi", skip),
    ("sr-nfs", ("mount.nfs",), "nfs-common", "SRs of type nfs", skip),
    ("sr-ext", ("mkfs.ext4",), "e2fsprogs", "SRs of type ext", warn),
    ("qemu-img", ("qemu-img",), "qemu-utils", "qcow2 disks and their snapshots", warn),
)
"""Each with what to say where it is missing: not everybody wants a SAN."""
_CLOCKS: Final = ("chronyd", "ntpd", "ntpsec", "systemd-timesyn")


def bridges(host: Surroundings, config: Config) -> Findings:
    links = host.names("/sys/class/net")
    found = []
    for name in links:
        if host.exists(f"/sys/class/net/{name}/bridge"):
            ports = host.names(f"/sys/class/net/{name}/brif")
            real = [port for port in ports if host.exists(f"/sys/class/net/{port}/device")]
            found.append(f"{name} ({', '.join(real) or 'no uplink'})")
    yield ok("bridges", ", ".join(found) or "none yet: xapid makes them with their networks")
    filtered = host.text("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if filtered == "1":
        advice = "sysctl -w net.bridge.bridge-nf-call-iptables=0, and in /etc/sysctl.d/"
        yield warn("bridge-filter", "the firewall of this host drops guests' frames too", advice)
    else:
        yield ok("bridge-filter", "guests' frames are not filtered by this host's firewall")


def bonding(host: Surroundings, config: Config) -> Findings:
    """The module makes a bond0 by itself unless it is told not to."""
    masters = (host.text("/sys/class/net/bonding_masters") or "").split()
    stray = [name for name in masters if not host.text(f"/sys/class/net/{name}/bonding/slaves")]
    set_up = [
        text
        for name in host.names("/etc/modprobe.d")
        if "max_bonds=0" in (text := host.text(f"/etc/modprobe.d/{name}") or "")
    ]
    if stray:
        yield warn(
            "bonding",
            f"bonds without members: {', '.join(stray)}",
            "echo 'options bonding max_bonds=0' > /etc/modprobe.d/bonding.conf, and "
            f"ip link delete {stray[0]} if nobody needs it",
        )
    elif masters and not set_up:
        advice = "echo 'options bonding max_bonds=0' > /etc/modprobe.d/bonding.conf"
        yield warn("bonding", "the module makes an empty bond0 at each boot", advice)
    else:
        yield ok("bonding", f"bonds: {', '.join(masters) or 'none'}")


def tools(host: Surroundings, config: Config) -> Findings:
    for name, programs, package, what, told in _TOOLS:
        missing = [program for program in programs if not host.installed(program)]
        if missing:
            advice = f"if you want {what}: apt install {package}"
            yield told(name, f"no {', '.join(missing)}: {what} cannot be used", advice)
        else:
            yield ok(name, f"{what} can be used")


def disks(host: Surroundings, config: Config) -> Findings:
    """The file systems that xapid writes to, each once."""
    places = {
        "state": config.state_dir,
        "backups": config.backup_dir,
        "log": Path("/var/log"),
        "run": Path("/run"),
    }
    seen: set[int] = set()
    for name, wanted in places.items():
        place = _existing(host, wanted)
        device = place.stat().st_dev
        if device not in seen:
            seen.add(device)
            yield _room(f"disk-{name}", str(wanted), host.statvfs(place))


def _existing(host: Surroundings, wanted: Path) -> Path:
    place = host.path(wanted)
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def _room(name: str, shown: str, found: os.statvfs_result) -> Finding:
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    told = f"{shown} has {free // MIB} of {size // MIB} MiB free"
    if found.f_flag & os.ST_RDONLY:
        advice = "see why (dmesg), repair it, and mount it anew; guests go on meanwhile"
        return fail(name, f"{shown} is read-only", advice)
    if found.f_files and found.f_favail * 100 < found.f_files:
        advice = "delete what has many small files (find / -xdev -type d -size +1M)"
        return fail(name, f"{shown} has {found.f_favail} inodes free", advice)
    advice = "make room (du -xh / | sort -h | tail), or move it to a larger disk"
    if free < min(FAIL_BELOW, size // 4):
        return fail(name, told, advice)
    if free < min(WARN_BELOW, size // 4) or free < size * WARN_SHARE:
        return warn(name, told, advice)
    return ok(name, told)


def clock(host: Surroundings, config: Config) -> Findings:
    asked = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
    told = (host.run(asked) or "").strip()
    running = sorted(name for name in _CLOCKS if name in host.processes)
    advice = "apt install systemd-timesyncd or chrony: certificates and guests depend on the time"
    if told == "yes":
        yield ok("time", "synchronised")
    elif told == "no" and running:
        yield warn("time", f"{running[0]} runs, but is not synchronised yet", "timedatectl status")
    elif told == "no" or not running:
        yield warn("time", "nobody keeps the clock", advice)
    else:
        yield ok("time", f"{running[0]} runs")


def journal(host: Surroundings, config: Config) -> Findings:
    if not host.exists("/run/systemd/journal/socket"):
        advice = "xapid writes to its standard error: keep that somewhere"
        yield skip("journal", "there is no journald", advice)
    elif host.exists("/var/log/journal"):
        yield ok("journal", "outlives a reboot")
    else:
        advice = "mkdir /var/log/journal && systemctl restart systemd-journald"
        yield warn("journal", "is lost at each reboot", advice)


def loops(host: Surroundings, config: Config) -> Findings:
    """What disks from files and the networks of HVM guests need of the kernel."""
    needed = {"/dev/loop-control": "loop", "/dev/net/tun": "tun"}
    missing = [module for path, module in needed.items() if not host.exists(path)]
    if missing:
        advice = f"modprobe -a {' '.join(missing)}, and name them in /etc/modules-load.d/xen.conf"
        yield warn("modules", f"not loaded: {', '.join(missing)}", advice)
    else:
        yield ok("modules", "loop and tun are there")


CHECKS: Final[tuple[Check, ...]] = (bridges, bonding, tools, loops, disks, clock, journal)
