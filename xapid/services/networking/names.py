"""Names and addresses that a client may give, and those made when it gives none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Container

from ...datamodel.errors import InvalidDevice, InvalidValue, MACInvalid
from ...network.driver import MAX_MTU, MIN_MTU, is_name

MAX_VIFS = 8
DEFAULT_MTU = 1500
AUTODETECT = frozenset({"", "autodetect"})
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MULTICAST, LOCAL = 0x01, 0x02


def check_mac(mac: str) -> str:
    """An address that an interface can have, in lower case. Raises MAC_INVALID."""
    lower = mac.lower()
    if not MAC.fullmatch(lower) or lower == "00:00:00:00:00:00" or int(lower[:2], 16) & MULTICAST:
        raise MACInvalid(mac[:64])
    return lower


def new_mac(
    taken: Container[str], random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> str:
    """A locally administered address that nobody has."""
    while True:
        octets = bytearray(random_bytes(6))
        octets[0] = (octets[0] & ~MULTICAST) | LOCAL
        mac = ":".join(f"{octet:02x}" for octet in octets)
        if mac not in taken:
            return mac


def check_mtu(mtu: int) -> int:
    """An MTU that an interface can have; 0 stands for the usual one. Raises INVALID_VALUE."""
    if mtu == 0:
        return DEFAULT_MTU
    if not MIN_MTU <= mtu <= MAX_MTU:
        raise InvalidValue("MTU", str(mtu))
    return mtu


def check_device(device: str) -> str:
    """The number of an interface in its VM, as text. Raises INVALID_DEVICE."""
    plain = device.isascii() and device.isdigit() and device == str(int(device[:4]))
    if not plain or int(device) >= MAX_VIFS:
        raise InvalidDevice(device[:64])
    return device


def check_bridge(name: str) -> str:
    """A name for a bridge that the kernel takes. Raises INVALID_VALUE."""
    if not is_name(name):
        raise InvalidValue("bridge", name[:64])
    return name
