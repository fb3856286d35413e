"""The HTTP face of the daemon: which requests are XML-RPC calls, and what they may cost."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import structlog
from aiohttp import web

from ..rpc.answers import BLOCK, Answer
from ..rpc.arrivals import ARRIVED_AT
from ..rpc.call import LOCAL
from ..rpc.xmlrpc import Malformed, Request, decode
from ..version import VERSION
from .connection import HEADERS, Deadlines, plain
from .listener import Listener, tcp_socket, unix_socket

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

log = structlog.get_logger(__name__)

LARGE: Final = 64 * 1024  # bytes above which a body is not parsed on the loop
_CALL_PATHS: Final = ("/", "/RPC2")
_ANSWER_HEADERS: Final = {**HEADERS, "Content-Type": "text/xml"}
_PAGE: Final = f"xapid {VERSION}: the XenAPI of this Xen host. Send XML-RPC calls here with POST."


class Dispatcher(Protocol):
    """Who answers calls."""

    def answer(self, request: Request, peer: str) -> Awaitable[Answer]:
        """Answer one call; never raises for what a client did."""

    async def stop(self, grace_s: float) -> None:
        """End waiting calls, let others run for at most `grace_s`, then cancel them."""


class Upload(Protocol):
    """Who takes what clients send to one path with PUT."""

    def handle(self, request: BaseRequest, peer: str) -> Awaitable[web.Response]:
        """Answer one request; never raises for what a client did."""


@dataclass(frozen=True)
class Limits:
    """What clients may take from the daemon before they have logged in.

    body: bytes of a request. large_bodies: requests above 64 kB in memory at the same time,
    counted for each socket.
    """

    body: int = 2 * 1024 * 1024
    tcp_connections: int = 512
    unix_connections: int = 256
    large_bodies: int = 16
    deadlines: Deadlines = field(default_factory=Deadlines)


class _Refused(Exception):  # noqa: N818
    """The request is answered with an HTTP error and the connection is closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _refuse(status: int, text: str) -> NoReturn:
    raise _Refused(status, text)


class HttpServer:
    """Answers XML-RPC over HTTPS and over a Unix socket.

    https: host and port (0: a free one); None: no TCP at all. tls: its server context.
    socket: path of the Unix socket; None: none. uploads: who takes PUT, by path.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        https: tuple[str, int] | None,
        socket: Path | None,
        tls: ssl.SSLContext | None,
        limits: Limits | None = None,
        uploads: Mapping[str, Upload] = MappingProxyType({}),
    ) -> None:
        if https is not None and tls is None:
            raise ValueError("HTTPS needs a certificate")
        self._dispatcher = dispatcher
        self._https = https
        self._path = socket
        self._tls = tls
        self._limits = limits or Limits()
        self._uploads = uploads
        self._listeners: list[Listener] = []
        self._parsers = ThreadPoolExecutor(1, thread_name_prefix="xmlrpc")
        self.https_address: tuple[str, int] | None = None

    async def start(self) -> None:
        """Begin to answer. Raises OSError when an address cannot be had; then none is held."""
        limits = self._limits
        bound = []
        try:
            if self._https is not None:
                sock = await asyncio.to_thread(tcp_socket, *self._https)
                bound.append((sock, limits.tcp_connections, self._tls))
                self.https_address = (self._https[0], sock.getsockname()[1])
            if self._path is not None:
                bound.append((unix_socket(self._path), limits.unix_connections, None))
        except OSError:
            for sock, _, _ in bound:
                sock.close()
            raise
        for sock, cap, tls in bound:
            self._listen(sock, cap, tls)

    def _listen(self, sock: socket.socket, cap: int, tls: ssl.SSLContext | None) -> None:
        limits, local = self._limits, tls is None
        site = _Site(self._dispatcher, limits, self._parsers, self._uploads, local=local)
        listener = Listener(sock, site.handle, cap=cap, deadlines=limits.deadlines, tls=tls)
        self._listeners.append(listener)
        listener.start()

    async def serve_network(self, served: bool) -> None:
        """Begin to answer over HTTPS, where it is configured, or stop. Raises OSError."""
        on_network = [each for each in self._listeners if each.socket.family != socket.AF_UNIX]
        if served and not on_network and self.https_address is not None:
            sock = await asyncio.to_thread(tcp_socket, *self.https_address)
            self._listen(sock, self._limits.tcp_connections, self._tls)
        for listener in () if served else on_network:
            self._listeners.remove(listener)
            await listener.stop_accepting()
            await listener.close(1.0)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Accept nothing more, let calls end for at most `grace_s`, then close everything."""
        await asyncio.gather(*(listener.stop_accepting() for listener in self._listeners))
        if self._path is not None and self._listeners:
            self._path.unlink(missing_ok=True)
        await self._dispatcher.stop(grace_s)
        await asyncio.gather(*(listener.close(1.0) for listener in self._listeners))
        self._listeners.clear()
        self._parsers.shutdown(wait=False, cancel_futures=True)


