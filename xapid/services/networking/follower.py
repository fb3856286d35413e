"""Follows the host's interfaces: what changes there stands in the records within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from ...datamodel.bond import Bond
from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import BondMode, IpConfigurationMode
from ...datamodel.pif import PIF
from ...db.failures import StorageFailure
from ...db.store import Store
from ...db.transaction import Transaction
from ...network.addresses import Address
from ...network.driver import NetworkError
from ...network.links import Counters, Link, LinkKind
from .records import bond_of, changed, follow_management, metrics_of, plain_pif
from .uplinks import Uplinks

log = structlog.get_logger(__name__)

AGAIN_AFTER_S = 5.0
MEASURE_EVERY_S = 5.0
KIB = 1024


@dataclass
class LinkFollower:
    """Gathers events while it works, so that a storm of them costs no more than it must."""

    store: Store
    uplinks: Uplinks
    now: Callable[[], datetime]
    _names: set[str] = field(default_factory=set)
    _known: dict[Ref[PIF], str] = field(default_factory=dict)
    _passed: dict[str, Counters] = field(default_factory=dict)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Begin to follow."""
        work = (self._follow(), self._write(), self._measure())
        self._tasks = tuple(asyncio.create_task(each, name="links") for each in work)

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def hear(self, name: str) -> None:
        """An interface has changed; "" for any."""
        if not name or any(name in self._names_of(pif) for pif in self.store.all(PIF)):
            self._names.add(name)
            self._heard.set()

    async def _follow(self) -> None:
        while True:
            try:
                await self.uplinks.links.follow(self.hear)
            except (OSError, NetworkError) as error:
                log.error("the network cannot be followed", reason=str(error))
            except Exception:
                log.exception("bug while following the network")
            await asyncio.sleep(AGAIN_AFTER_S)

    async def _write(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            names, self._names = self._names, set()
            try:
                await self.look(names)
            except (NetworkError, StorageFailure) as error:
                log.warning("what changed in the network is not recorded", reason=str(error))
            except Exception:
                log.exception("bug while looking at the network")

    async def _measure(self) -> None:
        while True:
            try:
                await self.measure()
            except StorageFailure as error:
                log.warning("what passes through interfaces is not recorded", reason=str(error))
            except Exception:
                log.exception("bug while measuring the network")
            await asyncio.sleep(MEASURE_EVERY_S)

    async def measure(self) -> None:
        """Write the rates since the last look; what has not changed makes no event."""
        names = {name: pif for pif, name in self._known.items() if name}
        before, self._passed = self._passed, await self.uplinks.links.counters(names)
        async with self.store.transaction() as tx:
            for name, after in self._passed.items():
                pif = tx.find(PIF, names[name])
                if pif is not None and pif.metrics != NULL:
                    rates = _rates(before.get(name, after), after)
                    changed(tx, pif.metrics, rates, self.now())

    def _names_of(self, pif: PIF) -> set[str]:
        """The interfaces whose events tell of a PIF."""
        network = self.store.get(pif.network)
        bond = bond_of(self.store, pif)
        members = {self.store.get(slave).device for slave in bond.slaves} if bond else set()
        return {pif.device, network.bridge, self._known.get(pif.ref, ""), *members}

    async def look(self, names: set[str]) -> None:
        """Bring the records of these interfaces up to date; "" stands for all."""
        every = "" in names
        pifs = [p for p in self.store.all(PIF) if every or self._names_of(p) & names]
        pifs.sort(key=lambda p: (p.VLAN, bool(p.bond_master_of)))  # members, bonds, VLANs
        found: list[tuple[Ref[PIF], Link | None, Address | None]] = []
        for pif in pifs:
            name = self._known[pif.ref] = await self.uplinks.name_of(pif)
            link = await self.uplinks.links.look(name) if name else None
            bridge = self.store.get(pif.network).bridge
            holder = bridge if link is not None and link.master == bridge else name
            found.append((pif.ref, link, await self.uplinks.addresses.look(holder)))
        async with self.store.transaction() as tx:
            for ref, link, address in found:
                if tx.exists(ref):
                    self._record(tx, tx.get(ref), link, address)

    def _record(
        self, tx: Transaction, pif: PIF, link: Link | None, address: Address | None
    ) -> None:
        if pif.metrics != NULL:
            values = {"carrier": False, "speed": 0, "duplex": False}
            if link is not None:
                values = metrics_of(link)
                if link.kind is LinkKind.VLAN and (below := plain_pif(self.store, pif.device)):
                    values |= {key: tx.get(below.metrics).row[key] for key in ("speed", "duplex")}
            changed(tx, pif.metrics, values, self.now())
        told: dict[str, Any] = {}
        if not pif.managed:
            told["currently_attached"] = link is not None and link.up
        if not pif.managed or pif.ip_configuration_mode is IpConfigurationMode.DHCP:
            known = address or Address("", "")
            told |= {"IP": known.ip, "netmask": known.netmask, "gateway": known.gateway}
        if told:
            changed(tx, pif.ref, told, None)
            follow_management(tx, pif.ref)
        if pif.bond_master_of and link is not None:
            self._record_bond(tx, tx.get(pif.bond_master_of[0]), link)

    def _record_bond(self, tx: Transaction, bond: Bond, link: Link) -> None:
        slaves = {tx.get(ref).device: tx.get(ref) for ref in bond.slaves}
        up = [s for s in slaves.values() if s.metrics != NULL and tx.get(s.metrics).carrier]
        one_carries = bond.mode is BondMode.ACTIVE_BACKUP and link.active in slaves
        active = slaves[link.active].ref if one_carries else NULL
        changed(tx, bond.ref, {"links_up": len(up), "active_slave": active}, None)


def _rates(before: Counters, after: Counters) -> dict[str, float]:
    """Units of 1,024 bytes a second; 0 where the counters began anew."""
    seconds = (after.at_ns - before.at_ns) / 1e9
    pairs = {
        "io_read_kbs": after.received - before.received,
        "io_write_kbs": after.sent - before.sent,
    }
    return {
        name: max(0.0, passed / KIB / seconds) if seconds else 0.0 for name, passed in pairs.items()
    }
