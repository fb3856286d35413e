"""Who keeps a place when there are more connections than places."""

from __future__ import annotations

import asyncio
import resource
import ssl
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from xapid.http import descriptors
from xapid.http.connection import MAX_HEAD, Deadlines
from xapid.http.descriptors import RESERVE, room_for
from xapid.http.server import Limits
from xapid.http.site import LARGE

CALL = b"<methodCall><methodName>a.b</methodName></methodCall>"


async def secure(site: Any, directory: Path, source: str = "127.0.0.1") -> Any:
    """A client over TLS from an address of this host."""
    context = ssl.create_default_context(cafile=directory / "tls/server.crt")
    host, port = site.server.https_address
    return await asyncio.open_connection(host, port, ssl=context, local_addr=(source, 0))


async def answered(client: Any, request: bytes) -> bytes:
    reader, writer = client
    writer.write(request)
    line: bytes = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).split(b"\r\n")[0]
    return line


async def closed(client: Any) -> bool:
    try:
        return (await asyncio.wait_for(client[0].read(1), 10)) == b""
    except ConnectionError:
        return True


async def test_one_that_spoke_outlives_those_that_never_did(site: Any, call: Any) -> None:
    speaker = await site.connect()
    speaker.send(call())
    await speaker.response()
    silent = [await site.connect() for _ in range(255)]

    newest = await site.connect()
    newest.send(call())

    assert (await newest.response())[0] == 200
    assert await silent[0].closed()
    speaker.send(call())
    assert (await speaker.response())[0] == 200


async def test_a_body_that_drips_gives_its_place_up(make_site: Any, call: Any) -> None:
    site = await make_site(Limits(unix_connections=2))
    slow = [await site.connect() for _ in range(2)]
    for client in slow:
        client.send(call(b"<methodCall>", length=1000))

    newest = await site.connect()
    newest.send(call())

    assert (await newest.response())[0] == 200
    assert await slow[0].closed()


async def test_an_address_ends_its_own_connections_before_those_of_others(
    make_site: Any, call: Any, tmp_path: Path
) -> None:
    site = await make_site(Limits(tcp_connections=4))
    other = await secure(site, tmp_path, "127.0.0.2")
    greedy = [await secure(site, tmp_path) for _ in range(3)]

    assert await closed(greedy[0])
    assert await answered(other, call()) == b"HTTP/1.1 200 OK"
    assert await answered(greedy[2], call()) == b"HTTP/1.1 200 OK"
    for _, writer in (other, *greedy):
        writer.close()


async def test_an_address_whose_share_is_all_in_use_is_refused(
    make_site: Any, call: Any, tmp_path: Path
) -> None:
    site = await make_site(Limits(tcp_connections=4))
    site.echo.hold = asyncio.Event()
    busy = [await secure(site, tmp_path) for _ in range(2)]
    for _, writer in busy:
        writer.write(call())
    while len(site.echo.calls) < 2:
        site.echo.entered.clear()
        await site.echo.entered.wait()

    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await secure(site, tmp_path)
    other = await secure(site, tmp_path, "127.0.0.2")
    site.echo.hold.set()

    assert await answered(other, call()) == b"HTTP/1.1 200 OK"
    (https,) = (each for each in site.server.listeners if not each.local)
    assert https.refused == 1
    for _, writer in (other, *busy):
        writer.close()


async def test_the_unix_socket_gets_in_while_the_network_is_full_of_slow_clients(
    make_site: Any, call: Any
) -> None:
    site = await make_site(Limits(tcp_connections=8))
    for _ in range(40):
        await site.connect_tcp()

    local = await site.connect()
    local.send(call())

    assert (await local.response())[0] == 200


async def test_plain_http_is_served_where_it_is_asked_for(
    make_site: Any, call: Any, tmp_path: Path
) -> None:
    site = await make_site(None, http=("127.0.0.1", 0))
    host, port = site.server.http_address
    client = await asyncio.open_connection(host, port)

    assert await answered(client, call()) == b"HTTP/1.1 200 OK"

    assert site.echo.calls[0][1] == "127.0.0.1", "it is not taken for a local peer"
    client[1].close()


async def test_a_head_that_is_too_long_ends_the_connection(site: Any) -> None:
    client = await site.connect()

    client.send(b"POST / HTTP/1.1\r\n")
    for number in range(2 * MAX_HEAD // 4096):
        client.send(b"X-%d: %s\r\n" % (number, b"x" * 4080))

    assert await client.closed()


async def test_the_rest_of_a_large_body_has_to_come_soon(make_site: Any, call: Any) -> None:
    site = await make_site(Limits(deadlines=Deadlines(body_s=0.2)))
    client = await site.connect()

    client.send(call(b" " * (LARGE + 10), length=LARGE + 100))

    assert (await client.response())[0] == 408


async def test_one_address_has_half_of_the_places_for_large_bodies(
    make_site: Any, call: Any, tmp_path: Path
) -> None:
    site = await make_site(Limits(large_bodies=2))
    slow = await secure(site, tmp_path)
    slow[1].write(call(b" " * (LARGE + 10), length=LARGE + 100))
    await asyncio.sleep(0.2)  # nothing tells when the server has read that far

    whole = call(b" " * (LARGE + 100))
    refused = await answered(await secure(site, tmp_path), whole)
    served = await answered(await secure(site, tmp_path, "127.0.0.2"), whole)

    assert refused == b"HTTP/1.1 503 Service Unavailable"
    assert served == b"HTTP/1.1 400 Bad Request"  # spaces are no call: it was read
    slow[1].close()


class TestDescriptors:
    def test_there_is_room_for_what_is_configured(self) -> None:
        assert room_for(100, 10, 1) == 100

    def test_places_are_fewer_where_the_limit_is_low(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 1024))
        monkeypatch.setattr(descriptors, "WANTED", 1024)

        with capture_logs() as logs:
            assert room_for(1024, 256, 2) == (1024 - 256 - RESERVE) // 2

        assert logs[0]["log_level"] == "warning"
