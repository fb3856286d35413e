"""Ends of the worker, wanted and not, and what the client makes of them."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.client import XenClient
from xapid.xen.errors import XenUnavailable

Config = dict[str, Any]
MakeConfig = Callable[..., Config]
StartClient = Callable[..., Awaitable[XenClient]]


async def until_half_made(client: XenClient, name: str) -> int:
    while True:
        for domain in await client.domain_list():
            if domain.name == name:
                return domain.domid
        await asyncio.sleep(0.005)


async def test_a_killed_worker_costs_only_what_it_was_doing(
    client: XenClient, config: MakeConfig, seen: Any
) -> None:
    before = await client.domain_create(config(), "kept")
    await client.mock_set(build_ms=30_000)
    wanted = config()
    build = asyncio.create_task(client.domain_create(wanted, "{}"))
    half_made = await until_half_made(client, wanted["c_info"]["name"])
    pid = client.worker_pid
    assert pid

    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(XenUnavailable):
        await build
    noticed_after = time.monotonic() - began
    async with asyncio.timeout(5):
        await client.wait_available()

    assert noticed_after < 0.5
    assert client.worker_pid not in (None, pid)
    await seen.until_guest(half_made, lambda guest: not guest.ours)
    assert seen.guest(half_made).name == wanted["c_info"]["name"]
    assert seen.guest(before).ours
    assert await client.userdata_get(before) == "kept"
    await client.domain_destroy(half_made, wanted["c_info"]["uuid"])


@pytest.mark.parametrize("action", ["abort", "abort_halfway"])
async def test_a_worker_that_libxl_ends_is_started_again(
    client: XenClient, config: MakeConfig, action: Any
) -> None:
    await client.mock_fail("libxl_domain_create_new", action)

    with pytest.raises(XenUnavailable):
        await client.domain_create(config(), "{}")
    async with asyncio.timeout(5):
        await client.wait_available()

    assert await client.domain_create(config(), "{}") > 0


async def test_a_new_request_waits_for_the_worker_that_is_started_again(
    client: XenClient,
) -> None:
    assert client.worker_pid
    os.kill(client.worker_pid, signal.SIGKILL)
    with pytest.raises(XenUnavailable):
        await client.mock_fail("nothing", "hang")
    assert not client.available

    assert (await client.hello()).xen == "mock"


async def test_closing_lets_the_worker_clean_up(
    start_client: StartClient, config: MakeConfig
) -> None:
    client = await start_client()
    await client.mock_set(build_ms=30_000)
    wanted = config()
    build = asyncio.create_task(client.domain_create(wanted, "{}"))
    await until_half_made(client, wanted["c_info"]["name"])

    await client.close()
    with pytest.raises(XenUnavailable):
        await build

    again = await start_client()
    assert len(await again.domain_list()) == 1


async def test_a_second_worker_waits_until_the_first_has_cleaned_up(
    start_client: StartClient, config: MakeConfig
) -> None:
    first = await start_client()
    await first.mock_set(build_ms=30_000, destroy_ms=300)
    wanted = config()
    build = asyncio.create_task(first.domain_create(wanted, "{}"))
    await until_half_made(first, wanted["c_info"]["name"])
    second = asyncio.create_task(start_client())
    await asyncio.sleep(0.3)
    waited = not second.done()

    await asyncio.gather(first.close(), build, return_exceptions=True)
    client = await second

    assert waited
    assert len(await client.domain_list()) == 1


PARENT = """
import asyncio, os, sys
from pathlib import Path
from xapid.xen.client import XenClient

async def main(directory):
    client = await XenClient.start(
        socket_path=directory / "worker.sock", lock_path=directory / "worker.lock", xen="mock"
    )
    sys.stdout.write(f"{client.worker_pid}\\n")
    sys.stdout.flush()
    await asyncio.sleep(60)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_the_worker_ends_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    with parent, os.fdopen(os.pidfd_open(int(parent.stdout.readline()))) as worker:
        parent.kill()
        parent.wait()

        ended = _ended_within(worker.fileno(), 5.0)

    assert ended
    assert not (tmp_path / "worker.sock").exists()


def _ended_within(pidfd: int, seconds: float) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])
