"""One client's connection: HTTP/1 as aiohttp reads it, with deadlines and plain error pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from ..rpc.local_peer import LOCAL_PEER, LocalPeer, read_peer

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.web_request import BaseRequest

log = structlog.get_logger(__name__)

Handler = Callable[["BaseRequest"], Awaitable[web.StreamResponse]]

HEADERS = {"Server": "xapid"}
MAX_HEAD: Final = 64 * 1024  # bytes of a request's line and headers together
MAX_LINE: Final = 8 * 1024  # bytes of the line, and of each header
MAX_HEADERS: Final = 100


@dataclass(frozen=True)
class Deadlines:
    """How long a client may take, in seconds."""

    handshake_s: float = 10.0
    head_s: float = 15.0
    body_s: float = 60.0
    idle_s: float = 300.0
    write_s: float = 60.0  # for each 256 kB of an answer
    linger_s: float = 2.0  # to send on after a refusal, which is read and thrown away


def plain(status: int, text: str, *, close: bool = True) -> web.Response:
    """A one-line answer that is not XML-RPC."""
    response = web.Response(status=status, text=text + "\n", headers=HEADERS)
    if close:
        response.force_close()
    return response


class Connection(RequestHandler):
    """A connection that ends when a request's head takes too long to arrive, or is too long.

    engaged: a whole request came and is being answered. spoke: one was, at some time.
    """

    __slots__ = (
        "_deadlines",
        "_head_size",
        "_head_timer",
        "_on_answer",
        "_on_lost",
        "engaged",
        "spoke",
    )

    def __init__(
        self,
        server: web.Server,
        deadlines: Deadlines,
        on_lost: Callable[[Connection], None],
        on_answer: Callable[[], None],
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=deadlines.idle_s,
            access_log=None,  # type: ignore[arg-type]  # None means no log
            auto_decompress=False,
            lingering_time=deadlines.linger_s,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
        )
        self._deadlines = deadlines
        self._on_lost = on_lost
        self._on_answer = on_answer
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_size = 0
        self.engaged = False
        self.spoke = False

    @property
    def idle(self) -> bool:
        """Whether no request has come, whole or in part."""
        return self._current_request is None and not self._messages

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While a whole request is answered: the connection is not ended to make room."""
        self.engaged = self.spoke = True
        self._on_answer()
        try:
            yield
        finally:
            self.engaged = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            # An answer counts as sent when nothing of it is left here, so that deadlines hold.
            # Not 0: over TLS asyncio pauses at that size even where nothing is left, for ever.
            transport.set_write_buffer_limits(high=1)
        if self._task_handler is not None:
            self._task_handler.add_done_callback(self._handler_ended)
        self._await_head()

    def _handler_ended(self, handler: asyncio.Task[None]) -> None:
        """A connection whose handler failed is served by nobody."""
        if not handler.cancelled() and (error := handler.exception()) is not None:
            log.error("a connection is given up", exc_info=error)
            self.abort()

    def data_received(self, data: bytes) -> None:
        seen = self._request_count
        super().data_received(data)
        if self._request_count != seen:
            self._head_arrived()
        elif self.idle and self._head_is_long(len(data)):
            self.abort()
        elif self._head_timer is None and self.idle:
            self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)
        self._on_lost(self)

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._deadlines.head_s, self._head_is_late)

    def _head_is_long(self, more: int) -> bool:
        self._head_size += more
        return self._head_size > MAX_HEAD

    def _head_arrived(self) -> None:
        self._head_size = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.idle:
            self.abort()

    def abort(self) -> None:
        """End the connection now, whatever is still to be sent."""
        transport = self.transport
        self.force_close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read as HTTP, or what failed without an answer, in one line."""
        if isinstance(exc, ConnectionError):
            log.info("a client went away before its answer", reason=str(exc))
            return plain(status, "nobody reads this")
        if status >= 500:
            log.error("a request ended without an answer", exc_info=exc)
            return plain(status, "the request failed; see the daemon's log")
        return plain(status, "the request is not valid HTTP")


class ClientBytes:
    """What a client sends after a request's head."""

    def __init__(self, request: BaseRequest) -> None:
        self._request = request

    async def read(self) -> bytes:
        """What came meanwhile; b"" is the end.

        Raises web.RequestPayloadError, and ConnectionError when the client is gone.
        """
        content = self._request.content
        try:
            while not (chunk := await content.readany()) and not content.at_eof():
                pass
        except RuntimeError as error:
            if self._request.protocol.connected:
                raise
            raise ConnectionResetError(str(error)) from error
        return chunk


def _local_peer(request: BaseRequest) -> LocalPeer | None:
    connection = request.transport.get_extra_info("socket") if request.transport else None
    return read_peer(connection) if connection is not None else None


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> BaseRequest:
    """A request; one without a target, which aiohttp's reader lets pass, is for nothing here."""
    target: URL | None = message.url
    if target is None:
        message = message._replace(url=URL())
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop())


class Server(web.Server):
    """Makes connections that share a handler; on_idle is called when one has answered."""

    def __init__(self, handler: Handler, deadlines: Deadlines, on_idle: Callable[[], None]) -> None:
        async def handle(request: BaseRequest) -> web.StreamResponse:
            LOCAL_PEER.set(_local_peer(request))
            try:
                return await handler(request)
            finally:
                asyncio.get_running_loop().call_soon(on_idle)

        super().__init__(handle, request_factory=_request)
        self._deadlines = deadlines

    def connect(
        self, on_lost: Callable[[Connection], None], on_answer: Callable[[], None]
    ) -> Connection:
        """The protocol of a new connection; on_answer is called when it begins to answer."""
        return Connection(self, self._deadlines, on_lost, on_answer)
