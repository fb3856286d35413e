"""The client of xenstored: reads, writes, transactions and watches over its socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from .xenstore_wire import (
    HEADER,
    MAX_ANSWER,
    MOST_ANSWER,
    SEPARATOR,
    Op,
    Permissions,
    XenstoreConflict,
    XenstoreError,
    XenstoreNotFound,
    XenstoreProtocolError,
    XenstoreUnavailable,
    error_for,
    message,
    parts,
    path_bytes,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")

SOCKET = Path("/run/xenstored/socket")
REQUEST_TIMEOUT_S = 20.0
TRANSACTION_ATTEMPTS = 20
AT_ONCE = 128
PENDING_PATHS = 256
RECONNECT_FIRST_S, RECONNECT_MOST_S = 0.1, 5.0
_REQUEST_IDS = 1 << 31


class Nodes(Protocol):
    """What can be done with nodes, in a transaction or outside one. Raises XenstoreError."""

    async def read(self, path: str) -> bytes:
        """The value of a node. Raises XenstoreNotFound."""

    async def directory(self, path: str) -> list[str]:
        """The names of a node's children. Raises XenstoreNotFound; E2BIG for very many."""

    async def permissions(self, path: str) -> Permissions:
        """Who may do what with a node. Raises XenstoreNotFound."""

    async def write(self, path: str, value: bytes) -> None:
        """Set a node's value; the node and those above it are made if need be."""

    async def mkdir(self, path: str) -> None:
        """Make sure that a node exists."""

    async def remove(self, path: str) -> None:
        """Remove a node and all below it; nothing happens when there is none."""

    async def set_permissions(self, path: str, permissions: Permissions) -> None:
        """Say who may do what with a node that exists."""

    async def do(self, steps: Sequence[Step]) -> None:
        """Take steps in their order, sent in one go. Raises what the first that failed has.

        Those after it are taken all the same: for a transaction, which is dropped then.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """One message that is answered by nothing but success."""

    op: Op
    path: str
    more: bytes = b""

    @classmethod
    def sees(cls, path: str) -> Step:
        """The node must be there."""
        return cls(Op.READ, path)

    @classmethod
    def writes(cls, path: str, value: bytes) -> Step:
        return cls(Op.WRITE, path, value)

    @classmethod
    def makes(cls, path: str) -> Step:
        return cls(Op.MKDIR, path)

    @classmethod
    def permits(cls, path: str, permissions: Permissions) -> Step:
        return cls(Op.SET_PERMS, path, permissions.encode())

    def told(self) -> str:
        return f"{self.op.name} {self.path}"


@dataclass(slots=True)
class _Pending:
    answer: asyncio.Future[bytes]
    what: str
    undo: Callable[[bytes], None] | None


class Watch:
    """The paths that changed at or below one place, each once until it is taken.

    A path stands for "look again": several changes may have become one. When too many paths wait,
    or the connection was lost meanwhile, the watched path itself comes in their place.
    """

    def __init__(self, path: str, token: str) -> None:
        self.path = path
        self.token = token
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()

    def put(self, path: str) -> None:
        if len(self._changed) >= PENDING_PATHS:
            self._changed = {self.path: None}
        else:
            self._changed[path] = None
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while not self._changed:
            self._wake.clear()
            await self._wake.wait()
        path = next(iter(self._changed))
        del self._changed[path]
        return path

    def take(self) -> list[str]:
        """All that waits, at once."""
        changed, self._changed = list(self._changed), {}
        return changed


class _Access:
    """Requests of one transaction, or (0) of none."""

    def __init__(self, client: Xenstore, transaction: int) -> None:
        self._client = client
        self._transaction = transaction

    async def read(self, path: str) -> bytes:
        return await self._ask(Op.READ, path)

    async def directory(self, path: str) -> list[str]:
        return [name.decode("ascii", "replace") for name in parts(await self._list(path))]

    async def permissions(self, path: str) -> Permissions:
        return Permissions.decode(await self._ask(Op.GET_PERMS, path))

    async def write(self, path: str, value: bytes) -> None:
        await self.do([Step.writes(path, value)])

    async def mkdir(self, path: str) -> None:
        await self.do([Step.makes(path)])

    async def remove(self, path: str) -> None:
        with contextlib.suppress(XenstoreNotFound):
            await self._ask(Op.RM, path)

    async def set_permissions(self, path: str, permissions: Permissions) -> None:
        await self.do([Step.permits(path, permissions)])

    async def do(self, steps: Sequence[Step]) -> None:
        await self._client.take_steps(steps, self._transaction)

    async def _list(self, path: str) -> bytes:
        return await self._ask(Op.DIRECTORY, path)

    async def _ask(self, op: Op, path: str) -> bytes:
        what = f"{op.name} {path}"
        return await self._client.request(op, path_bytes(path), self._transaction, what)


class Xenstore(_Access):
    """One connection for everybody; requests run side by side, and it comes back when it is lost.

    While it is lost every request raises XenstoreUnavailable at once. Watches outlive that.
    """

    def __init__(self, socket_path: Path = SOCKET) -> None:
        super().__init__(self, 0)
        self._socket_path = socket_path
        self._writer: asyncio.StreamWriter | None = None
        self._pending: dict[int, _Pending] = {}
        self._watches: dict[str, Watch] = {}
        self._next_request = 0
        self._next_token = 0
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect. Raises XenstoreUnavailable when xenstored is not there."""
        try:
            streams = await asyncio.open_unix_connection(str(self._socket_path))
        except OSError as error:
            raise XenstoreUnavailable(f"no xenstored: {error}") from None
        self._task = asyncio.create_task(self._serve(*streams), name="xenstore")
        await self._connected.wait()

    async def close(self) -> None:
        """End the connection; requests under way raise XenstoreUnavailable."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def available(self) -> bool:
        """Whether xenstored is there now."""
        return self._connected.is_set()

    async def wait_available(self) -> None:
        """Return when xenstored is there."""
        await self._connected.wait()

    @contextlib.asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[Watch]:
        """Learn of each change at or below `path`; the path itself comes first, at once."""
        self._next_token += 1
        watch = Watch(path, str(self._next_token))
        payload = path_bytes(path) + watch.token.encode() + SEPARATOR
        self._watches[watch.token] = watch
        try:
            await self.request(Op.WATCH, payload, what=f"WATCH {path}")
            yield watch
        finally:
            del self._watches[watch.token]
            # Nobody need wait for the answer: what comes for a token not known is dropped.
            with contextlib.suppress(XenstoreError):
                self._send(Op.UNWATCH, payload, 0, f"UNWATCH {path}", None)

    async def transaction(self, body: Callable[[Nodes], Awaitable[T]]) -> T:
        """Run `body` on a consistent view; what it changed is there all at once, or not at all.

        It is run again when somebody changed what it touched, so it must bear that. Raises
        XenstoreConflict after many attempts, and what `body` raises; then nothing has changed.
        """
        for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
            try:
                return await self._attempt(body)
            except XenstoreConflict:
                if attempt == TRANSACTION_ATTEMPTS:
                    raise
                await asyncio.sleep(0.001 * attempt)
        raise AssertionError("unreachable")

    async def _attempt(self, body: Callable[[Nodes], Awaitable[T]]) -> T:
        answer = await self.request(
            Op.TRANSACTION_START, SEPARATOR, what="TRANSACTION_START", undo=self._drop_started
        )
        number = _number(answer)
        try:
            result = await body(_Access(self, number))
        except BaseException:
            self._drop(number)
            raise
        await self.request(Op.TRANSACTION_END, b"T\0", number, "TRANSACTION_END")
        return result

    def _drop_started(self, answer: bytes) -> None:
        self._drop(_number(answer))

    def _drop(self, number: int) -> None:
        with contextlib.suppress(XenstoreError):
            self._send(Op.TRANSACTION_END, b"F\0", number, "TRANSACTION_END", None)

    # Requests

    async def request(
        self,
        op: Op,
        payload: bytes,
        transaction: int = 0,
        what: str = "",
        undo: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """Send one message and wait for its answer.

        undo: takes the answer when it comes after the caller was cancelled.
        """
        async with self._slots:
            answer = self._send(op, payload, transaction, what, undo)
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    return await answer
            except TimeoutError:
                raise XenstoreUnavailable(f"no answer to {what}") from None

    async def take_steps(self, steps: Sequence[Step], transaction: int = 0) -> None:
        """Send the messages of all steps behind one another and wait for all their answers."""
        payloads = [path_bytes(step.path) + step.more for step in steps]
        async with self._slots:
            answers = self._send_all(steps, payloads, transaction)
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    for answer in answers:
                        await answer
            except TimeoutError:
                raise XenstoreUnavailable(f"no answer to {steps[0].told()}") from None

    def _send_all(
        self, steps: Sequence[Step], payloads: Sequence[bytes], transaction: int
    ) -> list[asyncio.Future[bytes]]:
        numbers = [self._next_number() for _ in steps]
        messages = [
            message(step.op, number, transaction, payload)
            for step, number, payload in zip(steps, numbers, payloads, strict=True)
        ]
        self._writing().write(b"".join(messages))
        asked = zip(numbers, steps, strict=True)
        return [self._expect(number, step.told(), None) for number, step in asked]

    def _send(
        self,
        op: Op,
        payload: bytes,
        transaction: int,
        what: str,
        undo: Callable[[bytes], None] | None,
    ) -> asyncio.Future[bytes]:
        number = self._next_number()
        self._writing().write(message(op, number, transaction, payload))
        return self._expect(number, what or op.name, undo)

    def _next_number(self) -> int:
        self._next_request = (self._next_request + 1) % _REQUEST_IDS
        return self._next_request

    def _writing(self) -> asyncio.StreamWriter:
        if self._writer is None:
            raise XenstoreUnavailable("xenstored is not there")
        return self._writer

    def _expect(
        self, number: int, what: str, undo: Callable[[bytes], None] | None
    ) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[number] = _Pending(answer, what, undo)
        return answer

    # The connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await self._converse(reader, writer)
            except XenstoreProtocolError as error:
                log.error("xenstored does not keep to the protocol", reason=str(error))
            except (OSError, asyncio.IncompleteReadError) as error:
                log.error("the connection to xenstored is lost", reason=str(error))
            reader, writer = await self._reconnect()
            log.info("xenstored is there again")

    async def _reconnect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        delay_s = RECONNECT_FIRST_S
        while True:
            await asyncio.sleep(delay_s)
            try:
                return await asyncio.open_unix_connection(str(self._socket_path))
            except OSError:
                delay_s = min(2 * delay_s, RECONNECT_MOST_S)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            self._watch_again()
            self._connected.set()
            while True:
                kind, number, _, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                if length > MAX_ANSWER:
                    await _skip(reader, length)
                    kind, payload = Op.ERROR, b"E2BIG\0"
                else:
                    payload = await reader.readexactly(length)
                if kind == Op.WATCH_EVENT:
                    self._changed(payload)
                else:
                    self._answered(number, kind, payload)
        finally:
            self._connected.clear()
            self._writer = None
            self._fail_all()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _watch_again(self) -> None:
        for watch in self._watches.values():
            payload = path_bytes(watch.path) + watch.token.encode() + SEPARATOR
            self._send(Op.WATCH, payload, 0, f"WATCH {watch.path}", None)

    def _changed(self, payload: bytes) -> None:
        texts = parts(payload)
        if len(texts) < 2:
            raise XenstoreProtocolError(f"no event: {payload[:64]!r}")
        watch = self._watches.get(texts[1].decode("ascii", "replace"))
        if watch is not None:
            watch.put(texts[0].decode("ascii", "replace"))

    def _answered(self, number: int, kind: int, payload: bytes) -> None:
        pending = self._pending.pop(number, None)
        if pending is None:
            return
        if pending.answer.done():  # its caller was cancelled
            if kind != Op.ERROR and pending.undo is not None:
                pending.undo(payload)
        elif kind == Op.ERROR:
            _fail(pending.answer, error_for(pending.what, payload))
        else:
            pending.answer.set_result(payload)

    def _fail_all(self) -> None:
        pending, self._pending = self._pending, {}
        for each in pending.values():
            if not each.answer.done():
                _fail(each.answer, XenstoreUnavailable(f"xenstored left at {each.what}"))


def _fail(answer: asyncio.Future[bytes], error: XenstoreError) -> None:
    answer.set_exception(error)
    answer.exception()  # some answers nobody waits for


async def _skip(reader: asyncio.StreamReader, length: int) -> None:
    if length > MOST_ANSWER:
        raise XenstoreProtocolError(f"a message of {length} bytes")
    while length:
        length -= len(await reader.readexactly(min(length, MAX_ANSWER)))


def _number(answer: bytes) -> int:
    try:
        return int(answer.rstrip(SEPARATOR))
    except ValueError:
        raise XenstoreProtocolError(f"no transaction: {answer[:64]!r}") from None
