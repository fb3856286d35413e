"""A short conversation with a qemu in its machine protocol (QMP), over one of its Unix sockets.

Specification: docs/interop/qmp-spec.txt of QEMU. A qemu serves a guest and is trusted with nothing
else than that guest's own disks: what it says is bounded, and only ever handed back to itself.
"""

# ruff: noqa: N818 (errors read as the complaint)

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson

MAX_LINE: Final = 16 << 20
MAX_LINES: Final = 1000
"""Events come between the answers; a qemu that says nothing else is not waited for."""
CONNECT_WITHIN_S: Final = 10.0
DEADLINE_S: Final = 30.0


class QmpError(Exception):
    """A qemu did not do what it was asked for."""


class QmpUnreachable(QmpError):
    """Nobody answers at the socket: nothing was asked."""


class QmpRefused(QmpError):
    """The qemu says that it did not do it."""


class QmpLost(QmpError):
    """The qemu was asked, and did not answer in time: it may do it yet."""


class Qmp:
    """An open conversation, ready for commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, within_s: float = DEADLINE_S
    ) -> Any:
        """Have a command carried out; returns what it gives. Raises QmpRefused, QmpLost."""
        number = next(self._ids)
        asked = {"execute": command, "arguments": dict(arguments or {}), "id": number}
        try:
            async with asyncio.timeout(within_s):
                self._writer.write(orjson.dumps(asked) + b"\n")
                await self._writer.drain()
                answer = await self._answer(number)
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            raise QmpLost(f"no answer to {command}: {error or type(error).__name__}") from error
        if "error" in answer:
            told = answer["error"]
            why = told.get("desc") if isinstance(told, dict) else None
            raise QmpRefused(f"{command}: {str(why)[:400]}")
        return answer.get("return")

    async def _answer(self, number: int) -> dict[str, Any]:
        for _ in range(MAX_LINES):
            said = await self._line()
            if said.get("id") == number and ("return" in said or "error" in said):
                return said
        raise ValueError("it talks of other things")

    async def _line(self) -> dict[str, Any]:
        """One message. Raises ValueError for anything else, EOFError at the end."""
        line = await self._reader.readline()
        if not line:
            raise EOFError("the connection is closed")
        said = orjson.loads(line)
        if not isinstance(said, dict):
            raise ValueError("no message")
        return said

    async def greet(self) -> None:
        """Begin: take note of the greeting and ask for nothing special. Raises QmpLost."""
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                if "QMP" not in await self._line():
                    raise ValueError("no greeting")
        except (OSError, TimeoutError, ValueError, EOFError) as error:
            raise QmpLost(f"no greeting: {error or type(error).__name__}") from error
        await self.execute("qmp_capabilities", within_s=CONNECT_WITHIN_S)


@asynccontextmanager
async def converse(path: Path) -> AsyncIterator[Qmp]:
    """Talk to the qemu at this socket, which talks to one client at a time.

    Raises QmpUnreachable, also when it is busy with another client for longer than
    CONNECT_WITHIN_S.
    """
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE)
    except (OSError, TimeoutError) as error:
        raise QmpUnreachable(f"{path}: {error or 'no answer'}") from error
    try:
        qmp = Qmp(reader, writer)
        try:
            await qmp.greet()
        except (QmpLost, QmpRefused) as error:
            raise QmpUnreachable(f"{path}: {error}") from error
        yield qmp
    finally:
        writer.transport.abort()  # nothing is left unsaid
