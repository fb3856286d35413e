"""A daemon's front: the whole way from the sockets to the store, with no service behind it."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
import xmlrpc.client
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from xapid.datamodel.registry import CLASSES, METHODS, Kind
from xapid.db.store import Store
from xapid.http.server import HttpServer
from xapid.http.tls import load_or_make_certificate
from xapid.rpc.accounts import Accounts
from xapid.rpc.dispatch import Dispatcher
from xapid.rpc.events import Events
from xapid.rpc.logins import Logins, Users
from xapid.rpc.sessions import Sessions
from xapid.rpc.tasks import Tasks

STORED = {name: cls for name, cls in CLASSES.items() if name != "event"}
MESSAGES = {name for name, method in METHODS.items() if method.kind is Kind.MESSAGE}


class Clock:
    """A time that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self.path))


class UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> UnixConnection:
        if self._connection[1] is None:
            self._connection = host, UnixConnection(self.path)
        return self._connection[1]


class Front:
    """Runs on a loop in a thread of its own, so that tests can be plain blocking clients."""

    def __init__(self, directory: Path, services: list[Any]) -> None:
        self.directory = directory
        self.clock = Clock()
        self.proxies: list[Any] = []
        self.services = services
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        self.run(self._start())

    async def _start(self) -> None:
        self.store = await Store.open(self.directory / "state.db", STORED, clock=self.clock)
        self.sessions = Sessions(clock=self.clock)
        self.tasks = Tasks(self.store, clock=self.clock)
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.accounts = Accounts(self.store, self.directory, hasher=hasher)
        await self.accounts.prepare()
        await self.tasks.start()
        self.events = Events(self.store, self.sessions, wait_s=5.0)
        services = [
            Logins(self.sessions, self.accounts),
            Users(self.store, self.sessions, self.accounts),
            self.events,
            *self.services,
        ]
        self.dispatcher = Dispatcher(
            self.store,
            self.sessions,
            self.tasks,
            services,
            not_yet=MESSAGES - implemented([*services, self.tasks]),
        )
        self.tls = self.directory / "tls"
        self.server = HttpServer(
            self.dispatcher,
            https=("127.0.0.1", 0),
            socket=self.directory / "xapid.sock",
            tls=load_or_make_certificate(self.tls),
        )
        await self.server.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def transact(self, body: Any) -> Any:
        return self.run(self.store.transact(body))

    def stop(self) -> None:
        for proxy in self.proxies:
            proxy("close")()
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        await self.server.stop(1.0)
        self.accounts.close()
        await self.store.close()

    @property
    def password(self) -> str:
        return (self.directory / "root-password").read_text().strip()

    def https(self) -> Any:
        """A new client that checks the certificate."""
        assert self.server.https_address is not None
        host, port = self.server.https_address
        context = ssl.create_default_context(cafile=self.tls / "server.crt")
        proxy = xmlrpc.client.ServerProxy(f"https://{host}:{port}", context=context)
        self.proxies.append(proxy)
        return proxy

    def unix(self) -> Any:
        """A new client on the Unix socket."""
        transport = UnixTransport(self.directory / "xapid.sock")
        proxy = xmlrpc.client.ServerProxy("http://local/RPC2", transport=transport)
        self.proxies.append(proxy)
        return proxy

    def login(self) -> Api:
        proxy = self.unix()
        return Api(proxy, succeed(proxy.session.login_with_password("root", self.password)))


class Api:
    """A client that is logged in; `api.VM.start(vm)` gives the value or raises Failure."""

    def __init__(self, proxy: Any, session: str, path: str = "") -> None:
        self.proxy = proxy
        self.me = session
        self._path = path

    def __getattr__(self, name: str) -> Api:
        return Api(self.proxy, self.me, f"{self._path}.{name}".lstrip("."))

    def __call__(self, *params: Any) -> Any:
        return succeed(getattr(self.proxy, self._path)(self.me, *params))


class Failure(Exception):  # noqa: N818
    def __init__(self, error: list[str]) -> None:
        super().__init__(*error)
        self.error = error


def succeed(answer: dict[str, Any]) -> Any:
    if answer["Status"] != "Success":
        assert set(answer) == {"Status", "ErrorDescription"}
        raise Failure(answer["ErrorDescription"])
    assert set(answer) == {"Status", "Value"}
    return answer["Value"]


def implemented(services: list[Any]) -> set[str]:
    marks = (getattr(v, "__dict__", {}) for s in services for v in vars(type(s)).values())
    return {mark["implements"] for mark in marks if "implements" in mark}


@pytest.fixture(scope="session")
def failure() -> type[Failure]:
    return Failure


@pytest.fixture(scope="session")
def make_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    fronts: list[Front] = []

    def make(*services: Any) -> Front:
        front = Front(tmp_path_factory.mktemp("front"), list(services))
        front.start()
        fronts.append(front)
        return front

    yield make
    for front in fronts:
        front.stop()


@pytest.fixture(scope="module")
def front(make_front: Any) -> Front:
    """One front for the tests of a module, which leave behind what they make."""
    made: Front = make_front()
    return made


@pytest.fixture
def api(front: Front) -> Api:
    return front.login()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> Any:
    opened = await Store.open(tmp_path / "state.db", STORED, clock=clock)
    yield opened
    await opened.close()
