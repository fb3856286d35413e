"""What every kind of `Addresses` keeps: in memory, and the kernel's in a namespace of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.network.addresses import OTHER_METRIC, Address, NoLease
from xapid.network.dhcp import DhcpClient, _born, _ended
from xapid.network.kernel_addresses import KernelAddresses
from xapid.network.links import NoSuchLink
from xapid.network.memory import MemoryBridges
from xapid.network.memory_addresses import MemoryAddresses

from .namespace import add_card, in_namespace, need, set_state

FIRST = Address("10.1.0.5", "255.255.255.0", "10.1.0.1")
SECOND = Address("10.2.0.5", "255.255.0.0")
Play = Callable[[Callable[[Any], Awaitable[None]]], None]


def play_in_memory(scenario: Callable[[Any], Awaitable[None]]) -> None:
    asyncio.run(_run(scenario, MemoryAddresses(MemoryBridges(others={"eth0"}))))


async def _run(scenario: Callable[[Any], Awaitable[None]], addresses: Any) -> None:
    await scenario(addresses)


@pytest.fixture(params=["memory", "kernel"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    def play_on_kernel(scenario: Callable[[Any], Awaitable[None]]) -> None:
        async def main() -> None:
            from pyroute2 import AsyncIPRoute

            async with AsyncIPRoute() as netlink:
                await need(netlink, "bridge")
                await add_card(netlink, "eth0")
                await set_state(netlink, "eth0", "up")
            addresses = KernelAddresses(tmp_path, tmp_path / "resolv.conf")
            try:
                await scenario(addresses)
            finally:
                await addresses.close()

        in_namespace(main)

    return play_in_memory if request.param == "memory" else play_on_kernel


def test_a_static_address_takes_the_place_of_another(play: Play) -> None:
    async def scenario(addresses: Any) -> None:
        assert await addresses.look("eth0") is None

        for address in (FIRST, FIRST, SECOND, FIRST):
            await addresses.set_static("eth0", address, OTHER_METRIC)
            assert await addresses.look("eth0") == address

        await addresses.clear("eth0")
        assert await addresses.look("eth0") is None
        await addresses.clear("eth0")

    play(scenario)


def test_an_interface_that_is_not_there_gets_no_address(play: Play) -> None:
    async def scenario(addresses: Any) -> None:
        assert await addresses.look("eth9") is None
        with pytest.raises(NoSuchLink):
            await addresses.set_static("eth9", FIRST, OTHER_METRIC)

    play(scenario)


def test_the_name_servers_are_replaced_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# by hand\nsearch example.org\nnameserver 192.0.2.53\noptions rotate\n")
    addresses = KernelAddresses(tmp_path, file)

    asyncio.run(addresses.set_dns("eth0", ["10.1.0.53", "10.1.0.54"]))
    asyncio.run(addresses.set_dns("eth0", []))

    assert file.read_text() == (
        "# by hand\nsearch example.org\noptions rotate\n"
        "nameserver 10.1.0.53\nnameserver 10.1.0.54\n"
    )
    assert file.stat().st_mode & 0o777 == 0o644


def pretended_client(where: Path) -> Callable[[str, Path, int], list[str]]:
    """A client that gives the interface an address and stays, or goes when told to."""
    script = where / "client"
    script.write_text(
        f"#!/bin/sh\n[ $2 = $IF_METRIC ] && echo $$ >>{where}/started\n"
        "ip address add 10.3.0.7/24 dev $1 2>/dev/null\n"
        "exec sleep 1000\n"
    )
    script.chmod(0o755)
    return lambda name, files, metric: [str(script), name, str(metric)]


def test_a_dhcp_client_is_kept_alive_and_found_again(tmp_path: Path) -> None:
    def starts() -> list[int]:
        return [int(pid) for pid in (tmp_path / "started").read_text().split()]

    async def scenario() -> None:
        from pyroute2 import AsyncIPRoute

        async with AsyncIPRoute() as netlink:
            await need(netlink, "bridge")
            await add_card(netlink, "eth0")
            await set_state(netlink, "eth0", "up")
        command = pretended_client(tmp_path)
        first = KernelAddresses(tmp_path, client=command)
        await first.set_static("eth0", FIRST, OTHER_METRIC)
        await first.start_dhcp("eth0", OTHER_METRIC)
        leased = await first.leased("eth0", within_s=10)
        assert (leased.ip, leased.netmask) == ("10.3.0.7", "255.255.255.0")
        await first.close()

        second = KernelAddresses(tmp_path, client=command)
        await second.start_dhcp("eth0", OTHER_METRIC)
        assert (await second.leased("eth0", within_s=10)).ip == "10.3.0.7"
        assert len(starts()) == 1

        os.kill(starts()[0], 9)
        async with asyncio.timeout(10):
            while len(starts()) < 2:  # noqa: ASYNC110 (another program writes it)
                await asyncio.sleep(0.05)
        await second.clear("eth0")
        assert await second.look("eth0") is None
        assert not any(map(_born, starts()))
        await second.close()

    in_namespace(scenario)


def test_without_a_client_there_is_no_lease(tmp_path: Path) -> None:
    client = DhcpClient("eth0", tmp_path, None)
    client._command = None

    with pytest.raises(NoLease, match="dhclient"):
        client.start(OTHER_METRIC)


def test_without_a_server_there_is_no_lease() -> None:
    async def scenario(addresses: Any) -> None:
        addresses.lease = None
        await addresses.start_dhcp("eth0", OTHER_METRIC)
        with pytest.raises(NoLease):
            await addresses.leased("eth0")

    play_in_memory(scenario)


async def test_what_linux_no_longer_takes_for_a_process_has_ended() -> None:
    let_go = threading.Event()
    thread = threading.Thread(target=let_go.wait)
    thread.start()
    assert thread.native_id is not None

    try:
        async with asyncio.timeout(5):  # refused as a process that is just being reaped
            await _ended(thread.native_id)
    finally:
        let_go.set()
        thread.join()
