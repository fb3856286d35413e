"""One listening socket: accepts up to its own cap, and ends idle connections to make room."""

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

from ..datamodel.errors import TooBusy
from ..rpc.addresses import one_client
from ..rpc.call import LOCAL
from ..rpc.turns import Turns
from .connection import Connection, Deadlines, Handler, Server
from .plain import PlainCalls, PlainConnection
from .slots import Slot, Slots, client_cap

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


class Listener:
    """Accepts connections on one socket and hands each to the HTTP server.

    cap: connections open at once; over the network one address may have half of them. When all
    are taken a new one takes the place of an idle one, and waits where there is none; one of an
    address whose share is all in use is refused. handshakes: whose turn it is to begin TLS.
    listening: the socket listens already, and is systemd's. plain: who answers plain calls; without
    it aiohttp reads every request.
    """

    def __init__(
        self,
        bound: socket.socket,
        handler: Handler,
        *,
        cap: int,
        deadlines: Deadlines,
        tls: ssl.SSLContext | None = None,
        handshakes: Turns | None = None,
        listening: bool = False,
        plain: PlainCalls | None = None,
    ) -> None:
        bound.setblocking(False)
        self.socket = bound
        self.local = bound.family == socket.AF_UNIX
        self.cap = cap
        self.slots = Slots(cap, None if self.local else client_cap(cap))
        self.accepted = 0
        self.refused = 0
        self._server = Server(handler, deadlines, self.slots.changed.set)
        self._deadlines = deadlines
        self._tls = tls
        self._handshakes = handshakes
        self._listening = listening
        self._plain = plain
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        if not self._listening:
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
        for slot in self.slots.all():
            slot.give_up(receiving=False)

    async def close(self, timeout_s: float) -> None:
        """Let answers leave for at most `timeout_s`, then end every connection."""
        await self._server.shutdown(timeout_s)
        handshakes = [slot.handshake for slot in self.slots.all() if slot.handshake]
        for handshake in handshakes:
            handshake.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(self.socket)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("cannot accept connections", reason=os.strerror(error.errno))
                    await asyncio.sleep(1)
                continue
            self.accepted += 1
            client = LOCAL if self.local else one_client(address[0])
            try:
                welcome = await self._make_room(client)
            except asyncio.CancelledError:
                accepted.close()
                raise
            if not welcome:
                self.refused += 1
                accepted.close()
                continue
            slot = self.slots.take(client)
            slot.handshake = asyncio.create_task(self._begin(slot, accepted))
            await asyncio.sleep(0)  # accepting never starves those already here

    async def _make_room(self, client: str) -> bool:
        """Return when there is a place for the client; False when it has too many."""
        warned = False
        while not self.slots.free(client):
            self.slots.changed.clear()
            if not self.slots.make_one_leave(client):
                if self.slots.crowded(client):
                    return False
                if not warned:
                    log.warning("every connection is busy", cap=self.cap)
                    warned = True
            await self.slots.changed.wait()
        return True

    async def _begin(self, slot: Slot, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        if not self.local:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            slot.connection = await self._connection(slot, accepted)
        except (OSError, ssl.SSLError, TooBusy, asyncio.CancelledError) as error:
            accepted.close()
            self.slots.release(slot)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            slot.handshake = None

    async def _connection(self, slot: Slot, accepted: socket.socket) -> Connection:
        if self._tls is not None and self._handshakes is not None:
            await self._handshakes.enter(slot.client)
        _, connection = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self._protocol(slot),
            accepted,
            ssl=self._tls,
            ssl_handshake_timeout=self._deadlines.handshake_s if self._tls else None,
            ssl_shutdown_timeout=5.0 if self._tls else None,
        )
        return connection

    def _protocol(self, slot: Slot) -> Connection:
        def lost(connection: Connection) -> None:
            self.slots.release(slot)

        def used() -> None:
            self.slots.used(slot)

        if self._plain is None:
            return self._server.connect(lost, used)
        answered = self.slots.changed.set
        return PlainConnection(self._server, self._deadlines, lost, used, answered, self._plain)
