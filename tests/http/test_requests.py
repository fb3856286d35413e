"""What the HTTP server takes for a call, and how it refuses everything else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from xapid.http.connection import Deadlines
from xapid.http.server import LARGE, Limits
from xapid.rpc.answers import Answer
from xapid.rpc.xmlrpc import Request

CALL = b"<methodCall><methodName>a.b</methodName></methodCall>"
SHORT = Deadlines(head_s=0.1, body_s=0.1, idle_s=0.1, write_s=0.2, handshake_s=0.1, linger_s=0.1)


@pytest.mark.parametrize("path", ["/", "/RPC2", "/?a=b", "/RPC2?a=b"])
async def test_a_call_is_answered(site: Any, call: Any, path: str) -> None:
    client = await site.connect()

    client.send(call(line=f"POST {path} HTTP/1.1"))
    status, headers, body = await client.response()

    assert status == 200
    assert headers["content-type"] == "text/xml"
    assert b"<value>a.b</value>" in body
    assert site.echo.calls == [(Request("a.b", []), "local")]


async def test_a_connection_is_kept_for_further_calls(site: Any, call: Any) -> None:
    client = await site.connect()

    client.send(call() + call())
    answers = [await client.response() for _ in range(2)]
    client.send(call())
    answers.append(await client.response())

    assert [status for status, _, _ in answers] == [200] * 3


async def test_http_1_0_is_spoken_too(site: Any, call: Any) -> None:
    client = await site.connect()

    client.send(call(line="POST /RPC2 HTTP/1.0"))

    assert (await client.response())[0] == 200
    assert await client.closed()


async def test_http_1_0_needs_no_host(site: Any) -> None:
    client = await site.connect()

    client.send(b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(CALL) + CALL)

    assert (await client.response())[0] == 200


async def test_http_1_0_keeps_the_connection_when_asked(site: Any, call: Any) -> None:
    client = await site.connect()

    for _ in range(2):
        client.send(call(CALL, "Connection: keep-alive", line="POST / HTTP/1.0"))
        assert (await client.response())[0] == 200


async def test_a_chunked_body_is_read(site: Any) -> None:
    client = await site.connect()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (CALL[:9], CALL[9:]))

    client.send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )

    assert (await client.response())[0] == 200


async def test_a_client_that_asks_first_is_told_to_go_on(site: Any, call: Any) -> None:
    client = await site.connect()
    whole = call(CALL, "Expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")

    client.send(head + b"\r\n\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body)

    assert (await client.response())[0] == 200


async def test_the_page_for_people_is_plain(site: Any) -> None:
    client = await site.connect()

    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers, body = await client.response()

    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert body.startswith(b"xapid ")
    assert body.count(b"\n") == 1


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("HEAD / HTTP/1.1", 405),
        ("PUT / HTTP/1.1", 405),
        ("DELETE /RPC2 HTTP/1.1", 405),
        ("GET /RPC2 HTTP/1.1", 405),
        ("OPTIONS / HTTP/1.1", 405),
        ("GET /etc/passwd HTTP/1.1", 404),
        ("GET /../../etc/passwd HTTP/1.1", 404),
        ("POST /other HTTP/1.1", 404),
        ("POST /RPC2/ HTTP/1.1", 404),
        ("POST / HTTP/1.1", 411),
        ("POST / HTTP/1.0", 411),
    ],
)
async def test_other_requests_are_refused(site: Any, request_line: str, status: int) -> None:
    client = await site.connect()

    client.send(f"{request_line}\r\nHost: x\r\n\r\n".encode())
    head = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)

    assert head.startswith(f"HTTP/1.{request_line[-1]} {status} ".encode())
    if status == 405:
        assert b"\r\nAllow: " in head
    assert await client.closed()
    assert site.echo.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<methodCall>",
        b"<!DOCTYPE a><methodCall><methodName>a</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><params><param>"
        + b"<value><array><data>" * 65
        + b"</data></array></value>" * 65
        + b"</param></params></methodCall>",
    ],
)
async def test_a_body_that_is_no_call_is_refused_in_one_line_and_the_connection_closed(
    site: Any, call: Any, body: bytes
) -> None:
    client, other = await site.connect(), await site.connect()

    client.send(call(body))
    status, headers, text = await client.response()

    assert status == 400
    assert headers["content-type"].startswith("text/plain")
    assert text.startswith(b"not an XML-RPC call: ")
    assert text.count(b"\n") == 1
    assert await client.closed()
    other.send(call())
    assert (await other.response())[0] == 200


async def test_a_body_above_the_limit_is_refused_before_it_is_read(site: Any, call: Any) -> None:
    client = await site.connect()

    client.send(call(b"", length=2 * 1024 * 1024 + 1))
    status, _, text = await client.response()

    assert status == 413
    assert text == b"the body is larger than 2097152 bytes\n"
    assert await client.closed()


async def test_a_chunked_body_is_counted_as_it_comes(make_site: Any) -> None:
    site = await make_site(Limits(body=1000, deadlines=SHORT))
    client = await site.connect()

    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.send(b"3e9\r\n" + b" " * 1001 + b"\r\n")

    assert (await client.response())[0] == 413
    assert await client.closed()


async def test_a_body_at_the_limit_is_answered_off_the_loop(site: Any, call: Any) -> None:
    client = await site.connect()
    start = b"<methodCall><methodName>a.b</methodName><params><param><value>"
    end = b"</value></param></params></methodCall>"
    text = b"x" * (2 * 1024 * 1024 - len(start) - len(end))
    assert len(text) > LARGE

    client.send(call(start + text + end))

    assert (await client.response())[0] == 200
    assert site.echo.calls[0][0].raw_params == [text.decode()]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_compressed_body_is_refused(site: Any, call: Any, encoding: str) -> None:
    client = await site.connect()

    client.send(call(b"xx", f"Content-Encoding: {encoding}"))

    assert (await client.response())[0] == 415


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"POST /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http_ends_its_own_connection_only(
    make_site: Any, call: Any, garbage: bytes
) -> None:
    site = await make_site(Limits(deadlines=SHORT))
    client = await site.connect()

    client.send(garbage)

    assert await client.closed()
    other = await site.connect()
    other.send(call())
    assert (await other.response())[0] == 200


async def test_a_call_that_fails_without_an_answer_says_so(site: Any, call: Any) -> None:
    site.echo.error = RuntimeError("secret")
    client = await site.connect()

    client.send(call())
    status, _, text = await client.response()

    assert (status, text) == (500, b"the request failed; see the daemon's log\n")


class TestDeadlines:
    @pytest.fixture
    async def site(self, make_site: Any) -> Any:
        return await make_site(Limits(deadlines=SHORT))

    @pytest.mark.parametrize("sent", [b"", b"POST", b"POST / HTTP/1.1\r\nHost: x\r\n"])
    async def test_a_head_that_does_not_come_ends_the_connection(
        self, site: Any, sent: bytes
    ) -> None:
        client = await site.connect()

        client.send(sent)

        assert await client.closed()

    async def test_a_head_that_drips_ends_the_connection(self, site: Any, call: Any) -> None:
        client = await site.connect()
        client.send(call())
        await client.response()

        async def drip() -> None:
            for byte in b"POST / HTTP/1.1\r\nX: " + b"x" * 1000:
                client.send(bytes([byte]))
                await asyncio.sleep(0.005)

        dripping = asyncio.create_task(drip())
        assert await client.closed()
        dripping.cancel()

    async def test_a_body_that_does_not_come_is_refused(self, site: Any, call: Any) -> None:
        client = await site.connect()

        client.send(call(b"<method", length=100))

        assert (await client.response())[0] == 408
        assert await client.closed()

    async def test_an_idle_connection_ends(self, site: Any, call: Any) -> None:
        client = await site.connect()
        client.send(call())
        await client.response()

        assert await client.closed()

    async def test_a_client_that_does_not_read_is_cut_off(self, site: Any, call: Any) -> None:
        site.echo.reply = Answer([b"x" * 1_000_000] * 30)
        client = await site.connect()
        client.writer.transport.pause_reading()
        client.send(call())
        await site.echo.entered.wait()

        async with asyncio.timeout(10):
            while len(site.server.listeners[1].slots):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)

        client.writer.transport.resume_reading()
        assert await client.closed()

    async def test_a_handshake_that_does_not_come_ends_the_connection(self, site: Any) -> None:
        client = await site.connect_tcp()

        assert await client.closed()


async def test_a_long_answer_arrives_whole_over_tls(site: Any, call: Any) -> None:
    site.echo.reply = Answer([b"x" * 100_000] * 50)
    client = await site.connect_tls()

    client.send(call())
    status, _, body = await asyncio.wait_for(client.response(), 10)

    assert (status, len(body)) == (200, 5_000_000)


async def test_a_long_answer_lets_others_in_between(site: Any, call: Any) -> None:
    site.echo.reply = Answer([b"x" * 100_000] * 200)
    long, short = await site.connect(), await site.connect()
    long.send(call())
    await site.echo.entered.wait()
    site.echo.reply = None

    short.send(call())
    assert (await short.response())[0] == 200

    status, _, body = await long.response()
    assert (status, len(body)) == (200, 20_000_000)
