"""Requests that two readers of HTTP could take for different ones: what is hidden is not called."""

from __future__ import annotations

from typing import Any

import pytest

CALL = b"<methodCall><methodName>a.b</methodName></methodCall>"
HIDDEN = b"<methodCall><methodName>hidden.call</methodName></methodCall>"
INNER = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CALL), CALL)


def head(*fields: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: x", *fields, b"", b""])


LENGTH = b"Content-Length: %d" % len(CALL)

REFUSED = {
    "both lengths, chunked first": head(b"Transfer-Encoding: chunked", b"Content-Length: 4")
    + CHUNKED,
    "both lengths, length first": head(b"Content-Length: 4", b"Transfer-Encoding: chunked")
    + CHUNKED,
    "two different lengths": head(LENGTH, b"Content-Length: 0") + CALL,
    "two equal lengths": head(LENGTH, LENGTH) + CALL,
    "a list of lengths": head(b"Content-Length: %d, %d" % (len(CALL), len(CALL))) + CALL,
    "a signed length": head(b"Content-Length: +%d" % len(CALL)) + CALL,
    "a hexadecimal length": head(b"Content-Length: 0x35") + CALL,
    "an underscore in the length": head(b"Content-Length: 5_3") + CALL,
    "no length at all": head(b"Content-Length: ") + CALL,
    "a space before the colon": head(b"Content-Length : %d" % len(CALL)) + CALL,
    "chunked twice": head(b"Transfer-Encoding: chunked, chunked") + CHUNKED,
    "chunked is not last": head(b"Transfer-Encoding: chunked, identity") + CHUNKED,
    "an unknown coding": head(b"Transfer-Encoding: xchunked") + CHUNKED,
    "a coding under a vertical tab": head(b"Transfer-Encoding: \x0bchunked") + CHUNKED,
    "a folded header": head(b"X-A: b\r\n c: d", LENGTH) + CALL,
    "a folded length": head(b"Content-Length:\r\n %d" % len(CALL)) + CALL,
    "a NUL in a header": head(b"X-A: a\x00b", LENGTH) + CALL,
    "a NUL in a name": head(b"X\x00A: ab", LENGTH) + CALL,
    "a bare carriage return": head(b"X-A: a\rContent-Length: 0", LENGTH) + CALL,
    "a NUL in the line": head(LENGTH, line=b"POST /\x00 HTTP/1.1") + CALL,
    "a space in the target": head(LENGTH, line=b"POST / x HTTP/1.1") + CALL,
    "a version that is none": head(LENGTH, line=b"POST / HTTP/1.1x") + CALL,
    "HTTP/0.9": b"GET /\r\n\r\n",
    "a broken chunk size": head(b"Transfer-Encoding: chunked") + b"5 5\r\nabcde\r\n0\r\n\r\n",
    "an endless chunk size": head(b"Transfer-Encoding: chunked") + b"f" * 40 + b"\r\n",
    "a negative chunk size": head(b"Transfer-Encoding: chunked") + b"-1\r\n\r\n",
    "a length as a trailer": head(b"Transfer-Encoding: chunked")
    + CHUNKED[:-2]
    + b"Content-Length: 5\r\n\r\n",
    "a chunk without its end": head(b"Transfer-Encoding: chunked") + b"4\r\nabcdeX0\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
async def test_an_ambiguous_request_is_refused_and_what_follows_is_not_read(
    site: Any, name: str
) -> None:
    client = await site.connect()

    client.send(REFUSED[name] + INNER)
    received = b""
    while more := await client.reader.read(65536):
        received += more

    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), received
    assert received.count(b"HTTP/1.") == 1, received
    assert b"Traceback" not in received
    assert [request.method for request, _ in site.echo.calls] in ([], ["a.b"])
    assert "hidden.call" not in [request.method for request, _ in site.echo.calls]


async def test_trailers_of_a_chunked_body_are_no_headers_and_no_request(site: Any) -> None:
    client = await site.connect()
    body = CHUNKED[:-2] + b"X-Trailer: POST / HTTP/1.1\r\n\r\n"

    client.send(head(b"Transfer-Encoding: chunked") + body)
    first = await client.response()
    client.send(head(LENGTH) + CALL)
    second = await client.response()

    assert (first[0], second[0]) == (200, 200)
    assert [request.method for request, _ in site.echo.calls] == ["a.b", "a.b"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://other.example/RPC2", 200),
        (b"http://other.example/metrics", 404),
        (b"/%52PC2", 200),
        (b"//RPC2", 404),
        (b"/./RPC2", 404),
        (b"/x/../RPC2", 404),
        (b"*", 400),
        (b"/RPC2%00", 404),
        (b"/RPC2;x", 404),
    ],
)
async def test_the_form_of_the_target_opens_nothing_new(
    site: Any, target: bytes, status: int
) -> None:
    client = await site.connect()

    client.send(head(LENGTH, line=b"POST " + target + b" HTTP/1.1") + CALL)

    assert (await client.response())[0] == status


async def test_a_tunnel_is_not_opened(site: Any) -> None:
    client = await site.connect()

    client.send(b"CONNECT other.example:80 HTTP/1.1\r\nHost: x\r\n\r\n" + INNER)
    received = b""
    while more := await client.reader.read(65536):
        received += more

    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 ")), received
    assert received.count(b"HTTP/1.") == 1
    assert site.echo.calls == []


async def test_a_request_without_a_target_leaves_no_connection_behind(site: Any) -> None:
    client = await site.connect()

    client.send(b"CONNECT \n\r\n")

    assert await client.closed()


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.2"])
async def test_another_protocol_is_not_taken_up(site: Any, protocol: bytes) -> None:
    client = await site.connect()

    client.send(head(b"Connection: Upgrade", b"Upgrade: " + protocol, LENGTH) + CALL)
    status, headers, _ = await client.response()

    assert status in (200, 400)
    assert "upgrade" not in headers
