from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.datamodel.host import Host
from xapid.datamodel.host_cpu import HostCpu
from xapid.datamodel.host_metrics import HostMetrics
from xapid.datamodel.network import Network
from xapid.datamodel.registry import CLASSES
from xapid.db.store import Store
from xapid.services.metrics.records import govern
from xapid.services.metrics.sampler import MetricsSampler

from .world import Clock, PlayedXen, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    async with store.transaction() as tx:
        host = tx.create(Host, {"name_label": "host", "metrics": tx.create(HostMetrics)})
        for number in range(2):
            tx.create(HostCpu, {"host": host, "number": number})
        network = tx.create(Network, {"name_label": "network"})
    await govern(store)
    xen = PlayedXen()
    sampler = MetricsSampler(store, xen, counters=xen.counters, now=Clock())
    yield World(store, xen, sampler, host, network)
    await store.close()
