from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from xapid.datamodel.registry import CLASSES
from xapid.db.store import Store
from xapid.services.host import introduce_host, read_facts

from .world import NOW, Caller, PlayedXen, Receiver, World


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db", CLASSES, clock=lambda: NOW)
    yield store
    await store.close()


@pytest.fixture
async def world(tmp_path: Path, store: Store) -> World:
    xen: Any = PlayedXen()
    host = await introduce_host(store, await read_facts(xen), NOW)
    world = World(tmp_path, store, xen, host)
    await world.state.start()
    return world


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    taker = Receiver()
    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{name:.*}", taker.handle)
    server = TestServer(application)
    await server.start_server()
    taker.url = str(server.make_url("/report"))
    yield taker
    taker.ends.set()
    await server.close()
