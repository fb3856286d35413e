from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.network import Network
from xapid.network.memory import MemoryBridges

from .world import Caller, World, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = await opened(tmp_path, MemoryBridges())
    yield world
    await world.store.close()


@pytest.fixture
def call() -> Caller:
    return Caller()


@pytest.fixture
async def network(world: World) -> Ref[Network]:
    return await world.new_network()
