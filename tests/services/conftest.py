"""Domains on a mock host."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from xapid.xen.client import XenClient

Boot = Callable[..., Awaitable[int]]


@pytest.fixture
def xen(mock_xen: XenClient) -> XenClient:
    return mock_xen


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
