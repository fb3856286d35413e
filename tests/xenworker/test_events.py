"""The list of domains arrives by events: the worker's own polling is set to a minute throughout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.client import XenClient

Config = dict[str, Any]
MakeConfig = Callable[..., Config]


@pytest.fixture
async def wanted(config: MakeConfig) -> Config:
    return config()


@pytest.fixture
async def domid(client: XenClient, wanted: Config, seen: Any) -> int:
    domid = await client.domain_create(wanted, "{}")
    await client.domain_unpause(domid)
    await seen.until_guest(domid, lambda guest: guest.ours and not guest.paused)
    return domid


async def test_the_list_comes_right_after_the_connection(client: XenClient, seen: Any) -> None:
    await seen.until(lambda seen: seen.guest(0) is not None)


async def test_a_pause_is_told(client: XenClient, seen: Any, domid: int) -> None:
    await client.domain_pause(domid)

    await seen.until_guest(domid, lambda guest: guest.paused)


@pytest.mark.parametrize("reason", ["poweroff", "reboot", "crash", "watchdog", "soft_reset"])
async def test_what_a_guest_does_by_itself_is_told(
    client: XenClient, seen: Any, domid: int, reason: str
) -> None:
    await client.mock_domain(domid, reason)

    await seen.until_guest(domid, lambda guest: guest.shutdown_reason == reason)


async def test_a_requested_shutdown_is_told(client: XenClient, seen: Any, domid: int) -> None:
    await client.domain_shutdown(domid)

    await seen.until_guest(domid, lambda guest: guest.shutdown_reason == "poweroff")


async def test_a_requested_reboot_is_told(client: XenClient, seen: Any, domid: int) -> None:
    await client.domain_reboot(domid)

    await seen.until_guest(domid, lambda guest: guest.shutdown_reason == "reboot")


async def test_the_end_of_a_domain_is_told(
    client: XenClient, seen: Any, domid: int, wanted: Config
) -> None:
    await client.mock_set(destroy_ms=300)
    destroy = asyncio.create_task(client.domain_destroy(domid, wanted["c_info"]["uuid"]))

    await seen.until_guest(domid, lambda guest: guest.dying)
    await seen.until_gone(domid)
    await destroy


async def test_a_shutdown_after_a_resume_is_told(
    client: XenClient, seen: Any, domid: int, tmp_path: Path
) -> None:
    (tmp_path / "image").touch()
    await client.domain_suspend(domid, tmp_path / "image")
    await seen.until_guest(domid, lambda guest: guest.shutdown_reason == "suspend")
    await client.domain_resume(domid)
    await seen.until_guest(domid, lambda guest: not guest.shutdown)

    await client.mock_domain(domid, "poweroff")

    await seen.until_guest(domid, lambda guest: guest.shutdown_reason == "poweroff")


async def test_a_shutdown_right_after_a_resume_is_told(
    client: XenClient, seen: Any, domid: int, tmp_path: Path
) -> None:
    (tmp_path / "image").touch()
    await client.domain_suspend(domid, tmp_path / "image")
    await client.domain_resume(domid)
    await client.mock_domain(domid, "poweroff")

    await seen.until_guest(domid, lambda guest: guest.shutdown_reason == "poweroff")


async def test_a_change_behind_our_back_is_told_at_the_next_poll(
    start_client: Callable[..., Awaitable[XenClient]],
    config: MakeConfig,
    watch: Any,
    tmp_path: Path,
) -> None:
    client = await start_client(poll_s=0.05)
    seen = watch(client)
    # A second worker on the same host stands for xl.
    other = await start_client(socket_path=tmp_path / "xl.sock", lock_path=tmp_path / "xl.lock")
    wanted = config()

    domid = await other.domain_create(wanted, "{}")
    await seen.until_guest(domid, lambda guest: guest.paused and guest.ours)
    await other.domain_unpause(domid)
    await seen.until_guest(domid, lambda guest: not guest.paused)
    await other.domain_destroy(domid, wanted["c_info"]["uuid"])
    await seen.until_gone(domid)


async def test_nothing_is_told_when_nothing_changes(
    start_client: Callable[..., Awaitable[XenClient]], config: MakeConfig, watch: Any
) -> None:
    client = await start_client(poll_s=0.02)
    seen = watch(client)
    domid = await client.domain_create(config(), "{}")
    await client.domain_unpause(domid)
    await seen.until_guest(domid, lambda guest: guest.ours and not guest.paused)
    lists = seen.lists

    for _ in range(5):
        await client.domain_list()
        await asyncio.sleep(0.03)

    assert seen.lists == lists
