from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.sr import SR
from xapid.datamodel.vdi import VDI

from .world import Caller, World, closed, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = await opened(tmp_path)
    await world.kinds.publish()
    yield world
    await closed(world)


@pytest.fixture
def call() -> Caller:
    return Caller()


@pytest.fixture
async def sr(world: World) -> Ref[SR]:
    return await world.new_sr()


@pytest.fixture
async def vdi(world: World, sr: Ref[SR]) -> Ref[VDI]:
    return await world.new_vdi(sr)
