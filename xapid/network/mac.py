"""MAC addresses of guests: made at random, or a client's own, checked."""

from __future__ import annotations

import re
import secrets

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MULTICAST, LOCAL = 0x01, 0x02


def new_mac() -> str:
    """A random address from the locally administered, unicast range."""
    octets = bytearray(secrets.token_bytes(6))
    octets[0] = octets[0] & ~MULTICAST | LOCAL
    return ":".join(f"{octet:02x}" for octet in octets)


def is_usable_mac(mac: str) -> bool:
    """Whether a network interface can have it: six octets in lower case, unicast, not all zero."""
    if not MAC.fullmatch(mac) or mac == "00:00:00:00:00:00":
        return False
    return not int(mac[:2], 16) & MULTICAST
