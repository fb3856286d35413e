"""A real store, the mock xenstored, a guest that writes there, and the service that follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel.registry import CLASSES
from xapid.db.store import Store
from xapid.services.guest_metrics.service import GuestMetrics
from xapid.xen.xenstore import Xenstore
from xapid.xen.xenstored_mock import MockXenstored

from .world import Domains, World, no_pause


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    xenstored = MockXenstored(tmp_path / "xenstored")
    await xenstored.start()
    xenstore, guests = Xenstore(xenstored.socket_path), Xenstore(xenstored.socket_path)
    await xenstore.start()
    await guests.start()
    domains = Domains()
    service = GuestMetrics(store, xenstore, domains, pause=no_pause)
    await service.start()
    yield World(store, xenstored, xenstore, guests, domains, service)
    await service.close()
    await xenstore.close()
    await guests.close()
    await xenstored.close()
    await store.close()
