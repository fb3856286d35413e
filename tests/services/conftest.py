"""A real worker on a mock host of its own, and domains in it."""

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.client import XenClient

Boot = Callable[..., Awaitable[int]]


@pytest.fixture
async def xen(tmp_path: Path) -> AsyncIterator[XenClient]:
    client = await XenClient.start(
        socket_path=tmp_path / "worker.sock",
        lock_path=tmp_path / "worker.lock",
        xen="mock",
        environment={"XAPID_MOCK_STATE": str(tmp_path / "mock-host")},
    )
    yield client
    await client.close()


@pytest.fixture
def boot(xen: XenClient) -> Boot:
    """Makes a running domain: `await boot("pvh", *disks)` is its domid."""

    async def make(kind: str, *disks: dict[str, Any]) -> int:
        identity = str(uuids.uuid4())
        build: dict[str, Any] = {"max_vcpus": 1, "max_memkb": 65536, "target_memkb": 65536}
        build[f"type.{kind}"] = {}
        if kind != "hvm":
            build["kernel"] = "/boot/vmlinuz"
        info = {"type": kind, "name": f"xapid-{identity}", "uuid": identity}
        config: dict[str, Any] = {"c_info": info, "b_info": build}
        if disks:
            config["disks"] = list(disks)
        domid = await xen.domain_create(config, "{}")
        await xen.domain_unpause(domid)
        return domid

    return make
