"""How many connections the process's file descriptors allow."""

from __future__ import annotations

import resource
from typing import Final

import structlog

log = structlog.get_logger(__name__)

WANTED: Final = 65_536
RESERVE: Final = 256  # for the database, xapid-xen, xenstored, images, programs
FEWEST: Final = 16


def room_for(network: int, local: int, listeners: int) -> int:
    """How many of `network` connections each listener has room for, beside `local` ones.

    The soft limit is raised as far as the hard one allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    room = max((soft - local - RESERVE) // max(listeners, 1), FEWEST)
    if network > room:
        log.warning(
            "fewer connections over the network than configured: raise LimitNOFILE",
            configured=network,
            served=room,
            open_files=soft,
        )
    return min(network, room)
