"""Frames: how they are cut, and that a bad one costs its sender the connection and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapid.xen.protocol import (
    MAX_FRAME,
    FrameDecoder,
    ProtocolError,
    body_length,
    decode_body,
    encode,
)

messages = st.lists(st.dictionaries(st.text(), st.integers(-(2**53), 2**53) | st.text()))


@given(messages, st.integers(1, 17))
def test_messages_survive_any_cutting(sent: list[dict[str, Any]], piece: int) -> None:
    stream = b"".join(encode(message) for message in sent)
    decoder = FrameDecoder()

    got = [
        message
        for start in range(0, len(stream), piece)
        for message in decoder.feed(stream[start : start + piece])
    ]

    assert got == sent


def test_a_length_beyond_the_limit_is_refused_before_its_body_comes() -> None:
    with pytest.raises(ProtocolError):
        list(FrameDecoder().feed(struct.pack(">I", MAX_FRAME + 1)))


def test_a_message_beyond_the_limit_is_not_made() -> None:
    with pytest.raises(ProtocolError):
        encode({"text": "x" * MAX_FRAME})


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff\xfe", b"nonsense"])
def test_what_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_body(body)


class Peer:
    """A client that writes whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def message(self) -> dict[str, Any]:
        """The next message that is not the list of domains."""
        while True:
            length = body_length(await self.reader.readexactly(4))
            message = decode_body(await self.reader.readexactly(length))
            if "event" not in message:
                return message

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.writer.write(encode(message))
        async with asyncio.timeout(5):
            return await self.message()

    async def is_cut_off(self) -> bool:
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65536):
                    pass
        return True


@contextlib.asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def socket_path(tmp_path: Path) -> AsyncIterator[Path]:
    """A worker that is nobody's child, as a service of its own would be."""
    path = tmp_path / "worker.sock"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "xapid.xenworker", "--xen", "mock"),
        *("--socket", str(path), "--lock", str(tmp_path / "lock"), "--poll-ms", "60000"),
        env={**os.environ, "XAPID_MOCK_STATE": str(tmp_path / "mock-host")},
        stderr=subprocess.DEVNULL,
    )
    async with asyncio.timeout(10):
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield path
    worker.terminate()
    async with asyncio.timeout(10):
        assert await worker.wait() == 0
    assert not path.exists()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        struct.pack(">I", MAX_FRAME + 1),
        struct.pack(">I", 3) + b"abc",
        struct.pack(">I", 2) + b"[]",
        encode({}),
        encode({"id": "1", "op": "hello"}),
        encode({"id": True, "op": "hello"}),
        encode({"id": 1, "op": 7}),
        encode({"id": 1, "op": "hello", "args": []}),
        encode({"id": 1, "op": "hello", "call": "no\nid"}),
    ],
)
async def test_garbage_costs_the_connection_only(socket_path: Path, garbage: bytes) -> None:
    async with connected(socket_path) as peer:
        peer.writer.write(garbage)
        assert await peer.is_cut_off()

    async with connected(socket_path) as peer:
        answer = await peer.ask({"id": 1, "op": "hello", "args": {}})
        assert answer["ok"]["xen"] == "mock"


async def test_an_id_in_use_costs_the_connection(socket_path: Path) -> None:
    hang = {"function": "libxl_domain_unpause", "action": "hang"}
    async with connected(socket_path) as peer:
        await peer.ask({"id": 1, "op": "mock_fail", "args": hang})
        peer.writer.write(encode({"id": 2, "op": "domain_unpause", "args": {"domid": 0}}))
        peer.writer.write(encode({"id": 2, "op": "hello", "args": {}}))
        assert await peer.is_cut_off()


@pytest.mark.parametrize(
    ("op", "args", "complaint"),
    [
        ("no_such_operation", {}, "there is no such operation"),
        ("hello", {"extra": 1}, "hello takes no argument 'extra'"),
        ("domain_pause", {}, "domain_pause needs domid"),
        ("domain_pause", {"domid": "1"}, "domid must be int, not str"),
        ("domain_pause", {"domid": True}, "domid must be int, not bool"),
        ("sched_set", {"domid": 0, "cap": "1"}, "cap must be int or NoneType, not str"),
        ("mock_set", {"build_ms": "1"}, "build_ms must be int, not str"),
    ],
)
async def test_bad_arguments_are_refused_in_words(
    socket_path: Path, op: str, args: dict[str, Any], complaint: str
) -> None:
    async with connected(socket_path) as peer:
        answer = await peer.ask({"id": 9, "op": op, "args": args})

    assert answer["id"] == 9
    assert answer["error"]["name"] == "ERROR_INVAL"
    assert complaint in answer["error"]["log"][-1]


async def test_the_second_client_is_served_when_the_first_has_gone(socket_path: Path) -> None:
    async with connected(socket_path) as first, connected(socket_path) as second:
        await first.ask({"id": 1, "op": "hello", "args": {}})
        asking = asyncio.create_task(second.ask({"id": 1, "op": "hello", "args": {}}))
        await first.ask({"id": 2, "op": "hello", "args": {}})
        waited = not asking.done()

        first.writer.close()

        assert waited
        assert "ok" in await asking


async def test_the_work_of_a_client_that_left_is_undone(socket_path: Path) -> None:
    identity = "11111111-2222-4333-8444-555555555555"
    config = {
        "c_info": {"type": "pv", "name": f"xapid-{identity}", "uuid": identity},
        "b_info": {"max_memkb": 65536, "target_memkb": 65536, "kernel": "/k", "type.pv": {}},
    }
    async with connected(socket_path) as peer:
        await peer.ask({"id": 1, "op": "mock_set", "args": {"build_ms": 30000}})
        create = {"config": config, "userdata": "{}"}
        peer.writer.write(encode({"id": 2, "op": "domain_create", "args": create}))
        while len((await peer.ask({"id": 3, "op": "domain_list", "args": {}}))["ok"]) < 2:
            pass

    async with connected(socket_path) as peer:
        domains = (await peer.ask({"id": 1, "op": "domain_list", "args": {}}))["ok"]

    assert [domain["domid"] for domain in domains] == [0]


async def test_a_client_that_does_not_read_holds_up_nobody(socket_path: Path) -> None:
    async with connected(socket_path) as deaf:
        for number in range(500):
            deaf.writer.write(encode({"id": number, "op": "version_info", "args": {}}))
        await deaf.writer.drain()

    async with connected(socket_path) as peer:
        assert "ok" in await peer.ask({"id": 1, "op": "hello", "args": {}})
