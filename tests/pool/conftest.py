from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel.host import Host
from xapid.datamodel.registry import CLASSES
from xapid.db.store import Store

from .world import NOW, Caller, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await Store.open(tmp_path / "state.db", CLASSES, clock=lambda: NOW)
    host = await store.transact(lambda tx: tx.create(Host, {"name_label": "here"}))
    world = World(tmp_path, store, host)
    await world.patches.start()
    world.trust(world.key)
    yield world
    await store.close()


@pytest.fixture
def caller() -> Caller:
    return Caller()
