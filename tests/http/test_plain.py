"""What the narrow way takes for itself, and what it leaves to aiohttp; both answer alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from xapid.datamodel.declare import String
from xapid.http.connection import Deadlines
from xapid.http.plain import PlainConnection, length_of_plain
from xapid.http.server import Limits
from xapid.rpc.answers import Answer, Later, success
from xapid.rpc.local_peer import LOCAL_PEER

from .conftest import CALL, WAYS, Way

PLAIN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7"
AT_ONCE = WAYS["plain-at-once"]


def only_connection(site: Any) -> PlainConnection:
    (slot,) = site.server.listeners[1].slots.all()
    connection: PlainConnection = slot.connection
    return connection


@pytest.mark.parametrize(
    "head",
    [
        PLAIN,
        PLAIN.replace(b"/ ", b"/RPC2 "),
        PLAIN + b"\r\nConnection: Keep-Alive",
        PLAIN + b"\r\nUser-Agent: Python-xmlrpc/3.11\r\nContent-Type: text/xml\r\nAccept: */*",
        PLAIN.replace(b"Host: x", b"host:x"),
    ],
)
def test_what_clients_send_is_plain(head: bytes) -> None:
    assert length_of_plain(head) == 7


@pytest.mark.parametrize(
    "head",
    [
        PLAIN.replace(b"POST", b"PUT"),
        PLAIN.replace(b"POST", b"post"),
        PLAIN.replace(b"/ ", b"/other "),
        PLAIN.replace(b"/ ", b"/?a "),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"Host: x\r\n", b""),
        PLAIN.replace(b"\r\nContent-Length: 7", b""),
        PLAIN.replace(b": 7", b": +7"),
        PLAIN.replace(b": 7", b": 7 "),
        PLAIN.replace(b": 7", b": 7, 7"),
        PLAIN.replace(b": 7", b": 1234567"),
        PLAIN.replace(b": 7", b" : 7"),
        PLAIN + b"\r\nContent-Length: 7",
        PLAIN + b"\r\ncontent-length: 8",
        PLAIN + b"\r\nTransfer-Encoding: chunked",
        PLAIN + b"\r\nConnection: close",
        PLAIN + b"\r\nConnection: upgrade",
        PLAIN + b"\r\nExpect: 100-continue",
        PLAIN + b"\r\nContent-Encoding: gzip",
        PLAIN + b"\r\nUpgrade: websocket",
        PLAIN + b"\r\nCookie: session_id=x",
        PLAIN + b"\r\n folded",
        PLAIN + b"\r\nAccept: \x00",
        PLAIN + b"\nAccept: x",
    ],
)
def test_everything_else_is_left_to_aiohttp(head: bytes) -> None:
    assert length_of_plain(head) is None


async def test_both_ways_answer_with_the_same_head(make_site: Any, call: Any, way: Way) -> None:
    site = await make_site()
    client = await site.connect()

    client.send(call())
    plain = await client.response()
    client.send(call(CALL, "X-Unusual: yes"))
    unusual = await client.response()

    assert plain[1].pop("date")
    assert unusual[1].pop("date")
    assert plain == unusual


@pytest.mark.parametrize("cut", [1, 20, len(CALL) - 1])
async def test_a_body_in_two_pieces_is_answered_like_one(site: Any, call: Any, cut: int) -> None:
    client = await site.connect()
    whole = call()

    client.send(whole[:-cut])
    await asyncio.sleep(0.02)  # so that the pieces arrive one by one
    client.send(whole[-cut:] + whole)

    assert [(await client.response())[0] for _ in range(2)] == [200, 200]


async def test_pipelined_calls_are_answered_in_their_order(site: Any, call: Any) -> None:
    client = await site.connect()
    names = [f"a.b{number}" for number in range(100)]
    bodies = [CALL.replace(b"a.b", name.encode()) for name in names]

    client.send(b"".join(map(call, bodies)) + call(b"nonsense"))
    answers = [await client.response() for _ in range(101)]

    for name, (_, _, body) in zip(names, answers, strict=False):
        assert f"<value>{name}</value>".encode() in body
    assert answers[-1][0] == 400


class TestPlainOnly:
    @pytest.fixture
    def way(self) -> Way:
        return AT_ONCE

    async def test_an_unusual_request_gives_the_connection_to_aiohttp(
        self, site: Any, call: Any
    ) -> None:
        client = await site.connect()
        client.send(call())
        await client.response()
        assert not only_connection(site)._given_over

        client.send(call(CALL, "X-Unusual: yes"))
        await client.response()

        assert only_connection(site)._given_over

    async def test_an_answer_that_comes_later_keeps_the_order(self, site: Any, call: Any) -> None:
        ready = asyncio.get_running_loop().create_future()
        site.echo.later = Later(ready, lambda: success(String, "late"))
        client = await site.connect()

        client.send(call() + call())
        await site.echo.entered.wait()
        site.echo.later = None
        ready.set_result(None)
        bodies = [(await client.response())[2] for _ in range(2)]

        assert b"<value>late</value>" in bodies[0]
        assert b"<value>a.b</value>" in bodies[1]

    async def test_a_call_that_waits_longer_than_idleness_lasts_is_answered(
        self, make_site: Any, call: Any
    ) -> None:
        site = await make_site(Limits(deadlines=Deadlines(idle_s=0.05)))
        ready = asyncio.get_running_loop().create_future()
        site.echo.later = Later(ready, lambda: success(String, "late"))
        client = await site.connect()

        client.send(call())
        await asyncio.sleep(0.2)
        ready.set_result(None)

        assert (await client.response())[0] == 200

    async def test_a_client_that_goes_away_while_it_waits_ends_nothing(
        self, site: Any, call: Any
    ) -> None:
        ready = asyncio.get_running_loop().create_future()
        finished = []

        def finish() -> Answer:
            finished.append(True)
            return success(String, "late")

        site.echo.later = Later(ready, finish)
        client = await site.connect()
        client.send(call())
        await site.echo.entered.wait()
        await client.close()
        await eventually(lambda: len(site.server.listeners[1].slots) == 0)

        ready.set_result(None)

        await eventually(lambda: finished == [True])

    async def test_who_is_at_the_other_end_is_known_to_what_answers(
        self, site: Any, call: Any
    ) -> None:
        seen = []
        site.echo.look = lambda: seen.append(LOCAL_PEER.get())
        client = await site.connect()

        client.send(call())
        await client.response()

        assert (seen[0].pid, seen[0].uid) == (os.getpid(), os.getuid())
        assert LOCAL_PEER.get() is None


async def eventually(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not look():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)
