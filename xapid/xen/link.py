"""One connection to xapid-xen: requests out, answers, progress and the list of domains in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ..log import current_call
from .errors import XenUnavailable, error_for
from .protocol import HEADER_SIZE, ProtocolError, body_length, decode_body, encode
from .types import JSON

log = structlog.get_logger(__name__)

Progress = Callable[[float], None]
"""Takes the share done, 0 to 1."""

_ENDED = "xapid-xen ended"
_LAST_WORDS_S = 0.05


@dataclass(frozen=True, slots=True)
class _Pending:
    answer: asyncio.Future[Any]
    progress: Progress | None


class Link:
    """A connection and the requests that wait for an answer on it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_domains: Callable[[list[JSON]], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_domains = on_domains
        self._pending: dict[int, _Pending] = {}
        self._next_id = 1
        self._lost = asyncio.Event()
        self._peer_fd = _watch_peer(writer, self._peer_ended)
        self._task = asyncio.create_task(self._read_all(), name="xapid-xen answers")

    @classmethod
    async def open(cls, path: Path, on_domains: Callable[[list[JSON]], None]) -> Link:
        """Connect to the worker that listens on `path`. Raises OSError."""
        reader, writer = await asyncio.open_unix_connection(str(path))
        return cls(reader, writer, on_domains)

    async def wait_lost(self) -> None:
        """Return once the connection has ended."""
        await self._lost.wait()

    async def request(
        self,
        op: str,
        args: JSON,
        progress: Progress | None = None,
        undo: Callable[[Any], Awaitable[object]] | None = None,
    ) -> Any:
        """Ask for `op` and wait for its answer. Raises XenError.

        When the task is cancelled the operation is aborted and its end awaited, however often the
        task is cancelled again; should it have succeeded all the same, `undo` is run with its
        value. Then CancelledError goes on.
        """
        if self._lost.is_set():
            raise XenUnavailable(_ENDED)
        number = self._next_id
        self._next_id += 1
        frame = _encode(op, number, args)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[number] = _Pending(answer, progress)
        self._writer.write(frame)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.done():
                self._writer.write(encode({"cancel": number}))
            await outlast(answer)
            if undo is not None and not answer.cancelled() and answer.exception() is None:
                await _undo(op, undo, answer.result())
            raise

    async def close(self) -> None:
        """End the connection; requests that wait fail with XenUnavailable."""
        self._lose(_ENDED)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _read_all(self) -> None:
        reason = _ENDED
        try:
            while True:
                length = body_length(await self._reader.readexactly(HEADER_SIZE))
                self._take(decode_body(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            pass
        except ProtocolError as error:
            reason = f"xapid-xen sent what it should not: {error}"
        except Exception as error:
            log.exception("the connection to xapid-xen is given up")
            reason = f"the connection to xapid-xen is given up: {error!r}"
        self._lose(reason)

    def _take(self, message: JSON) -> None:
        if message.get("event") == "domains":
            self._on_domains(message["domains"])
            return
        number = message.get("id")
        if "progress" in message:
            pending = self._pending.get(number) if isinstance(number, int) else None
            if pending is not None and pending.progress is not None:
                _tell(pending.progress, message["progress"])
            return
        pending = self._pending.pop(number, None) if isinstance(number, int) else None
        if pending is None or pending.answer.done():
            return
        if "error" in message:
            error = message["error"]
            pending.answer.set_exception(
                error_for(error["function"], error["rc"], error["name"], error["log"])
            )
            # Whoever was cancelled may never look at it.
            pending.answer.exception()
        else:
            pending.answer.set_result(message.get("ok"))

    def _lose(self, reason: str) -> None:
        if self._lost.is_set():
            return
        self._lost.set()
        if self._peer_fd is not None:
            asyncio.get_running_loop().remove_reader(self._peer_fd)
            os.close(self._peer_fd)
        self._writer.close()
        pending, self._pending = self._pending, {}
        for each in pending.values():
            if not each.answer.done():
                each.answer.set_exception(XenUnavailable(reason))
                each.answer.exception()

    def _peer_ended(self) -> None:
        loop = asyncio.get_running_loop()
        if self._peer_fd is not None:
            loop.remove_reader(self._peer_fd)
        # What it sent before its end is still to be read.
        loop.call_later(_LAST_WORDS_S, self._lose, _ENDED)


def _encode(op: str, number: int, args: JSON) -> bytes:
    try:
        return encode({"id": number, "op": op, "args": args, "call": current_call()})
    except (ProtocolError, TypeError) as error:
        raise error_for(op, -6, "ERROR_INVAL", [str(error)]) from None


def _tell(progress: Progress, share: float) -> None:
    try:
        progress(share)
    except Exception:
        log.exception("a progress callback failed")


async def outlast(future: asyncio.Future[Any]) -> None:
    """Wait until `future` is done, through any number of cancels, which it swallows."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])


async def _undo(op: str, undo: Callable[[Any], Awaitable[object]], value: Any) -> None:
    task = asyncio.ensure_future(undo(value))
    await outlast(task)
    if error := task.exception():
        log.error("what was made after its cancel could not be undone", op=op, error=str(error))


def _watch_peer(writer: asyncio.StreamWriter, ended: Callable[[], None]) -> int | None:
    """Call `ended` when the process at the other end ends; returns the descriptor watched.

    A child that the worker forked may hold its end of the connection open after it has died.
    """
    connection: socket.socket = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid = struct.unpack("3i", credentials)[0]
    try:
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
    asyncio.get_running_loop().add_reader(fd, ended)
    return fd
