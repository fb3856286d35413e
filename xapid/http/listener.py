"""One listening socket: accepts up to its own cap, and ends the longest idle to make room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from .connection import Connection, Deadlines, Handler, Server

log = structlog.get_logger(__name__)

BACKLOG: Final = 512
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def tcp_socket(host: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def unix_socket(path: Path) -> socket.socket:
    """A Unix socket of mode 0600 bound to `path`, in the place of one that was left there.

    Raises OSError, also where something that is no socket stands there.
    """
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "exists and is not a socket", str(path))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(bound.fileno(), 0o600)  # on Linux the file is born with its socket's mode
        bound.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError:
        bound.close()
        raise
    return bound


def open_to_group(path: Path, group: str) -> None:
    """Let the members of a group connect too (mode 0660), where there is such a group."""
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    os.chown(path, -1, gid)
    path.chmod(0o660)


def link_socket(path: Path, links: Iterable[Path]) -> None:
    """Make links to the socket where other clients look for it; what stands there stays."""
    for link in links:
        try:
            if link.is_symlink():
                link.unlink()
            if not link.parent.exists():
                link.parent.mkdir(parents=True)
                link.parent.chmod(0o755)  # whatever our umask: the socket's mode decides
            link.symlink_to(path)
        except OSError as error:
            log.warning(
                "clients that look there do not find the socket",
                path=str(link),
                reason=error.strerror,
            )


class _Slot:
    """A place among the listener's connections, from accept to the end."""

    __slots__ = ("connection", "handshake")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.handshake: asyncio.Task[None] | None = None

    def give_up(self) -> bool:
        """End it if no request is being answered on it."""
        if self.connection is None:
            if self.handshake is not None:
                self.handshake.cancel()
            return True
        if self.connection.idle:
            self.connection.abort()
            return True
        return False


class Listener:
    """Accepts connections on one socket and hands each to the HTTP server.

    cap: connections open at once. When all are taken a new one ends the one that was opened
    first among those that answer no request, and waits where there is none.
    """

    def __init__(
        self,
        bound: socket.socket,
        handler: Handler,
        *,
        cap: int,
        deadlines: Deadlines,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        bound.setblocking(False)
        self.socket = bound
        self._room = asyncio.Event()
        self._server = Server(handler, deadlines, self._room.set)
        self._cap = cap
        self._deadlines = deadlines
        self._tls = tls
        self._slots: dict[_Slot, None] = {}
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.socket.listen(BACKLOG)
        self._accepting = asyncio.create_task(self._accept_all(), name="accept connections")

    async def stop_accepting(self) -> None:
        """Close the listening socket and the connections that answer no request."""
        if self._accepting is not None:
            self._accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._accepting
            self._accepting = None
        self.socket.close()
        self._server.pre_shutdown()
        for slot in list(self._slots):
            slot.give_up()

    async def close(self, timeout_s: float) -> None:
        """Let answers leave for at most `timeout_s`, then end every connection."""
        await self._server.shutdown(timeout_s)
        handshakes = [slot.handshake for slot in self._slots if slot.handshake is not None]
        for handshake in handshakes:
            handshake.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self.socket)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("cannot accept connections", reason=os.strerror(error.errno))
                    await asyncio.sleep(1)
                continue
            try:
                await self._make_room()
            except asyncio.CancelledError:
                accepted.close()
                raise
            slot = _Slot()
            self._slots[slot] = None
            slot.handshake = asyncio.create_task(self._begin(slot, accepted))
            await asyncio.sleep(0)  # accepting never starves those already here

    async def _make_room(self) -> None:
        while len(self._slots) >= self._cap:
            self._room.clear()
            if not any(slot.give_up() for slot in list(self._slots)):
                log.warning("every connection is busy", cap=self._cap)
            await self._room.wait()

    async def _begin(self, slot: _Slot, accepted: socket.socket) -> None:
        def lost(connection: Connection) -> None:
            self._release(slot)

        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            _, connection = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._server.connect(lost),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._deadlines.handshake_s if self._tls else None,
                ssl_shutdown_timeout=5.0 if self._tls else None,
            )
        except (OSError, ssl.SSLError, asyncio.CancelledError) as error:
            accepted.close()
            self._release(slot)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            slot.connection = connection
        finally:
            slot.handshake = None

    def _release(self, slot: _Slot) -> None:
        self._slots.pop(slot, None)
        self._room.set()
