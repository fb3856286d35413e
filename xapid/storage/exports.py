"""Exports of NFS servers: how a client names one, and the options that it is mounted with."""

from __future__ import annotations

import ipaddress
import re
from pathlib import PurePosixPath
from typing import Final

from .driver import ConfigInvalid

VERSIONS: Final = ("3", "4", "4.0", "4.1", "4.2")
DEFAULT_VERSION: Final = "4.1"
LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
PATH: Final = re.compile(r"/[A-Za-z0-9/._@+-]*")

FOR_DISKS: Final = ("soft", "timeo=100", "retrans=12", "proto=tcp", "noatime")
"""Over TCP each try waits 10 s longer than the last: guests wait for a quarter of an hour."""
FOR_READING: Final = ("ro", "soft", "timeo=50", "retrans=2", "proto=tcp", "noatime")


def check_server(key: str, server: str) -> str:
    """A host name or an address, as mount wants it. Raises ConfigInvalid."""
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        if len(server) > 253 or not all(map(LABEL.fullmatch, server.split("."))):
            raise ConfigInvalid(key, server, "the name or address of a server is needed") from None
        return server
    return f"[{address}]" if address.version == 6 else str(address)


def check_export(key: str, path: str) -> str:
    """The path of an export. Raises ConfigInvalid."""
    pure = PurePosixPath(path)
    if not PATH.fullmatch(path) or str(pure) != path or ".." in pure.parts or len(path) > 512:
        raise ConfigInvalid(key, path, "an absolute path of plain characters is needed")
    return path


def check_version(key: str, version: str) -> str:
    """A version of NFS; "" gives the default. Raises ConfigInvalid."""
    if version and version not in VERSIONS:
        raise ConfigInvalid(key, version, f"one of {', '.join(VERSIONS)} is needed")
    return f"vers={version or DEFAULT_VERSION}"
