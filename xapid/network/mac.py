"""MAC addresses: what one looks like, and those made when a client gives none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Container

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MULTICAST, LOCAL = 0x01, 0x02


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