class _Site:
    """The requests of one listening socket."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        parsers: ThreadPoolExecutor,
        uploads: Mapping[str, Upload],
        *,
        local: bool,
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self._parsers = parsers
        self._uploads = uploads
        self._local = local
        self._large = asyncio.Semaphore(limits.large_bodies)

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        peer = LOCAL if self._local else request.remote or "unknown"
        ARRIVED_AT.set(LOCAL if self._local else _own_address(request))
        if request.method == "PUT" and (upload := self._uploads.get(request.path)) is not None:
            return await self._send_short(request, await upload.handle(request, peer))
        if request.method != "POST":
            return await self._send_short(request, _not_a_call(request))
        if request.path not in _CALL_PATHS:
            return await self._send_short(request, plain(404, "XML-RPC calls go to / or /RPC2"))
        try:
            call = await self._read(request)
        except _Refused as refused:
            return await self._send_short(request, plain(refused.status, str(refused)))
        except Malformed as malformed:
            refusal = plain(400, f"not an XML-RPC call: {malformed}")
            return await self._send_short(request, refusal)
        except (web.RequestPayloadError, ConnectionError):
            return await self._send_short(request, plain(400, "the body did not arrive whole"))
        answer = await self._dispatcher.answer(call, peer)
        if answer.length > BLOCK:
            return await self._send_long(request, answer)
        response = web.Response(body=b"".join(answer.pieces), headers=_ANSWER_HEADERS)
        return await self._send_short(request, response)

    async def _read(self, request: BaseRequest) -> Request:
        """Read and parse the body. Raises _Refused and Malformed."""
        headers, limit = request.headers, self._limits.body
        if headers.get("Content-Encoding", "identity") != "identity":
            _refuse(415, "a compressed body is not accepted")
        size = request.content_length
        if size is None and "chunked" not in headers.get("Transfer-Encoding", "").lower():
            _refuse(411, "the request has no Content-Length")
        if size is not None and size > limit:
            _refuse(413, f"the body is larger than {limit} bytes")
        if size is not None and size <= LARGE:
            return decode(await self._read_body(request, size))
        async with self._large:
            body = await self._read_body(request, limit)
            if len(body) <= LARGE:
                return decode(body)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._parsers, decode, body)

    async def _read_body(self, request: BaseRequest, limit: int) -> bytes:
        if "100-continue" in request.headers.get("Expect", "").lower() and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        held: list[bytes] = []
        total = 0
        try:
            async with asyncio.timeout(self._limits.deadlines.body_s):
                async for chunk in request.content.iter_any():
                    held.append(chunk)
                    total += len(chunk)
                    if total > limit:
                        _refuse(413, f"the body is larger than {limit} bytes")
        except TimeoutError:
            _refuse(408, "the body took too long to arrive")
        return held[0] if len(held) == 1 else b"".join(held)

    async def _send_short(
        self, request: BaseRequest, response: web.StreamResponse
    ) -> web.StreamResponse:
        """Write a whole answer; a client that does not read it is cut off."""
        async with self._deadline(request):
            await response.prepare(request)
            await response.write_eof()
        return response

    async def _send_long(self, request: BaseRequest, answer: Answer) -> web.StreamResponse:
        """Write an answer block by block, each with a deadline of its own."""
        response = web.StreamResponse(headers=_ANSWER_HEADERS)
        response.content_length = answer.length
        await response.prepare(request)
        for block in answer.blocks():
            async with self._deadline(request):
                await response.write(block)
                await asyncio.sleep(0)  # a long answer lets others in between its blocks
        async with self._deadline(request):
            await response.write_eof()
        return response

    @asynccontextmanager
    async def _deadline(self, request: BaseRequest) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.deadlines.write_s):
                yield
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client did not read its answer") from None


def _own_address(request: BaseRequest) -> str:
    """Which address of this host the request came to."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else ""


def _not_a_call(request: BaseRequest) -> web.Response:
    if request.method == "GET" and request.path == "/":
        return plain(200, _PAGE, close=False)
    known = request.path in _CALL_PATHS
    if not known and request.method in ("GET", "HEAD"):
        return plain(404, "there is nothing here")
    response = plain(405, "XML-RPC calls are sent with POST")
    response.headers["Allow"] = "GET, POST" if request.path == "/" else "POST"
    return response
