"""Conversations with a qemu that keeps to its protocol, or does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.qmp import QmpLost, QmpRefused, QmpUnreachable, converse

GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
Answer = Callable[[dict[str, Any]], bytes | None]
"""What is said to a command; None ends the conversation."""


def agreeable(asked: dict[str, Any]) -> bytes:
    return json.dumps({"return": asked["arguments"], "id": asked["id"]}).encode() + b"\r\n"


@asynccontextmanager
async def qemu(path: Path, answer: Answer, greeting: bytes = GREETING) -> AsyncIterator[None]:
    talks: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        writer.write(greeting)
        with suppress(ConnectionError):
            while line := await reader.readline():
                said = answer(json.loads(line))
                if said is None:
                    break
                writer.write(said)
        writer.transport.abort()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        await asyncio.gather(*(talk for talk in talks if talk))


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "qmp"


async def test_a_command_gives_what_the_qemu_says(socket: Path) -> None:
    async with qemu(socket, agreeable), converse(socket) as qmp:
        assert await qmp.execute("echo", {"node-name": "a"}) == {"node-name": "a"}
        assert await qmp.execute("again") == {}


async def test_what_a_qemu_says_unasked_is_passed_over(socket: Path) -> None:
    def chatty(asked: dict[str, Any]) -> bytes:
        event = b'{"event": "RESUME", "data": {"id": %d}}\r\n' % asked["id"]
        return event * 3 + b'{"return": 1, "id": 0}\r\n' + agreeable(asked)

    async with qemu(socket, chatty), converse(socket) as qmp:
        assert await qmp.execute("echo", {"a": 1}) == {"a": 1}


async def test_a_refusal_says_why(socket: Path) -> None:
    def refuse(asked: dict[str, Any]) -> bytes:
        if asked["execute"] == "qmp_capabilities":
            return agreeable(asked)
        told = {"class": "GenericError", "desc": "Node 'x' is busy" + "!" * 1000}
        return json.dumps({"error": told, "id": asked["id"]}).encode() + b"\n"

    async with qemu(socket, refuse), converse(socket) as qmp:
        with pytest.raises(QmpRefused, match="Node 'x' is busy") as refused:
            await qmp.execute("block_resize")
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"nonsense\r\n",
        b"[1, 2]\r\n",
        b"[" * 100_000 + b"\r\n",
        b'{"event": "X"}\r\n' * 2000,
        b"x" * (17 << 20),
    ],
    ids=["nothing", "nonsense", "a list", "deep", "events without end", "a line without end"],
)
async def test_what_is_no_answer_leaves_open_whether_it_was_done(
    socket: Path, said: bytes | None
) -> None:
    def rude(asked: dict[str, Any]) -> bytes | None:
        return agreeable(asked) if asked["execute"] == "qmp_capabilities" else said

    async with qemu(socket, rude), converse(socket) as qmp:
        with pytest.raises(QmpLost):
            await qmp.execute("block_resize")


async def test_a_silent_qemu_is_not_waited_for(socket: Path) -> None:
    def silent(asked: dict[str, Any]) -> bytes:
        return agreeable(asked) if asked["execute"] == "qmp_capabilities" else b""

    async with qemu(socket, silent), converse(socket) as qmp:
        with pytest.raises(QmpLost):
            await qmp.execute("stop", within_s=0.01)


async def test_who_does_not_greet_was_asked_nothing(socket: Path) -> None:
    async with qemu(socket, agreeable, b"220 mail\r\n"):
        with pytest.raises(QmpUnreachable):
            async with converse(socket):
                pytest.fail("that is no qemu")
    with pytest.raises(QmpUnreachable):
        async with converse(socket.with_name("none")):
            pytest.fail("there is no socket")
