"""What is fed with bad messages, and what each must never do."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import tempfile
import xmlrpc.client
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.rpc.world import Daemon
from xapid.config import ConfigError, load_all, override
from xapid.http.connection import Connection, Deadlines, Server
from xapid.http.health import PATH as HEALTH
from xapid.http.health import HealthPage
from xapid.http.metrics import PATH as METRICS
from xapid.http.metrics import MetricsPage
from xapid.http.plain import PlainCalls, PlainConnection
from xapid.http.server import HttpServer, Limits
from xapid.http.site import Handlers, Site
from xapid.http.tls import load_or_make_certificate
from xapid.rpc.plain_call import read_call
from xapid.rpc.xmlrpc import Malformed, Request, decode

from . import corpus
from .mutation import Mutator

STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) [A-Za-z -]+\r\n")
ALLOWED = {b"100", b"200", b"400", b"404", b"405", b"408", b"411", b"413", b"415", b"503", b"505"}
BRISK = Deadlines(handshake_s=1.0, head_s=0.05, body_s=0.05, idle_s=0.05, write_s=1.0, linger_s=0.0)
TRACES = (b"Traceback", b'File "', b"INTERNAL_ERROR", b"Exception")


class Wrong(Exception):  # noqa: N818
    """A message did what none may do."""


def check_bytes(answer: bytes) -> None:
    """Raise Wrong unless the bytes are answers of HTTP that tell nothing of the inside."""
    if not answer:
        return
    statuses = STATUS.findall(answer)
    if not answer.startswith(b"HTTP/") or not statuses or set(statuses) - ALLOWED:
        raise Wrong(f"no answer of ours: {answer[:200]!r}")
    if any(trace in answer for trace in TRACES):
        raise Wrong(f"a trace of the inside: {answer[:400]!r}")


class XmlTarget:
    """The two readers of calls: they refuse with one line, or read, and both the same."""

    name = "xml"

    def __init__(self, seed: int) -> None:
        self.mutator = Mutator(corpus.calls(), corpus.XML_WORDS, seed)
        self.read = 0

    def feed(self, message: bytes) -> None:
        found = self._outcome(decode, message)
        if repr(found) != repr(self._outcome(read_call, message)):
            raise Wrong("the two readers disagree")
        self.read += isinstance(found, Request)

    def _outcome(self, reader: Any, message: bytes) -> Request | str:
        try:
            return reader(message)  # type: ignore[no-any-return]
        except Malformed as error:
            if "\n" in str(error) or len(str(error)) > 300:
                raise Wrong(f"no line of text: {error}") from error
            return str(error)


class ConfigTarget:
    """Settings are read, or every mistake is told in a line of its own."""

    name = "config"

    def __init__(self, seed: int, directory: Path) -> None:
        self.mutator = Mutator(corpus.settings(), corpus.TOML_WORDS, seed)
        self.read = 0
        self._path = directory / "fuzz.toml"

    def feed(self, message: bytes) -> None:
        self._path.write_bytes(message)
        try:
            override(load_all([self._path]))
        except ConfigError as error:
            if not error.mistakes or any("\n" in mistake for mistake in error.mistakes):
                raise Wrong(f"no lines of text: {error.mistakes}") from error
        else:
            self.read += 1


class CallTarget:
    """The dispatcher: every call that can be read has an answer that a client can read."""

    name = "calls"

    def __init__(self, seed: int, daemon: Daemon) -> None:
        self.mutator = Mutator(corpus.calls(daemon.login()), corpus.XML_WORDS, seed)
        self.read = 0
        self._daemon = daemon
        self._session = daemon.login()

    async def feed(self, message: bytes) -> None:
        try:
            request = decode(message)
        except Malformed:
            return
        answer = self._daemon.dispatcher.answer_at_once(request, "192.0.2.1")
        if answer is None:
            answer = await self._daemon.dispatcher.answer(request, "")
        whole = b"".join(answer.pieces)
        if b"INTERNAL_ERROR" in whole:
            raise Wrong(f"an error of ours: {whole[:300]!r}")
        ((told,), _) = xmlrpc.client.loads(whole.decode())
        if told["Status"] not in ("Success", "Failure"):
            raise Wrong(f"no answer: {whole[:300]!r}")
        self.read += 1


class Wire(asyncio.Transport):
    """A transport in memory, with a socket's end to be looked at."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(
            {"socket": end, "peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)}
        )
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, pieces: Any) -> None:
        for piece in pieces:
            self.write(piece)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def is_reading(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class HttpTarget:
    """The readers of HTTP in front of the dispatcher, without sockets: half the plain way."""

    name = "http"

    def __init__(self, seed: int, daemon: Daemon, site: Site, end: socket.socket) -> None:
        self.mutator = Mutator(corpus.requests(daemon.login()), corpus.HTTP_WORDS, seed)
        self.read = 0
        self._daemon = daemon
        self._server = Server(site.handle, BRISK, lambda: None)
        self._end = end

    @classmethod
    @asynccontextmanager
    async def made(cls, seed: int, daemon: Daemon) -> AsyncIterator[HttpTarget]:
        parsers = ThreadPoolExecutor(1)
        end, other = socket.socketpair()
        site = Site(
            daemon.dispatcher,
            Handlers({}, pages_of(daemon)),
            parsers,
            body_limit=1 << 20,
            large_bodies=4,
            deadlines=BRISK,
            local=False,
            turns=daemon.turns,
        )
        try:
            yield cls(seed, daemon, site, end)
        finally:
            parsers.shutdown()
            end.close()
            other.close()

    def _connection(self, number: int) -> Connection:
        nothing = (lambda _: None, lambda: None)
        if number % 2:
            return self._server.connect(*nothing)
        calls = PlainCalls(self._daemon.dispatcher, 1 << 20)
        return PlainConnection(self._server, BRISK, *nothing, lambda: None, calls)

    async def feed(self, message: bytes) -> None:
        wire, connection = Wire(self._end), self._connection(len(message))
        connection.connection_made(wire)
        cut = sum(message[:8]) % (len(message) + 1)
        for part in (message[:cut], message[cut:]):
            if part and not wire.closed:
                connection.data_received(part)
            await asyncio.sleep(0)
        for _ in range(20):
            if wire.closed or (connection.idle and wire.written):
                break
            await asyncio.sleep(0)
        connection.eof_received()
        connection.connection_lost(None)
        check_bytes(bytes(wire.written))
        self.read += wire.written.startswith(b"HTTP/1.1 200 ")


class SocketTarget:
    """The whole front over its sockets: one after the other Unix, TLS, and plain HTTP."""

    name = "sockets"

    def __init__(self, seed: int, daemon: Daemon, server: HttpServer, directory: Path) -> None:
        self.mutator = Mutator(corpus.requests(daemon.login()), corpus.HTTP_WORDS, seed)
        self.read = 0
        self._server = server
        self._path = directory / "s"
        self._tls = ssl.create_default_context(cafile=directory / "tls/server.crt")

    @classmethod
    @asynccontextmanager
    async def made(cls, seed: int, daemon: Daemon, directory: Path) -> AsyncIterator[SocketTarget]:
        server = HttpServer(
            daemon.dispatcher,
            https=("127.0.0.1", 0),
            http=("127.0.0.1", 0),
            socket=directory / "s",
            tls=load_or_make_certificate(directory / "tls"),
            limits=Limits(deadlines=BRISK),
            pages=pages_of(daemon),
        )
        await server.start()
        try:
            yield cls(seed, daemon, server, directory)
        finally:
            await server.stop(0)

    async def _connect(self, way: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        https, http = self._server.https_address, self._server.http_address
        assert https is not None and http is not None
        if way == 0:
            return await asyncio.open_connection(*https, ssl=self._tls)
        if way == 1:
            return await asyncio.open_connection(*http)
        return await asyncio.open_unix_connection(self._path)

    async def feed(self, message: bytes) -> None:
        received = bytearray()
        try:
            async with asyncio.timeout(20):
                reader, writer = await self._connect(len(message) % 8)
                try:
                    writer.write(message)
                    while more := await reader.read(65536):
                        received += more
                finally:
                    writer.transport.abort()
        except (ConnectionError, ssl.SSLError):
            pass  # the server ended it
        except TimeoutError as error:
            raise Wrong("the connection was neither answered nor ended") from error
        check_bytes(bytes(received))
        self.read += received.startswith(b"HTTP/1.1 200 ")


def pages_of(daemon: Daemon) -> dict[str, Any]:
    return {METRICS: MetricsPage(daemon.registry), HEALTH: HealthPage({})}


@contextmanager
def fast_directory() -> Iterator[Path]:
    """A directory in memory where there is one."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as directory:
        yield Path(directory)
