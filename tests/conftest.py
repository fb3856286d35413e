"""Settings that hold for every test, and a real worker for those that want one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from xapid.xen.client import XenClient

# No deadlines: a busy machine is not a failure. In CI the examples are the same every time.
settings.register_profile(
    "xapid",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("xapid")


@pytest.fixture
async def mock_xen(tmp_path: Path) -> AsyncIterator[XenClient]:
    """A real worker on a mock host of its own."""
    client = await XenClient.start(
        socket_path=tmp_path / "worker.sock",
        lock_path=tmp_path / "worker.lock",
        xen="mock",
        environment={"XAPID_MOCK_STATE": str(tmp_path / "mock-host")},
    )
    yield client
    await client.close()
