"""The requests of one listening socket: which are XML-RPC calls, and what they may cost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol

from aiohttp import HttpVersion10, HttpVersion11, web

from ..datamodel.errors import TooBusy
from ..rpc.addresses import one_client
from ..rpc.answers import BLOCK, Answer, Later
from ..rpc.arrivals import ARRIVED_AT
from ..rpc.call import LOCAL
from ..rpc.turns import Turns
from ..rpc.xmlrpc import Malformed, Request, decode
from ..version import VERSION
from .connection import HEADERS, ClientBytes, Connection, Deadlines, plain

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

LARGE: Final = 64 * 1024  # bytes above which a body is not parsed on the loop
LEAST_RATE: Final = 64 * 1024  # bytes a second at which the rest of a large body has to come
PATIENCE_S: Final = 5.0
_VERSIONS: Final = (HttpVersion10, HttpVersion11)
_CALL_PATHS: Final = ("/", "/RPC2")
_ANSWER_HEADERS: Final = {**HEADERS, "Content-Type": "text/xml"}
_PAGE: Final = f"xapid {VERSION}: the XenAPI of this Xen host. Send XML-RPC calls here with POST."


class Dispatcher(Protocol):
    """Who answers calls."""

    def answer(self, request: Request, peer: str) -> Awaitable[Answer]:
        """Answer one call; never raises for what a client did."""

    def answer_at_once(self, request: Request, peer: str) -> Answer | Later | None:
        """Answer a call without an asyncio task of its own; None: only `answer` can."""

    async def stop(self, grace_s: float) -> None:
        """End waiting calls, let others run for at most `grace_s`, then cancel them."""


class Page(Protocol):
    """Who answers the requests for one path."""

    def handle(self, request: BaseRequest, peer: str) -> Awaitable[web.Response]:
        """Answer one request; never raises for what a client did."""


class Handlers(NamedTuple):
    """Who takes what clients send with PUT, and who answers GET, by path."""

    uploads: Mapping[str, Page]
    pages: Mapping[str, Page]


class _Refused(Exception):  # noqa: N818
    """The request is answered with an HTTP error and the connection is closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _refuse(status: int, text: str) -> NoReturn:
    raise _Refused(status, text)


class _LargeBodies:
    """Places for bodies that are large; one client has at most half of them."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._share = max(places // 2, 1)
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        if client != LOCAL and self._held[client] >= self._share:
            _refuse(503, "too many large requests at the same time")
        self._held[client] += 1
        try:
            async with self._places:
                yield
        finally:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]


class Site:
    """Answers requests. local: they come over a Unix socket. turns: lets in what is no call."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        handlers: Handlers,
        parsers: ThreadPoolExecutor,
        *,
        body_limit: int,
        large_bodies: int,
        deadlines: Deadlines,
        local: bool,
        turns: Turns,
    ) -> None:
        self._turns = turns
        self._dispatcher = dispatcher
        self._handlers = handlers
        self._parsers = parsers
        self._body_limit = body_limit
        self._deadlines = deadlines
        self._local = local
        self._large = _LargeBodies(large_bodies)

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        peer = LOCAL if self._local else request.remote or "unknown"
        ARRIVED_AT.set(LOCAL if self._local else _own_address(request))
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - we made it
        if not _is_call(request):
            with connection.answering():
                return await self._send_short(request, await self._not_a_call(request, peer))
        try:
            call = await self._read(request, peer)
        except _Refused as refused:
            return await self._send_short(request, plain(refused.status, str(refused)))
        except Malformed as malformed:
            refusal = plain(400, f"not an XML-RPC call: {malformed}")
            return await self._send_short(request, refusal)
        except (web.RequestPayloadError, ConnectionError):
            return await self._send_short(request, plain(400, "the body did not arrive whole"))
        with connection.answering():
            answer = await self._dispatcher.answer(call, peer)
            if answer.length > BLOCK:
                return await self._send_long(request, answer)
            response = web.Response(body=b"".join(answer.pieces), headers=_ANSWER_HEADERS)
            return await self._send_short(request, response)

    async def _not_a_call(self, request: BaseRequest, peer: str) -> web.Response:
        path, method = request.path, request.method
        try:
            await self._turns.enter(one_client(peer))
        except TooBusy:
            return plain(503, "too many requests wait")
        if request.version not in _VERSIONS:
            return plain(505, "only HTTP/1.0 and 1.1 are spoken")
        if method == "POST":
            return plain(404, "XML-RPC calls go to / or /RPC2")
        if method == "PUT" and (upload := self._handlers.uploads.get(path)) is not None:
            return await upload.handle(request, peer)
        if method in ("GET", "HEAD") and (page := self._handlers.pages.get(path)) is not None:
            return await page.handle(request, peer)
        return _refusal_of(request)

    async def _read(self, request: BaseRequest, peer: str) -> Request:
        """Read and parse the body. Raises _Refused and Malformed."""
        headers, limit = request.headers, self._body_limit
        if headers.get("Content-Encoding", "identity") != "identity":
            _refuse(415, "a compressed body is not accepted")
        size = request.content_length
        if size is None and "chunked" not in headers.get("Transfer-Encoding", "").lower():
            _refuse(411, "the request has no Content-Length")
        if size is not None and size > limit:
            _refuse(413, f"the body is larger than {limit} bytes")
        if "100-continue" in headers.get("Expect", "").lower() and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = _Body(request, limit)
        await body.read(min(LARGE, limit), self._deadlines.body_s)
        if body.whole:
            return decode(body.taken())
        async with self._large.place(one_client(peer)):
            rest_s = min(PATIENCE_S + limit / LEAST_RATE, self._deadlines.body_s)
            await body.read(limit, rest_s)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._parsers, decode, body.taken())

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
            async with asyncio.timeout(self._deadlines.write_s):
                yield
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client did not read its answer") from None


class _Body:
    """A request's body as it comes in."""

    def __init__(self, request: BaseRequest, limit: int) -> None:
        self._content = ClientBytes(request)
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self.whole = False

    async def read(self, most: int, within_s: float) -> None:
        """Read until there is more than `most` or the end. Raises _Refused."""
        try:
            async with asyncio.timeout(within_s):
                while self._size <= most:
                    chunk = await self._content.read()
                    if not chunk:
                        self.whole = True
                        return
                    self._held.append(chunk)
                    self._size += len(chunk)
        except TimeoutError:
            _refuse(408, "the body took too long to arrive")
        if self._size > self._limit:
            _refuse(413, f"the body is larger than {self._limit} bytes")

    def taken(self) -> bytes:
        """All of it."""
        return self._held[0] if len(self._held) == 1 else b"".join(self._held)


def _is_call(request: BaseRequest) -> bool:
    return request.method == "POST" and request.path in _CALL_PATHS and request.version in _VERSIONS


def _own_address(request: BaseRequest) -> str:
    """Which address of this host the request came to."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else ""


def _refusal_of(request: BaseRequest) -> web.Response:
    if request.method == "GET" and request.path == "/":
        return plain(200, _PAGE, close=False)
    known = request.path in _CALL_PATHS
    if not known and request.method in ("GET", "HEAD"):
        return plain(404, "there is nothing here")
    response = plain(405, "XML-RPC calls are sent with POST")
    response.headers["Allow"] = "GET, POST" if request.path == "/" else "POST"
    return response
