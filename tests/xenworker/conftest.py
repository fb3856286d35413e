"""A real worker process on the mock, its client, and the lists of domains it sends."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.client import XenClient
from xapid.xen.types import Domain

Config = dict[str, Any]


class Seen:
    """The latest list of domains a client was sent, and a way to wait for one."""

    def __init__(self, client: XenClient) -> None:
        self.domains: list[Domain] = []
        self.lists = 0
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        client.on_domains(self._take)

    def guest(self, domid: int) -> Domain | None:
        return next((domain for domain in self.domains if domain.domid == domid), None)

    async def until(self, holds: Callable[[Seen], bool], within_s: float = 5.0) -> None:
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(lambda: holds(self))

    async def until_guest(self, domid: int, holds: Callable[[Domain], bool]) -> None:
        await self.until(lambda seen: (guest := seen.guest(domid)) is not None and holds(guest))

    async def until_gone(self, domid: int) -> None:
        await self.until(lambda seen: seen.guest(domid) is None)

    def _take(self, domains: list[Domain]) -> None:
        self.domains = domains
        self.lists += 1
        task = asyncio.ensure_future(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


StartClient = Callable[..., Awaitable[XenClient]]


@pytest.fixture
async def start_client(tmp_path: Path) -> AsyncIterator[StartClient]:
    """Start a worker on the test's own mock host; more arguments go to XenClient.start."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**more: Any) -> XenClient:
            settings: dict[str, Any] = {
                "socket_path": tmp_path / "worker.sock",
                "lock_path": tmp_path / "worker.lock",
                "xen": "mock",
                "environment": {"XAPID_MOCK_STATE": str(tmp_path / "mock-host")},
                # Long, so that what arrives has come by an event.
                "poll_s": 60.0,
                "stop_within_s": 10.0,
            }
            client = await XenClient.start(**(settings | more))
            stack.push_async_callback(client.close)
            return client

        yield start


@pytest.fixture
async def client(start_client: StartClient) -> XenClient:
    return await start_client()


@pytest.fixture
def seen(client: XenClient) -> Seen:
    return Seen(client)


@pytest.fixture
def watch() -> type[Seen]:
    return Seen


def _config(kind: str = "pv", memory_kib: int = 65536, vcpus: int = 1) -> Config:
    identity = str(uuid.uuid4())
    info: Config = {
        "max_vcpus": vcpus,
        "avail_vcpus": list(range(vcpus)),
        "max_memkb": memory_kib,
        "target_memkb": memory_kib,
        f"type.{kind}": {},
    }
    if kind != "hvm":
        info |= {"kernel": "/boot/vmlinuz", "cmdline": "quiet"}
    return {
        "c_info": {"type": kind, "name": f"xapid-{identity}", "uuid": identity},
        "b_info": info,
    }


@pytest.fixture
def config() -> Callable[..., Config]:
    """Make the configuration of a new guest."""
    return _config


@pytest.fixture
def identity() -> Callable[[Config], str]:
    return lambda config: str(config["c_info"]["uuid"])
