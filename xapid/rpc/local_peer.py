"""Who is at the other end of the Unix socket, as the kernel says."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h, since Linux 4.13
_MOST_GROUPS: Final = 1024  # of 65536 that Linux allows


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """A process on this host; groups: the ids of all its groups when it connected."""

    pid: int
    uid: int
    groups: frozenset[int]


LOCAL_PEER: ContextVar[LocalPeer | None] = ContextVar("LOCAL_PEER", default=None)
"""The process that made the request that is being answered; None for one over the network."""


def read_peer(connection: socket.socket) -> LocalPeer | None:
    """The process that connected; None when it is no connection of a Unix socket."""
    if connection.family != socket.AF_UNIX:
        return None
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, gid = struct.unpack("iII", raw)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:
        groups = b""  # more than we ask for: then the first group decides alone
    count = len(groups) // 4
    return LocalPeer(pid, uid, frozenset((gid, *struct.unpack(f"{count}I", groups))))


async def trusted_name(peer: LocalPeer, group: str) -> str | None:
    """The account of a peer that needs no password: root's, xapid's own, or a group's member's.

    None: this one has to prove who it is. Names are looked up in a thread, because they may come
    from a directory service.
    """
    if peer.uid == 0:
        return "root"
    return await asyncio.to_thread(_name_of_member, peer, group)


def _name_of_member(peer: LocalPeer, group: str) -> str | None:
    try:
        member = grp.getgrnam(group).gr_gid in peer.groups
    except KeyError:
        member = False
    if not member and peer.uid != os.geteuid():
        return None
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        return str(peer.uid)
