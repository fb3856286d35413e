"""The HTTP face of the daemon: the sockets it serves, and what clients may take from it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ..rpc.turns import Turns
from .connection import Deadlines
from .descriptors import room_for
from .listener import Listener, tcp_socket, unix_socket
from .plain import PlainCalls
from .site import LARGE as LARGE
from .site import Dispatcher, Handlers, Page, Site

Address = tuple[str, int]

# A handshake takes 1.6 ms of the event loop. A second, and at once:
HANDSHAKES_OF_ONE: Final = (20.0, 200.0)  # of one address
HANDSHAKES_OF_ALL: Final = (100.0, 400.0)  # of all together; addresses take turns


@dataclass(frozen=True)
class Limits:
    """What clients may take from the daemon before they have logged in.

    body: bytes of a request. large_bodies: requests above 64 kB in memory at the same time,
    counted for each socket.
    """

    body: int = 2 * 1024 * 1024
    tcp_connections: int = 1024
    unix_connections: int = 256
    large_bodies: int = 16
    deadlines: Deadlines = field(default_factory=Deadlines)


class HttpServer:
    """Answers XML-RPC over HTTPS, over a Unix socket, and where it is asked for over plain HTTP.

    https, http: host and port (0: a free one); None: not at all. tls: the server context.
    socket: path of the Unix socket; None: none. passed: Unix sockets that listen already, which
    systemd opened, in the place of our own.
    uploads, pages: who takes PUT, and who answers GET, by path. plain: answer plain calls without
    aiohttp, which is faster and to clients the same.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        https: Address | None,
        socket: Path | None,
        tls: ssl.SSLContext | None,
        http: Address | None = None,
        passed: Sequence[socket.socket] = (),
        limits: Limits | None = None,
        uploads: Mapping[str, Page] = MappingProxyType({}),
        pages: Mapping[str, Page] = MappingProxyType({}),
        turns: Turns | None = None,
        plain: bool = True,
    ) -> None:
        if https is not None and tls is None:
            raise ValueError("HTTPS needs a certificate")
        self._dispatcher = dispatcher
        self._https, self._http = https, http
        self._path = socket
        self._tls = tls
        self._passed = list(passed)
        self._limits = limits or Limits()
        self._handlers = Handlers(uploads, pages)
        self._turns = turns or Turns()
        self._plain = PlainCalls(dispatcher, self._limits.body) if plain else None
        self._parsers = ThreadPoolExecutor(1, thread_name_prefix="xmlrpc")
        self._handshakes = Turns(
            rate=HANDSHAKES_OF_ONE[0],
            burst=HANDSHAKES_OF_ONE[1],
            spare=False,
            total=HANDSHAKES_OF_ALL,
        )
        self._bound_path: Path | None = None
        self._tcp_cap = self._limits.tcp_connections
        self.listeners: list[Listener] = []
        self.https_address: Address | None = None
        self.http_address: Address | None = None

    async def start(self) -> None:
        """Begin to answer. Raises OSError when an address cannot be had; then none is held."""
        limits = self._limits
        addresses = [each for each in (self._https, self._http) if each is not None]
        self._tcp_cap = room_for(limits.tcp_connections, limits.unix_connections, len(addresses))
        bound: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        try:
            if self._https is not None:
                self.https_address = await self._bind(self._https, self._tls, bound)
            if self._http is not None:
                self.http_address = await self._bind(self._http, None, bound)
            if self._path is not None and str(self._path) not in _names(self._passed):
                bound.append((unix_socket(self._path), None))
                self._bound_path = self._path
            bound += [(each, None) for each in self._passed]
        except OSError:
            for sock, _ in bound:
                sock.close()
            raise
        for sock, tls in bound:
            self._listen(sock, tls)

    async def _bind(
        self,
        address: Address,
        tls: ssl.SSLContext | None,
        bound: list[tuple[socket.socket, ssl.SSLContext | None]],
    ) -> Address:
        sock = await asyncio.to_thread(tcp_socket, *address)
        bound.append((sock, tls))
        return address[0], sock.getsockname()[1]

    def _listen(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        limits, local = self._limits, sock.family == socket.AF_UNIX
        site = Site(
            self._dispatcher,
            self._handlers,
            self._parsers,
            body_limit=limits.body,
            large_bodies=limits.large_bodies,
            deadlines=limits.deadlines,
            local=local,
            turns=self._turns,
        )
        listener = Listener(
            sock,
            site.handle,
            cap=limits.unix_connections if local else self._tcp_cap,
            deadlines=limits.deadlines,
            tls=tls,
            handshakes=self._handshakes,
            listening=sock in self._passed,
            plain=self._plain,
        )
        self.listeners.append(listener)
        listener.start()

    @property
    def paths(self) -> frozenset[str]:
        """The names of the Unix sockets that are served."""
        return frozenset(_names([each.socket for each in self.listeners if each.local]))

    async def serve_network(self, served: bool) -> None:
        """Begin to answer over the network, where it is configured, or stop. Raises OSError."""
        on_network = [each for each in self.listeners if not each.local]
        if served and not on_network:
            bound: list[tuple[socket.socket, ssl.SSLContext | None]] = []
            if self.https_address is not None:
                await self._bind(self.https_address, self._tls, bound)
            if self.http_address is not None:
                await self._bind(self.http_address, None, bound)
            for sock, tls in bound:
                self._listen(sock, tls)
        for listener in () if served else on_network:
            self.listeners.remove(listener)
            await listener.stop_accepting()
            await listener.close(1.0)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Accept nothing more, let calls end for at most `grace_s`, then close everything."""
        await asyncio.gather(*(listener.stop_accepting() for listener in self.listeners))
        if self._bound_path is not None and self.listeners:
            self._bound_path.unlink(missing_ok=True)
        await self._dispatcher.stop(grace_s)
        self._handshakes.close()
        await asyncio.gather(*(listener.close(1.0) for listener in self.listeners))
        self.listeners.clear()
        self._parsers.shutdown(wait=False, cancel_futures=True)


def _names(sockets: Sequence[socket.socket]) -> list[str]:
    return [str(each.getsockname()) for each in sockets]
