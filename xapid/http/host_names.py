"""The addresses by which clients may reach this host, for its certificate."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

IPV4: Final = Path("/proc/net/fib_trie")
IPV6: Final = Path("/proc/net/if_inet6")


def host_addresses(ipv4: Path = IPV4, ipv6: Path = IPV6) -> list[str]:
    """The host's own addresses, without those that mean something on one link or host alone."""
    found = {*_ipv4(_lines(ipv4)), *_ipv6(_lines(ipv6))}
    usable = (each for each in found if not (each.is_loopback or each.is_link_local))
    return [str(each) for each in sorted(usable, key=lambda each: (each.version, int(each)))]


def _ipv4(lines: list[str]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The kernel's routing trie: each leaf is followed by what lies there."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    leaf = ""
    for line in lines:
        if "|-- " in line:
            leaf = line.rpartition(" ")[2]
        elif line.strip() == "/32 host LOCAL":
            found.append(ipaddress.IPv4Address(leaf))
    return found


def _ipv6(lines: list[str]) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.IPv6Address(int(line.split()[0], 16)) for line in lines if line.strip()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
