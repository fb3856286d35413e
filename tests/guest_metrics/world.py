"""What the tests of guest metrics act on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.vm import VM
from xapid.datamodel.vm_guest_metrics import VMGuestMetrics
from xapid.db.store import Store
from xapid.services.guest_metrics.service import GuestMetrics
from xapid.xen.types import Domain
from xapid.xen.xenstore import Xenstore
from xapid.xen.xenstored_mock import MockXenstored

PATIENCE_S = 10.0


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


def a_domain(domid: int, uuid: str, **more: Any) -> Domain:
    values: dict[str, Any] = {
        "name": None,
        "ours": True,
        "running": True,
        "blocked": False,
        "paused": False,
        "shutdown": False,
        "shutdown_reason": "none",
        "dying": False,
        "domain_type": "pv",
        "current_memkb": 1,
        "max_memkb": 1,
        "cpu_time_ns": 0,
        "vcpu_online": 1,
        "vcpu_max_id": 0,
    }
    return Domain(domid=domid, uuid=uuid, **(values | more))


@dataclass
class Domains:
    """Xen's list of domains, as the client of the worker gives it."""

    listeners: list[Callable[[list[Domain]], None]] = field(default_factory=list)

    def on_domains(self, listener: Callable[[list[Domain]], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def show(self, *domains: Domain) -> None:
        zero = a_domain(0, "00000000-0000-0000-0000-000000000000")
        for listener in self.listeners:
            listener([zero, *domains])


@dataclass
class World:
    store: Store
    xenstored: MockXenstored
    xenstore: Xenstore
    guests: Xenstore
    domains: Domains
    service: GuestMetrics

    async def vm(self) -> VM:
        """A VM that has a domain of the test's choice."""
        values = {"name_label": "guest", "memory_static_max": 1}
        values |= {"memory_dynamic_max": 1, "memory_dynamic_min": 1}
        ref = await self.store.transact(lambda tx: tx.create(VM, values))
        return self.store.get(ref)

    async def tell(self, domid: int, told: dict[str, str | bytes]) -> None:
        """Let the guest write, in this order."""
        for path, value in told.items():
            raw = value.encode() if isinstance(value, str) else value
            await self.guests.write(f"/local/domain/{domid}/{path}", raw)

    def shown(self, vm: VM) -> VMGuestMetrics | None:
        metrics: Ref[VMGuestMetrics] = self.store.get(vm.ref).guest_metrics
        return None if metrics == NULL else self.store.get(metrics)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds; the store's events say when to look."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self.store.feed.wait(self.store.feed.current_id)
