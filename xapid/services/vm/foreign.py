"""Domains that another toolstack made: shown as VM records, never touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from ...datamodel.declare import Ref
from ...datamodel.enums import VmPowerState
from ...datamodel.host import Host
from ...datamodel.vm import VM
from ...db.store import Store
from ...db.text import clean_text
from ...xen.plan import KIB
from ...xen.types import Domain

log = structlog.get_logger(__name__)


def _leftover(domain: Domain) -> bool:
    """A build in its first moments, or what is left of ours after its VM was destroyed."""
    return not domain.name or domain.dying


@dataclass
class ForeignDomains:
    """Keeps one volatile VM record for each domain that no VM of ours stands for."""

    store: Store
    host: Ref[Host]
    _writing: asyncio.Task[None] | None = None
    _latest: tuple[Domain, ...] = ()
    _shown: dict[str, Ref[VM]] = field(default_factory=dict)

    def update(self, domains: Iterable[Domain]) -> None:
        """Take the list of domains; the records follow at once."""
        self._latest = tuple(d for d in domains if d.domid != 0)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="foreign domains")

    async def _write(self) -> None:
        try:
            await self._reflect(self._latest)
        except Exception:
            log.exception("foreign domains not shown")

    async def _reflect(self, domains: tuple[Domain, ...]) -> None:
        there = {d.uuid: d for d in domains if not (self._is_ours(d) or _leftover(d))}
        if not (there or self._shown):
            return
        shown = dict(self._shown)
        async with self.store.transaction() as tx:
            for uuid in shown.keys() - there.keys():
                tx.destroy(shown.pop(uuid))
            for uuid, domain in there.items():
                values = self._values(domain)
                if uuid in shown:
                    tx.update(shown[uuid], values)
                else:
                    values["is_foreign_domain"] = True
                    shown[uuid] = tx.create(VM, values, uuid=uuid, volatile=True)
                    log.info("a domain that is not ours", domid=domain.domid, name=domain.name)
        self._shown = shown

    def _is_ours(self, domain: Domain) -> bool:
        vm = self.store.by_uuid(VM, domain.uuid)
        return vm is not None and not self.store.get(vm).is_foreign_domain

    def _values(self, domain: Domain) -> dict[str, object]:
        memory = domain.max_memkb * KIB
        return {
            "name_label": clean_text(domain.name or f"domain {domain.domid}"),
            "name_description": "Made by another toolstack; xapid only shows it.",
            "power_state": VmPowerState.PAUSED if domain.paused else VmPowerState.RUNNING,
            "domid": domain.domid,
            "resident_on": self.host,
            "memory_static_max": memory,
            "memory_dynamic_max": memory,
            "memory_target": domain.current_memkb * KIB,
            "VCPUs_max": domain.vcpu_max_id + 1,
            "VCPUs_at_startup": domain.vcpu_online,
        }
