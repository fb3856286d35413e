"""What happens to the client when xenstored leaves, comes back, or misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from xapid.xen.xenstore import Watch, Xenstore
from xapid.xen.xenstore_wire import HEADER, MOST_ANSWER, Op, XenstoreError, XenstoreUnavailable
from xapid.xen.xenstored_mock import MockXenstored

PATIENCE_S = 10.0
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def next_change(watch: Watch) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(aiter(watch))


@asynccontextmanager
async def served_by(path: Path, serve: Serve) -> AsyncIterator[Xenstore]:
    """A client of a xenstored that does what `serve` does."""
    server = await asyncio.start_unix_server(serve, str(path))
    client = Xenstore(path)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


async def test_watches_outlive_xenstored(mock: MockXenstored) -> None:
    client = Xenstore(mock.socket_path)
    await client.start()
    async with client.watch("/a") as watch:
        assert await next_change(watch) == "/a"

        await mock.close()
        await mock.start()
        assert await next_change(watch) == "/a"
        await client.wait_available()
        await client.write("/a/b", b"1")

        assert await next_change(watch) == "/a/b"
    await client.close()


async def test_requests_fail_when_xenstored_leaves(tmp_path: Path) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    async with served_by(tmp_path / "xs", leave) as client:
        with pytest.raises(XenstoreUnavailable):
            await client.read("/a")


async def test_answers_may_come_in_any_order(tmp_path: Path) -> None:
    async def backwards(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting = []
        for _ in range(2):
            kind, number, _, length = HEADER.unpack(await reader.readexactly(HEADER.size))
            waiting.append((kind, number, await reader.readexactly(length)))
        for kind, number, payload in reversed(waiting):
            writer.write(HEADER.pack(kind, number, 0, len(payload)) + payload)
        await reader.read()
        writer.close()

    async with served_by(tmp_path / "xs", backwards) as client:
        first, second = await asyncio.gather(client.read("/a"), client.read("/b"))

        assert (first, second) == (b"/a\0", b"/b\0")


async def test_an_enormous_answer_is_refused_without_being_kept(tmp_path: Path) -> None:
    async def enormous(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for length in (1 << 20, 3):
            kind, number, _, size = HEADER.unpack(await reader.readexactly(HEADER.size))
            await reader.readexactly(size)
            writer.write(HEADER.pack(kind, number, 0, length) + b"x" * length)
        await reader.read()
        writer.close()

    async with served_by(tmp_path / "xs", enormous) as client:
        with pytest.raises(XenstoreError) as refused:
            await client.directory("/a")
        assert refused.value.name == "E2BIG"

        assert await client.read("/a") == b"xxx"


@pytest.mark.parametrize(
    "sent",
    [
        HEADER.pack(Op.WATCH_EVENT, 0, 0, 3) + b"/a\0",
        HEADER.pack(Op.READ, 1, 0, MOST_ANSWER + 1),
        b"short",
    ],
)
async def test_nonsense_ends_the_connection_and_another_is_made(
    tmp_path: Path, sent: bytes
) -> None:
    connections = 0
    again = asyncio.Event()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            writer.write(sent)
            writer.write_eof()
        else:
            again.set()
        await reader.read()
        writer.close()

    async with served_by(tmp_path / "xs", nonsense):
        async with asyncio.timeout(PATIENCE_S):
            await again.wait()


async def test_an_event_for_nobody_is_dropped(tmp_path: Path) -> None:
    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind, number, _, length = HEADER.unpack(await reader.readexactly(HEADER.size))
        await reader.readexactly(length)
        event = b"/a\0" + b"\xff\0"
        writer.write(HEADER.pack(Op.WATCH_EVENT, 0, 0, len(event)) + event)
        writer.write(HEADER.pack(kind, number + 1000, 0, 1) + b"?")
        writer.write(HEADER.pack(kind, number, 0, 1) + b"!")
        await reader.read()
        writer.close()

    async with served_by(tmp_path / "xs", talkative) as client:
        assert await client.read("/a") == b"!"


async def test_the_mock_takes_over_a_socket_left_behind(tmp_path: Path) -> None:
    left = MockXenstored(tmp_path / "xs")
    await left.start()
    again = MockXenstored(tmp_path / "xs")

    await again.start()
    client = Xenstore(tmp_path / "xs")
    await client.start()
    await client.write("/a", b"1")

    assert await client.read("/a") == b"1"
    await client.close()
    await left.close()
    await again.close()
