"""What arrives over TLS is whole and in order, by asyncio's own method and by ours."""

from __future__ import annotations

import asyncio
from asyncio import selector_events, sslproto
from collections.abc import Callable

import pytest

from xapid.http import reads

from .conftest import Site

NAME = b"<methodCall><methodName>a%d</methodName></methodCall>"


@pytest.fixture(params=["asyncio", "ours"], autouse=True)
def end_of_reads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find the end of what is there; what is changed in asyncio is put back."""
    for cls, name in (
        (selector_events._SelectorSocketTransport, "max_size"),
        (sslproto.SSLProtocol, "max_size"),
        (sslproto.SSLProtocol, "_do_read__copied"),
    ):
        monkeypatch.setattr(cls, name, getattr(cls, name))
    theirs = sslproto.SSLProtocol._do_read__copied
    reads.keep_small()
    assert sslproto.SSLProtocol._do_read__copied is not theirs
    if request.param == "asyncio":
        sslproto.SSLProtocol._do_read__copied = theirs


@pytest.mark.parametrize("size", [100, 16_384, 16_385, 40_000, 65_536, 300_000, 1_500_000])
async def test_a_body_of_several_records_is_whole(
    site: Site, call: Callable[..., bytes], size: int
) -> None:
    client = await site.connect_tls()

    client.send(call(NAME % 1 + b" " * size))
    status, _, body = await client.response()

    assert status == 200
    assert b"a1" in body


async def test_calls_sent_together_are_answered_in_order(
    site: Site, call: Callable[..., bytes]
) -> None:
    client = await site.connect_tls()

    for number in range(100):  # each a record of its own
        client.send(call(NAME % number))
    answers = [(await client.response())[2] for _ in range(100)]

    assert all(b">a%d<" % number in answer for number, answer in enumerate(answers))


async def test_a_client_that_says_goodbye_with_its_call_is_let_go(
    site: Site, call: Callable[..., bytes]
) -> None:
    client = await site.connect_tls()
    client.send(call(NAME % 1))
    await client.response()

    client.send(call(NAME % 2))
    client.writer.close()

    over_tls = site.server.listeners[0]
    async with asyncio.timeout(10):
        while len(over_tls.slots):
            over_tls.slots.changed.clear()
            await over_tls.slots.changed.wait()
    site.clients.remove(client)  # its end may be an error: the answer came after its goodbye
    assert [request.method for request, _ in site.echo.calls] == ["a1", "a2"]
