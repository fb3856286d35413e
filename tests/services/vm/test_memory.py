"""The host's memory, promised to builds that begin together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from xapid.datamodel.errors import HostNotEnoughFreeMemory
from xapid.services.vm.memory import MemoryLedger
from xapid.xen.types import Domain

from .test_watcher import DOM0

GIB_KIB = 1 << 20


@dataclass
class Host:
    """A host with some free memory; each question takes a moment."""

    free_kib: int
    domains: dict[str, int] = field(default_factory=dict)
    asked: int = 0

    async def free_memory(self) -> int:
        await asyncio.sleep(0)
        self.asked += 1
        return self.free_kib

    async def domain_list(self) -> list[Domain]:
        await asyncio.sleep(0)
        return [replace(DOM0, uuid=u, current_memkb=kib) for u, kib in self.domains.items()]

    def give(self, uuid: str, kib: int) -> None:
        """Xen moves free memory to a domain."""
        self.domains[uuid] = self.domains.get(uuid, 0) + kib
        self.free_kib -= kib


async def test_builds_at_once_are_promised_no_more_than_there_is() -> None:
    host = Host(10 * GIB_KIB)
    ledger = MemoryLedger(host)
    let_go, refused = asyncio.Event(), asyncio.Semaphore(0)

    async def build(uuid: str) -> bool:
        try:
            async with ledger.reserved(uuid, GIB_KIB):
                await let_go.wait()
                return True
        except HostNotEnoughFreeMemory:
            refused.release()
            return False

    builds = [asyncio.create_task(build(str(number))) for number in range(32)]
    async with asyncio.timeout(20):
        for _ in range(22):
            await refused.acquire()
    let_go.set()

    assert sum(await asyncio.gather(*builds)) == 10
    assert host.asked < 32, "they share what they are told"


async def test_what_a_build_already_has_counts_once() -> None:
    host = Host(4 * GIB_KIB)
    ledger = MemoryLedger(host)

    async with ledger.reserved("half", 2 * GIB_KIB):
        host.give("half", GIB_KIB)
        assert await ledger.available_kib() == 2 * GIB_KIB

    assert await ledger.available_kib() == 3 * GIB_KIB


async def test_a_build_that_ends_during_the_look_keeps_nobody_out() -> None:
    host = Host(4 * GIB_KIB)
    ledger = MemoryLedger(host)
    async with ledger.reserved("first", 3 * GIB_KIB):
        second = asyncio.create_task(ledger.reserved("second", 4 * GIB_KIB).__aenter__())
        await asyncio.sleep(0)

    await asyncio.wait_for(second, 20)


async def test_what_is_not_there_is_refused_with_bytes() -> None:
    ledger = MemoryLedger(Host(GIB_KIB))

    with pytest.raises(HostNotEnoughFreeMemory) as refused:
        async with ledger.reserved("large", 2 * GIB_KIB):
            pass

    assert [int(each) for each in refused.value.wire()[1:]] == [2 << 30, 1 << 30]
