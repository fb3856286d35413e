"""Builds side by side, waiting, failing and cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from xapid.xen.client import XenClient
from xapid.xen.errors import XenAborted

Config = dict[str, Any]
MakeConfig = Callable[..., Config]


async def guests(client: XenClient) -> set[str | None]:
    return {domain.name for domain in await client.domain_list() if domain.domid}


async def until_building(client: XenClient, count: int) -> None:
    """Return when that many half-made domains are there."""
    while len(await guests(client)) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_four_builds_of_a_second_run_at_once(client: XenClient, config: MakeConfig) -> None:
    await client.mock_set(build_ms=1000)
    began = time.monotonic()

    domids = await asyncio.gather(*(client.domain_create(config(), "{}") for _ in range(4)))

    assert time.monotonic() - began < 2.0
    assert len(set(domids)) == 4


async def test_a_fifth_build_waits_and_others_do_not(client: XenClient, config: MakeConfig) -> None:
    quick = await client.domain_create(config(), "{}")
    await client.mock_set(build_ms=400)
    began = time.monotonic()
    builds = [asyncio.create_task(client.domain_create(config(), "{}")) for _ in range(5)]
    await until_building(client, 5)

    await client.domain_unpause(quick)
    await client.domain_pause(quick)
    unblocked_after = time.monotonic() - began
    await asyncio.gather(*builds)

    assert unblocked_after < 0.4
    assert 0.8 <= time.monotonic() - began < 1.6


async def test_a_waiting_build_is_cancelled_at_once(client: XenClient, config: MakeConfig) -> None:
    await client.mock_fail("libxl_domain_create_new", "hang", count=4)
    running = [asyncio.create_task(client.domain_create(config(), "{}")) for _ in range(4)]
    while await client.mock_hanging() < 4:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    waiting = asyncio.create_task(client.domain_create(config(), "{}"))
    await client.hello()

    waiting.cancel()
    await asyncio.wait([waiting], timeout=1)

    assert waiting.cancelled()
    assert await client.mock_hanging() == 4
    for build in running:
        build.cancel()
    await asyncio.wait(running, timeout=5)
    assert all(build.cancelled() for build in running)


async def test_a_cancelled_build_leaves_no_domain(client: XenClient, config: MakeConfig) -> None:
    await client.mock_set(build_ms=30_000)
    build = asyncio.create_task(client.domain_create(config(), "{}"))
    await until_building(client, 1)
    free_before = await client.free_memory()

    build.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await build

    assert time.monotonic() - began < 5
    assert await guests(client) == set()
    assert await client.free_memory() > free_before


async def test_a_cancelled_build_is_waited_for_through_more_cancels(
    client: XenClient, config: MakeConfig
) -> None:
    await client.mock_set(build_ms=30_000, destroy_ms=200)
    build = asyncio.create_task(client.domain_create(config(), "{}"))
    await until_building(client, 1)

    for _ in range(5):
        build.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await build

    assert await guests(client) == set()


async def test_one_cancel_spares_the_other_builds(client: XenClient, config: MakeConfig) -> None:
    await client.mock_set(build_ms=500)
    wanted = [config() for _ in range(3)]
    builds = [asyncio.create_task(client.domain_create(each, "{}")) for each in wanted]
    await until_building(client, 3)

    builds[1].cancel()
    done = await asyncio.gather(*builds, return_exceptions=True)

    assert isinstance(done[1], asyncio.CancelledError)
    assert await guests(client) == {wanted[0]["c_info"]["name"], wanted[2]["c_info"]["name"]}


async def test_an_abort_by_libxl_itself_has_its_own_error(
    client: XenClient, config: MakeConfig
) -> None:
    await client.mock_fail("libxl_domain_create_new", rc=-22)

    with pytest.raises(XenAborted):
        await client.domain_create(config(), "{}")


async def test_a_half_made_domain_is_destroyed_at_the_second_try(
    client: XenClient, config: MakeConfig
) -> None:
    await client.mock_fail("libxl_domain_create_new", "fail_after")
    await client.mock_fail("libxl_domain_destroy", "fail")

    with pytest.raises(Exception, match="libxl_domain_create_new"):
        await client.domain_create(config(), "{}")

    assert await guests(client) == set()


async def test_a_hang_ends_when_it_is_cancelled(client: XenClient, config: MakeConfig) -> None:
    domid = await client.domain_create(config(), "{}")
    await client.mock_fail("libxl_domain_pause", "hang")
    pause = asyncio.create_task(client.domain_pause(domid))
    while not await client.mock_hanging():  # noqa: ASYNC110
        await asyncio.sleep(0.005)

    pause.cancel()

    with pytest.raises(asyncio.CancelledError):
        await pause
    await client.domain_pause(domid)


async def test_progress_is_told_while_a_guest_is_saved(
    client: XenClient, config: MakeConfig, tmp_path: Any
) -> None:
    domid = await client.domain_create(config(), "{}")
    await client.domain_unpause(domid)
    (tmp_path / "image").touch()
    await client.mock_set(save_ms=100)
    shares: list[float] = []

    await client.domain_suspend(domid, tmp_path / "image", progress=shares.append)

    assert shares
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
