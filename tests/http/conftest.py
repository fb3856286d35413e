"""An HTTP server in front of a dispatcher that answers what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import String
from xapid.http.connection import Deadlines
from xapid.http.server import HttpServer, Limits
from xapid.http.tls import load_or_make_certificate
from xapid.rpc.answers import Answer, Later, success
from xapid.rpc.xmlrpc import Request

BRISK = Deadlines(linger_s=0.1)
CALL = b"<methodCall><methodName>a.b</methodName></methodCall>"


class Echo:
    """Remembers calls; answers each with its method's name unless told otherwise."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.calls: list[tuple[Request, str]] = []
        self.reply: Answer | None = None
        self.entered = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self.error: Exception | None = None
        self.later: Later | None = None
        self.look: Callable[[], None] | None = None

    async def answer(self, request: Request, peer: str) -> Answer:
        self.calls.append((request, peer))
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return self.reply or success(String, request.method)

    def answer_at_once(self, request: Request, peer: str) -> Answer | Later | None:
        if not self.at_once or self.hold is not None:
            return None
        self.calls.append((request, peer))
        self.entered.set()
        if self.look is not None:
            self.look()
        if self.later is not None:
            return self.later
        if self.error is not None:
            raise self.error
        return self.reply or success(String, request.method)

    async def stop(self, grace_s: float) -> None:
        if self.hold is not None:
            self.hold.set()


@dataclass(frozen=True)
class Way:
    """How calls are answered: plain ones without aiohttp, and those without waiting."""

    plain: bool
    at_once: bool


WAYS = {
    "aiohttp": Way(plain=False, at_once=False),
    "plain": Way(plain=True, at_once=False),
    "plain-at-once": Way(plain=True, at_once=True),
}


class Client:
    """A raw connection: what is sent is exactly these bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, headers in lower case, body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body

    async def closed(self) -> bool:
        """Whether the server ends the connection, after whatever it still sends."""
        try:
            while await asyncio.wait_for(self.reader.read(65536), 10):
                pass
        except ConnectionError:
            pass
        return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Site:
    """A running server and its raw clients."""

    def __init__(self, directory: Path, limits: Limits, way: Way, **more: Any) -> None:
        self.echo = Echo(at_once=way.at_once)
        self.path = directory / "test.sock"
        self.tls = load_or_make_certificate(directory / "tls")
        self.server = HttpServer(
            self.echo,
            https=("127.0.0.1", 0),
            socket=self.path,
            tls=self.tls,
            limits=limits,
            plain=way.plain,
            **more,
        )
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        """A client on the Unix socket."""
        client = Client(*await asyncio.open_unix_connection(self.path))
        self.clients.append(client)
        return client

    async def connect_tcp(self) -> Client:
        """A client on the TCP socket that does not begin with TLS."""
        assert self.server.https_address is not None
        client = Client(*await asyncio.open_connection(*self.server.https_address))
        self.clients.append(client)
        return client

    async def connect_tls(self) -> Client:
        """A client over TLS that trusts the server's certificate."""
        assert self.server.https_address is not None
        trusting = ssl.create_default_context(cafile=self.path.parent / "tls/server.crt")
        made = await asyncio.open_connection(*self.server.https_address, ssl=trusting)
        client = Client(*made)
        self.clients.append(client)
        return client


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each of the ways in turn: a client must not be able to tell them apart."""
    return WAYS[request.param]


@pytest.fixture
async def make_site(tmp_path: Path, way: Way) -> AsyncIterator[Callable[..., Any]]:
    sites: list[Site] = []

    async def make(limits: Limits | None = None, **more: Any) -> Site:
        site = Site(tmp_path, limits or Limits(deadlines=BRISK), way, **more)
        await site.server.start()
        sites.append(site)
        return site

    yield make
    for site in sites:
        for client in site.clients:
            await client.close()
        await site.server.stop(0.1)


@pytest.fixture
async def site(make_site: Callable[..., Any]) -> Site:
    made: Site = await make_site()
    return made


@pytest.fixture
def call() -> Callable[..., bytes]:
    """The bytes of a request with a body."""

    def request(
        body: bytes = CALL,
        *headers: str,
        line: str = "POST / HTTP/1.1",
        length: int | None = None,
    ) -> bytes:
        size = len(body) if length is None else length
        lines = [line, "Host: x", f"Content-Length: {size}", *headers, "", ""]
        return "\r\n".join(lines).encode() + body

    return request
