"""Which network addresses count as one client."""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=4096)
def one_client(peer: str) -> str:
    """What stands for all addresses that one client can choose among: an IPv6 network of /64.

    Anything else, LOCAL among it, stands for itself.
    """
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
