"""The narrow way in front of aiohttp: answers plain XML-RPC calls as their bytes arrive.

What it is not certain of goes to aiohttp from the request's first byte, and so does all that
follows on that connection.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from ..rpc.answers import BLOCK, Answer, Later
from ..rpc.arrivals import ARRIVED_AT
from ..rpc.call import LOCAL
from ..rpc.local_peer import LOCAL_PEER, read_peer
from ..rpc.plain_call import read_call
from ..rpc.xmlrpc import Malformed, Request
from .connection import Connection, Deadlines

if TYPE_CHECKING:
    from .connection import Server

log = structlog.get_logger(__name__)

LARGE: Final = 64 * 1024  # bytes above which a body is not parsed on the loop
LONGEST_HEAD: Final = 2 * 1024  # bytes of one that can be plain
IN_ONE_GO: Final = 16  # calls answered before others have their turn
BYTES_IN_ONE_GO: Final = 64 * 1024  # of their answers, likewise
WAIT_FOR_BODY_S: Final = 1.0  # then aiohttp waits on, with its own deadline
_HEADS_KEPT: Final = 256
_HELD: Final = 256 * 1024  # bytes taken in while a call is answered

_LINES: Final = (b"POST / HTTP/1.1", b"POST /RPC2 HTTP/1.1")
_FIELD: Final = re.compile(rb"([A-Za-z-]++): ?([!-~](?:[ -~]*+))")
_NAMES: Final = frozenset(
    b"host content-length content-type user-agent connection"
    b" accept accept-encoding accept-language cache-control pragma".split()
)
_LENGTH: Final = re.compile(rb"[0-9]{1,5}")
_HEAD_END: Final = b"\r\n\r\n"
_FAILED: Final = b"the request failed; see the daemon's log\n"


class Dispatcher(Protocol):
    """Who answers calls."""

    def answer(self, request: Request, peer: str) -> Awaitable[Answer]:
        """Answer one call; never raises for what a client did."""

    def answer_at_once(self, request: Request, peer: str) -> Answer | Later | None:
        """Answer a call without an asyncio task of its own; None: only `answer` can."""


class PlainCalls(NamedTuple):
    """Who answers plain calls; body_limit: bytes of a body that may be answered here."""

    dispatcher: Dispatcher
    body_limit: int


def length_of_plain(head: bytes) -> int | None:
    """The length of the body that follows a head without its end; None: the head is not plain."""
    line, *fields = head.split(b"\r\n")
    if line not in _LINES:
        return None
    found: dict[bytes, bytes] = {}
    for field in fields:
        parts = _FIELD.fullmatch(field)
        if parts is None:
            return None
        name = parts[1].lower()
        if name in found or name not in _NAMES:
            return None
        found[name] = parts[2]
    length = found.get(b"content-length", b"")
    kept = found.get(b"connection", b"keep-alive").lower() == b"keep-alive"
    if not kept or b"host" not in found or _LENGTH.fullmatch(length) is None:
        return None
    return int(length)


class PlainConnection(Connection):
    """A connection whose plain calls are answered here, as long as all are plain."""

    __slots__ = (
        "_answering",
        "_body_limit",
        "_body_timer",
        "_closing",
        "_context",
        "_dispatcher",
        "_given_over",
        "_head",
        "_held",
        "_idle_s",
        "_length",
        "_on_answered",
        "_peer",
        "_sent",
    )

    def __init__(
        self,
        server: Server,
        deadlines: Deadlines,
        on_lost: Callable[[Connection], None],
        on_answer: Callable[[], None],
        on_answered: Callable[[], None],
        calls: PlainCalls,
    ) -> None:
        super().__init__(server, deadlines, on_lost, on_answer)
        self._dispatcher = calls.dispatcher
        self._body_limit = min(calls.body_limit, LARGE)
        self._on_answered = on_answered
        self._idle_s = deadlines.idle_s
        self._given_over = False
        self._closing = False
        self._held = b""
        self._head = b"\0"  # the last one that was plain, with its end; nothing begins so at first
        self._length = 0
        self._sent = 0
        self._answering: asyncio.Future[None] | None = None
        self._body_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        local = read_peer(connection)
        own = transport.get_extra_info("sockname")
        peer = transport.get_extra_info("peername")
        self._peer = LOCAL if local else str(peer[0]) if peer else "unknown"
        arrived = LOCAL if local else str(own[0]).removeprefix("::ffff:") if own else ""
        self._context = contextvars.copy_context()
        self._context.run(LOCAL_PEER.set, local)
        self._context.run(ARRIVED_AT.set, arrived)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_body_timer()
        self._held = b""
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether no request has come, whole or in part."""
        return self._answering is None and not self._held and super().idle

    def _process_keepalive(self) -> None:
        if self._answering is None and not self._held:
            super()._process_keepalive()
            return
        again_at = self._loop.time() + self._idle_s  # aiohttp does not see that it is in use
        self._keepalive_handle = self._loop.call_at(again_at, self._process_keepalive)

    def close(self) -> None:
        """End the connection once the answer that is under way has left."""
        self._closing = True
        if self._answering is None:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's
        """End the connection; an answer under way may take so many seconds more."""
        self._closing = True
        if self._answering is not None:
            await asyncio.wait((self._answering,), timeout=timeout)
        if self._answering is not None:
            self._answering.cancel()
        await super().shutdown(timeout)

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._given_over:
            super().data_received(data)
        elif self._answering is not None:
            self._held += data
            if len(self._held) > _HELD:
                self._pause_transport_reading()
        elif self._held:
            held, self._held = self._held, b""
            self._take(held + data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Answer the calls in `data`, up to one that takes longer."""
        calls, self._sent = 0, 0
        while calls < IN_ONE_GO and self._sent < BYTES_IN_ONE_GO:
            calls += 1
            end = self._end_of_call(data)
            if not end:
                self._give_over(data)
                return
            if len(data) < end:
                self._wait_for_body(data)
                return
            self._stop_body_timer()
            try:
                request = read_call(data[len(self._head) : end])
            except Malformed:
                self._give_over(data)  # which says so
                return
            data = data[end:]
            if not self._answer(request):
                self._held = data
                return
            if not data:
                return
        self._held = data
        self._loop.call_soon(self._go_on)

    def _end_of_call(self, data: bytes) -> int:
        """Where the first request in `data` ends; 0 when its head is not plain, or not whole."""
        if not data.startswith(self._head):
            head_end = data.find(_HEAD_END, 0, LONGEST_HEAD)
            if head_end < 0:
                return 0
            length = length_of_plain(data[:head_end])
            if length is None or length > self._body_limit:
                return 0
            self._head, self._length = data[: head_end + len(_HEAD_END)], length
        return len(self._head) + self._length

    def _wait_for_body(self, data: bytes) -> None:
        self._head_arrived()
        self._held = data
        if self._body_timer is None:  # one that drips gets no more time
            patience_s = min(WAIT_FOR_BODY_S, self._deadlines.body_s)
            self._body_timer = self._loop.call_later(patience_s, self._body_is_late)

    def _body_is_late(self) -> None:
        self._body_timer = None
        data, self._held = self._held, b""
        self._give_over(data)

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _give_over(self, data: bytes) -> None:
        """Leave the connection to aiohttp, from this request's first byte."""
        self._stop_body_timer()
        self._given_over = True
        super().data_received(data)

    def _go_on(self) -> None:
        """Take up what was held back."""
        if self._answering is not None or self._given_over or not self._held:
            return
        data, self._held = self._held, b""
        self._resume_transport_reading()
        self._take(data)

    # What is answered

    def _answer(self, request: Request) -> bool:
        """Answer a call; False: it takes longer, or its answer does not leave at once."""
        if self._head_timer is not None:
            self._head_arrived()
        self.spoke = True
        self._on_answer()
        try:
            answer = self._context.run(self._dispatcher.answer_at_once, request, self._peer)
        except Exception:
            self._fail()
            return False
        if answer is None:
            self._begin(self._answer_later(request))
        elif isinstance(answer, Later):
            self._await(answer)
        elif answer.length > BLOCK:
            self._begin(self._send_long(answer))
        else:
            self._write(answer)
            self._sent += answer.length
            if not self._paused:
                self._next_keepalive_close_time = self._loop.time() + self._idle_s
                return True
            self._begin(self._drained())
        return False

    def _await(self, later: Later) -> None:
        self.engaged = True
        self._answering = later.ready
        later.ready.add_done_callback(partial(self._ready, later))

    def _ready(self, later: Later, _: asyncio.Future[None]) -> None:
        """Send an answer that was waited for, unless there is more to wait for."""
        if later.ready.cancelled():
            self._answering = None
            return
        answer = self._context.run(later.finish)
        if isinstance(answer, Later):
            self._await(answer)
        elif answer.length > BLOCK:
            self._begin(self._send_long(answer))
        else:
            try:
                self._write(answer)
            except ConnectionError as error:
                log.info("a client went away before its answer", reason=str(error))
            if self._paused:
                self._begin(self._drained())
            else:
                self._answered()

    def _begin(self, work: Awaitable[None]) -> None:
        self.engaged = True
        task = self._context.run(asyncio.ensure_future, self._ended(work))
        self._answering = task

    async def _ended(self, work: Awaitable[None]) -> None:
        """Let an answer leave, then go on with what came meanwhile, or close."""
        try:
            await work
        except ConnectionError as error:
            log.info("a client went away before its answer", reason=str(error))
        except Exception:
            self._fail()
        finally:
            self._answered()

    def _answered(self) -> None:
        """An answer has left that did not at once: go on with what came meanwhile, or close."""
        self.engaged = False
        self._answering = None
        self._on_answered()
        if self._closing:
            super().close()
        elif self.transport is not None:
            self._next_keepalive_close_time = self._loop.time() + self._idle_s
            if self._held:
                self._loop.call_soon(self._go_on)

    async def _answer_later(self, request: Request) -> None:
        answer = await self._dispatcher.answer(request, self._peer)
        if answer.length > BLOCK:
            await self._send_long(answer)
            return
        self._write(answer)
        await self._drained()

    async def _send_long(self, answer: Answer) -> None:
        """Write an answer block by block, each with a deadline of its own."""
        head: bytes = self._head_of(answer)
        for block in answer.blocks():
            self._writing().write(head + block if head else block)
            head = b""
            await self._drained()
            await asyncio.sleep(0)  # a long answer lets others in between its blocks

    async def _drained(self) -> None:
        """Wait until nothing is left here; a client that does not read is cut off."""
        if not self._paused:
            return
        try:
            async with asyncio.timeout(self._deadlines.write_s):
                await self._drain_helper()
        except TimeoutError:
            self.abort()
            raise ConnectionResetError("the client did not read its answer") from None

    def _write(self, answer: Answer) -> None:
        self._writing().write(b"".join((self._head_of(answer), *answer.pieces)))

    def _writing(self) -> asyncio.WriteTransport:
        """Where to write. Raises ConnectionResetError."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("Cannot write to closing transport")
        return self.transport

    def _head_of(self, answer: Answer) -> bytes:
        return _HEADS(answer.length, self._closing)

    def _fail(self) -> None:
        """Say that there is no answer, which is a mistake of ours, and close."""
        log.exception("a request ended without an answer")
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 500 Internal Server Error\r\nServer: xapid\r\n"
                b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
                b"Date: %b\r\nConnection: close\r\n\r\n%b" % (len(_FAILED), _DATE(), _FAILED)
            )
        self._closing = True
        super().close()


class _Date:
    """The Date header's value, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def __call__(self) -> bytes:
        now = int(time.time())
        if now != self._second:
            self._second, self._text = now, formatdate(now, usegmt=True).encode()
        return self._text


_DATE: Final = _Date()


class _Heads:
    """The heads of answers: those of the same second and length are the same."""

    def __init__(self) -> None:
        self._date = b""
        self._made: dict[tuple[int, bool], bytes] = {}

    def __call__(self, length: int, closing: bool) -> bytes:
        date = _DATE()
        if date is not self._date or len(self._made) > _HEADS_KEPT:
            self._date = date
            self._made.clear()
        head = self._made.get((length, closing))
        if head is None:
            head = self._made[length, closing] = (
                b"HTTP/1.1 200 OK\r\nServer: xapid\r\nContent-Type: text/xml\r\n"
                b"Content-Length: %d\r\nDate: %b\r\n%b\r\n"
                % (length, date, b"Connection: close\r\n" if closing else b"")
            )
        return head


_HEADS: Final = _Heads()
