"""The keys of `platform` and `other_config` that mean something, and what they make of a domain.

docs/vm-keys.md lists them. Every value is held against a form here; none reaches libxl as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..datamodel.enums import DomainType
from ..datamodel.errors import InvalidValue, ValueNotSupported
from ..datamodel.vm import VM

MAX_PCI_DEVICES: Final = 32
LEAST_VIDEO_MIB: Final = {"cirrus": 8, "std": 16}  # what libxl accepts with qemu
TRUE, FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})
PCI_ADDRESS: Final = re.compile(
    r"(?:[0-9]{1,2}/)?([0-9a-f]{4}):([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.ASCII
)


@dataclass(frozen=True, order=True)
class PciAddress:
    """Where a PCI device is on this host."""

    domain: int
    bus: int
    device: int
    function: int

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}.{self.function}"

    def plan(self) -> dict[str, int]:
        """The libxl_device_pci."""
        return {
            "domain": self.domain,
            "bus": self.bus,
            "dev": self.device,
            "func": self.function,
        }


Read = Callable[[str], Any]
"""From a value to what libxl is given; raises ValueError."""


def _boolean(value: str) -> str:
    if value not in TRUE | FALSE:
        raise ValueError(value)
    return "True" if value in TRUE else "False"  # libxl's own spelling of a defbool


def _number(low: int, high: int) -> Read:
    def read(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", value, re.ASCII) or not low <= int(value) <= high:
            raise ValueError(value)
        return int(value)

    return read


def _one_of(*values: str) -> Read:
    def read(value: str) -> str:
        if value not in values:
            raise ValueError(value)
        return value

    return read


@dataclass(frozen=True)
class Key:
    """A key of `platform`. path: where it goes in libxl's build_info; () for nowhere."""

    values: str
    meaning: str
    read: Read
    path: tuple[str, ...] = ()
    scale: int = 1


def _hvm(name: str, meaning: str) -> Key:
    return Key("true, false, 1, 0", meaning, _boolean, ("type.hvm", name))


PLATFORM: Final[dict[str, Key]] = {
    "acpi": _hvm("acpi", "ACPI tables for an HVM guest."),
    "apic": _hvm("apic", "An APIC for an HVM guest."),
    "hpet": _hvm("hpet", "A high precision event timer for an HVM guest."),
    "nx": _hvm("nx", "The no-execute bit for an HVM guest."),
    "pae": _hvm("pae", "Physical address extension for an HVM guest."),
    "usb": _hvm("usb", "A USB controller for an HVM guest."),
    "viridian": _hvm("viridian", "Interfaces that Windows guests use."),
    "vga": Key(
        "std, cirrus", "The graphics card of an HVM guest.", _one_of("std", "cirrus"),
        ("type.hvm", "vga", "kind"),
    ),
    "videoram": Key(
        "4 to 64", "MiB of memory of the graphics card of an HVM guest.", _number(4, 64),
        ("video_memkb",), 1024,
    ),
    "timeoffset": Key(
        "seconds", "How far the guest's clock is ahead of UTC.", _number(-(10**9) + 1, 10**9 - 1),
        ("rtc_timeoffset",),
    ),
    "cores-per-socket": Key(
        "1 to 128", "Kept for clients; libxl gives every vCPU a socket.", _number(1, 128)
    ),
}  # fmt: skip
"""What reaches a domain when it is built."""

REFUSED: Final = frozenset(
    {
        "acpi_firmware", "device-model", "device_model", "device_model_args",
        "device_model_args_hvm", "device_model_override", "firmware", "firmware_override",
        "hvm_serial", "keymap", "kernel",
        "parallel", "qemu_args", "qemu_extra_args", "serial", "smbios_firmware", "soundhw",
        "system_firmware", "usbdevice", "vgpu_config", "vgpu_extra_args", "vnc_keymap",
    }
)  # fmt: skip
"""Keys that other toolstacks hand to qemu or open as files of the control domain."""


def check_platform(platform: Mapping[str, str]) -> None:
    """Raise INVALID_VALUE for a value that its key does not take, VALUE_NOT_SUPPORTED for a key
    that would reach the device model. Other keys are kept and mean nothing.
    """
    for name, value in platform.items():
        if name in REFUSED:
            why = "it would reach the device model or a file of the control domain"
            raise ValueNotSupported(f"platform:{name}", value[:64], why)
        if name in PLATFORM:
            _read(name, value)


def _read(name: str, value: str) -> Any:
    try:
        return PLATFORM[name].read(value)
    except ValueError:
        raise InvalidValue(f"platform:{name}", value[:64]) from None


def plan_platform(vm: VM, kind: DomainType) -> dict[str, Any]:
    """The members of libxl's build_info that `platform` asks for. Raises as check_platform does."""
    check_platform(vm.platform)
    build: dict[str, Any] = {}
    for name, value in vm.platform.items():
        key = PLATFORM.get(name)
        if key is None or not key.path:
            continue
        if kind is not DomainType.HVM and name != "timeoffset":
            continue
        place = build
        for part in key.path[:-1]:
            place = place.setdefault(part, {})
        wanted = _read(name, value)
        place[key.path[-1]] = wanted * key.scale if isinstance(wanted, int) else wanted
    if "video_memkb" in build:
        card = vm.platform.get("vga", "cirrus")
        build["video_memkb"] = max(build["video_memkb"], LEAST_VIDEO_MIB[card] * 1024)
    if "rtc_timeoffset" in build:  # a 32-bit number without a sign
        build["rtc_timeoffset"] &= 0xFFFFFFFF
    return build


def pci_devices(other_config: Mapping[str, str], pci_bus: str) -> tuple[PciAddress, ...]:
    """The devices to pass through: `other_config:pci`, else PCI_bus. Raises INVALID_VALUE.

    A list like "0/0000:04:00.0,0/0000:04:00.1"; the number before the slash is a client's own.
    """
    field, wanted = "other_config:pci", other_config.get("pci", "")
    if not wanted:
        field, wanted = "PCI_bus", pci_bus
    if not wanted:
        return ()
    devices = []
    for address in wanted.lower().split(",")[: MAX_PCI_DEVICES + 1]:
        found = PCI_ADDRESS.fullmatch(address)
        if found is None:
            raise InvalidValue(field, wanted[:64])
        devices.append(PciAddress(*(int(part, 16) for part in found.groups())))
    if len(devices) > MAX_PCI_DEVICES or len(set(devices)) != len(devices):
        raise InvalidValue(field, wanted[:64])
    return tuple(devices)
