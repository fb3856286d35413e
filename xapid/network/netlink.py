"""The connection to the kernel's netlink, and what its refusals mean."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .driver import NetworkFailure

ALIAS = "xapid:"
"""What stands before the owner in the alias of an interface that we made."""

IFF_UP = 1
NO_LINK = frozenset({errno.ENODEV, errno.ENOENT, errno.ENXIO})


class Gone(Exception):  # noqa: N818
    """There is no such interface, address or route."""


class Netlink:
    """One netlink socket in the namespace of the thread that first uses it."""

    def __init__(self) -> None:
        self._socket: Any = None

    async def link(self, command: str, **what: Any) -> Any:
        """Get or change interfaces. Raises Gone, OSError."""
        return await self._call("link", command, what)

    async def addr(self, command: str, **what: Any) -> Any:
        """Change addresses. Raises Gone, OSError."""
        return await self._call("addr", command, what)

    async def route(self, command: str, **what: Any) -> Any:
        """Change routes. Raises Gone, OSError."""
        return await self._call("route", command, what)

    def close(self) -> None:
        if self._socket is not None:
            netlink, self._socket = self._socket, None
            netlink.close()

    async def _call(self, kind: str, command: str, what: dict[str, Any]) -> Any:
        from pyroute2 import AsyncIPRoute  # type: ignore[import-untyped]
        from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]
            NetlinkError,
        )

        if self._socket is None:
            self._socket = AsyncIPRoute()
        try:
            return await getattr(self._socket, kind)(command, **what)
        except NetlinkError as error:
            if error.code in NO_LINK:
                raise Gone from error
            raise OSError(error.code, error.args[-1]) from error


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn what the kernel refuses into NetworkFailure."""
    try:
        yield
    except OSError as error:
        raise NetworkFailure(f"{what}: {error.strerror}") from error


def owner_of(alias: str) -> str | None:
    """For whom an interface with this alias was made by us; None for one that is not ours."""
    return alias.removeprefix(ALIAS) if alias.startswith(ALIAS) else None
