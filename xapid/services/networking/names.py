"""Names and addresses that a client may give."""

from __future__ import annotations

from ...datamodel.errors import InvalidDevice, InvalidValue, MACInvalid
from ...network.driver import MAX_MTU, MIN_MTU, is_name
from ...network.mac import MAC, MULTICAST

MAX_VIFS = 8
DEFAULT_MTU = 1500
AUTODETECT = frozenset({"", "autodetect"})


def check_mac(mac: str) -> str:
    """An address that an interface can have, in lower case. Raises MAC_INVALID."""
    lower = mac.lower()
    if not MAC.fullmatch(lower) or lower == "00:00:00:00:00:00" or int(lower[:2], 16) & MULTICAST:
        raise MACInvalid(mac[:64])
    return lower


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
