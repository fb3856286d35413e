"""Interfaces as the kernel shows them in files: read in a thread, never decoded on the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from .driver import is_name
from .links import Counters, Hardware, Link, LinkKind
from .netlink import IFF_UP, owner_of

NET: Final = Path("/sys/class/net")
VLANS: Final = Path("/proc/thread-self/net/vlan/config")
PCI_IDS: Final = (Path("/usr/share/misc/pci.ids"), Path("/usr/share/hwdata/pci.ids"))


def has_device(at: Path) -> bool:
    """Whether a device is behind an interface which is not the backend of a guest's one."""
    return (at / "device").exists() and _target(at / "device/subsystem") != "xen-backend"


@dataclass(frozen=True)
class Sysfs:
    """The interfaces of the namespace that `root` belongs to."""

    root: Path = NET
    is_hardware: Callable[[Path], bool] = has_device

    def link(self, name: str) -> Link | None:
        """One interface; None when there is none of that name."""
        if not is_name(name) or not (self.root / name).exists():
            return None
        return self._read(name, _vlans())

    def links(self) -> list[Link]:
        """The hardware interfaces, bonds and VLANs; those of guests are not opened."""
        vlans, root = _vlans(), self.root
        names = (entry.name for entry in root.iterdir() if is_name(entry.name))
        wanted = (
            n for n in names if n in vlans or self.is_hardware(root / n) or _is_bond(root / n)
        )
        return [link for name in sorted(wanted) if (link := self._read(name, vlans)) is not None]

    def counters(self, names: Collection[str]) -> dict[str, Counters]:
        """What passed through these interfaces; those that are gone are left out."""
        found = {}
        for name in filter(is_name, names):
            at = self.root / name / "statistics"
            if received := _text(at / "rx_bytes"):
                sent = _number(at / "tx_bytes")
                found[name] = Counters(time.monotonic_ns(), int(received), sent)
        return found

    def _read(self, name: str, vlans: dict[str, tuple[str, int]]) -> Link | None:
        at = self.root / name
        flags = _text(at / "flags")
        if not flags:  # it went while we looked
            return None
        parent, tag = vlans.get(name, ("", -1))
        return Link(
            name=name,
            kind=self._kind(at, parent),
            mac=_text(at / "bonding_slave/perm_hwaddr") or _text(at / "address"),
            mtu=_number(at / "mtu"),
            up=bool(int(flags, 16) & IFF_UP),
            carrier=_text(at / "carrier") == "1",
            speed=max(0, _number(at / "speed")),
            full_duplex=_text(at / "duplex") == "full",
            master=_target(at / "master"),
            owner=owner_of(_text(at / "ifalias")),
            parent=parent,
            tag=tag,
            members=tuple(sorted(_text(at / "bonding/slaves").split())),
            active=_text(at / "bonding/active_slave"),
            mode=_text(at / "bonding/mode").partition(" ")[0],
            hardware=_hardware(at) if has_device(at) else Hardware(),
        )

    def _kind(self, at: Path, parent: str) -> LinkKind:
        if parent:
            return LinkKind.VLAN
        if _is_bond(at):
            return LinkKind.BOND
        return LinkKind.HARDWARE if self.is_hardware(at) else LinkKind.OTHER


def _is_bond(at: Path) -> bool:
    return (at / "bonding").is_dir()


def _hardware(at: Path) -> Hardware:
    """What the bus tells. A virtio device has its address on the PCI bus one level up."""
    device = (at / "device").resolve()
    pci = next(
        (d for d in (device, device.parent) if _target(d / "subsystem") == "pci"),
        None,
    )
    driver = _target(at / "device/driver")
    if pci is None:
        return Hardware(driver=driver)
    vendor, product = (_text(pci / file).removeprefix("0x") for file in ("vendor", "device"))
    names = _names(vendor, product)
    return Hardware(driver, pci.name, vendor, names[0], product, names[1])


@cache
def _names(vendor: str, product: str) -> tuple[str, str]:
    """The names of a maker and its device, where the list of PCI numbers is installed."""
    source = next((path for path in PCI_IDS if path.exists()), None)
    if source is None or not vendor:
        return "", ""
    found = ""
    with source.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("#", "\t\t")):
                continue
            number, _, name = line.strip().partition("  ")
            if line.startswith("\t"):
                if found and number == product:
                    return found, name
            elif found:
                break
            elif number == vendor:
                found = name
    return found, ""


def _vlans() -> dict[str, tuple[str, int]]:
    """Each VLAN's interface with what it is on and its tag; none where the kernel has no VLANs."""
    found = {}
    for line in _text(VLANS).splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3 and parts[1].isdigit():
            found[parts[0]] = (parts[2], int(parts[1]))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # the kernel refuses what makes no sense now, such as the speed without a link
        return ""


def _number(path: Path) -> int:
    try:
        return int(_text(path))
    except ValueError:
        return 0


def _target(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""
