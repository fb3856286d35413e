"""From what a guest wrote into xenstore to the fields of VM_guest_metrics: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

OS_VERSION = {
    "data/os_name": "name",
    "data/os_distro": "distro",
    "data/os_majorver": "major",
    "data/os_minorver": "minor",
    "data/os_uname": "uname",
}
PV_DRIVERS_VERSION = {
    "attr/PVAddons/MajorVersion": "major",
    "attr/PVAddons/MinorVersion": "minor",
    "attr/PVAddons/MicroVersion": "micro",
    "attr/PVAddons/BuildVersion": "build",
}
MEMORY = {"data/meminfo_free": "free", "data/meminfo_total": "total"}

OS_OF_WINDOWS = re.compile(r"attr/os/([a-z]{1,32})")
DRIVER = re.compile(r"drivers/([A-Za-z0-9_-]{1,64})")
VOLUME = re.compile(r"data/volumes/([0-9]{1,4}/.{1,128})")
ADDRESS = re.compile(
    r"(?:attr/vif|xenserver/attr/net-sriov-vf)/([0-9]{1,4})/(ipv[46])/([0-9]{1,4})"
)
OLD_ADDRESS = re.compile(r"attr/eth([0-9]{1,4})/ip")
OLD_ADDRESS_6 = re.compile(r"attr/eth([0-9]{1,4})/ipv6/([0-9]{1,4})/addr")
FEATURE = re.compile(r"control/(feature-.{1,128})")
OF_THE_HOST = re.compile(r"control/|attr/PVAddons/")
"""What the guest did not write, or what has been read into another field."""

MAX_OTHER = 200


def guest_fields(told: Mapping[str, str]) -> dict[str, Any]:
    """The fields; `told` has the values that are not empty by path from the domain's directory.

    Memory is in KiB, as agents write it. `other` has features by their name (feature-balloon), and
    the rest by path with a dash between the steps (data-ts).
    """
    drivers = _named(told, PV_DRIVERS_VERSION)
    return {
        "os_version": _windows(told) | _named(told, OS_VERSION),
        "PV_drivers_version": _matches(told, DRIVER) | drivers,
        "PV_drivers_up_to_date": "major" in drivers,
        "memory": _memory(told),
        "disks": _matches(told, VOLUME),
        "networks": dict(_networks(told)),
        "other": dict(sorted(_other(told))[:MAX_OTHER]),
    }


def tells_something(fields: Mapping[str, Any]) -> bool:
    return any(fields.values())


def _named(told: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {name: told[path] for path, name in names.items() if path in told}


def _matches(told: Mapping[str, str], pattern: re.Pattern[str]) -> dict[str, str]:
    return {m[1]: value for path, value in told.items() if (m := pattern.fullmatch(path))}


def _windows(told: Mapping[str, str]) -> dict[str, str]:
    return _matches(told, OS_OF_WINDOWS)


def _memory(told: Mapping[str, str]) -> dict[str, str]:
    memory = _named(told, MEMORY)
    if len(memory) == len(MEMORY) and all(_is_number(kib) for kib in memory.values()):
        used = int(memory["total"]) - int(memory["free"])
        if used >= 0:
            memory["used"] = str(used)
    return memory


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _networks(told: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """N/ip is an interface's first address; N/ipv4/I and N/ipv6/I are all of them."""
    for path, value in told.items():
        if match := OLD_ADDRESS.fullmatch(path):
            yield f"{match[1]}/ip", value
        elif match := OLD_ADDRESS_6.fullmatch(path):
            yield f"{match[1]}/ipv6/{match[2]}", value
    for path, value in told.items():
        if match := ADDRESS.fullmatch(path):
            number, family, index = match.groups()
            yield f"{number}/{family}/{index}", value
            if (family, index) == ("ipv4", "0"):
                yield f"{number}/ip", value


def _other(told: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path, value in told.items():
        if match := FEATURE.fullmatch(path):
            yield match[1], value
        elif not (_is_read_elsewhere(path) or OF_THE_HOST.match(path)):
            yield path.replace("/", "-"), value


def _is_read_elsewhere(path: str) -> bool:
    patterns = (OS_OF_WINDOWS, DRIVER, VOLUME, ADDRESS, OLD_ADDRESS, OLD_ADDRESS_6)
    return path in OS_VERSION or path in MEMORY or any(p.fullmatch(path) for p in patterns)
