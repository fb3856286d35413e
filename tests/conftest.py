"""Settings that hold for every test, and what several kinds of test want: a worker, a disk."""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("needs the right to mount a small file system")
    yield directory
    subprocess.check_call(["umount", "--lazy", directory])


@pytest.fixture
def own_log() -> Iterator[None]:
    """Logging is the whole process's: put it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
