"""Bonds: several interfaces that act as one."""

# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...datamodel.bond import Bond
from ...datamodel.declare import EMPTY, NULL, Ref
from ...datamodel.enums import BondMode, IpConfigurationMode
from ...datamodel.errors import (
    InvalidValue,
    PIFAlreadyBonded,
    PIFBondMoreThanOneIP,
    PIFBondNeedsMoreMembers,
    PIFIsNotPhysical,
    PIFUnmanaged,
    PIFVLANStillExists,
)
from ...datamodel.host import Host
from ...datamodel.network import Network
from ...datamodel.pif import PIF
from ...db.store import Store
from ...db.transaction import Transaction
from ...network.links import Link, LinkKind
from ...undo import Undo
from ..ports import Call, implements, implements_static
from .names import check_mac
from .pif import PIFService
from .records import create_pif, destroy_pif
from .uplinks import configuration_errors
from .vlan import check_free

ADDRESS = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS", "management")
NO_ADDRESS: dict[str, Any] = {
    "ip_configuration_mode": IpConfigurationMode.NONE,
    **dict.fromkeys(("IP", "netmask", "gateway", "DNS"), ""),
    "management": False,
}
MODES = {BondMode.BALANCE_SLB: BondMode.ACTIVE_BACKUP}
"""What a mode is made as, where the kernel has none that is safe on an unprepared switch."""


@dataclass
class BondService:
    store: Store
    pifs: PIFService
    host: Ref[Host]

    @implements_static(Bond.create)
    async def create(
        self,
        call: Call,
        network: Ref[Network],
        members: tuple[Ref[PIF], ...],
        MAC: str,
        mode: BondMode = BondMode.BALANCE_SLB,
        properties: Mapping[str, str] = EMPTY,
    ) -> Ref[Bond]:
        """The bond takes over the address of the member that has one, and is as up as that was."""
        mac = check_mac(MAC) if MAC else ""
        if properties:
            raise InvalidValue("properties", next(iter(properties))[:64])
        uplinks = self.pifs.uplinks
        async with uplinks.changing, Undo() as undo:
            slaves = [self.store.get(ref) for ref in dict.fromkeys(members)]
            self._check(slaves)
            with configuration_errors(NULL):
                device = await self._free_device()
            for slave in (s for s in slaves if s.currently_attached):
                undo.add(self.pifs.bring_up, slave.ref)
                await self.pifs.take_down(slave.ref)
            async with self.store.transaction() as tx:
                check_free(tx, network)
                bond, master = self._record(tx, network, slaves, device, mac, MODES.get(mode, mode))
            undo.add(self._forget, bond, slaves[0].ref)
            if any(slave.currently_attached for slave in slaves):
                await self.pifs.bring_up(master)
            undo.commit()
        return bond

    def _check(self, slaves: list[PIF]) -> None:
        if len(slaves) < 2:
            raise PIFBondNeedsMoreMembers
        for slave in slaves:
            if not slave.physical:
                raise PIFIsNotPhysical(slave.ref)
            if not slave.managed:
                raise PIFUnmanaged(slave.ref)
            if slave.bond_slave_of != NULL:
                raise PIFAlreadyBonded(slave.ref)
            if slave.VLAN_slave_of:
                raise PIFVLANStillExists(slave.ref)
            self.pifs.check_idle(slave)
        if len([s for s in slaves if _has_address(s)]) > 1:
            raise PIFBondMoreThanOneIP

    async def _free_device(self) -> str:
        """A name that no interface of the host and no record has."""
        used = {pif.device for pif in self.store.all(PIF)}
        number = 0
        while (name := f"bond{number}") in used or await self.pifs.uplinks.bridges.taken(name):
            number += 1
        return name

    def _record(
        self,
        tx: Transaction,
        network: Ref[Network],
        slaves: list[PIF],
        device: str,
        mac: str,
        mode: BondMode,
    ) -> tuple[Ref[Bond], Ref[PIF]]:
        first = next((s for s in slaves if s.management or _has_address(s)), slaves[0])
        link = Link(device, LinkKind.BOND, mac or first.MAC, min(s.MTU for s in slaves))
        taken = {name: first.row[name] for name in ADDRESS}
        master = create_pif(tx, self.host, link, network=network, physical=False, **taken)
        bond = tx.create(Bond, {"master": master, "mode": mode})
        for slave in slaves:
            tx.set(slave.ref, PIF.bond_slave_of, bond)
            tx.update(slave.ref, NO_ADDRESS)
        return bond, master

    async def _forget(self, bond: Ref[Bond], heir: Ref[PIF]) -> None:
        """The records of a bond that is down go; `heir` gets its address."""
        async with self.store.transaction() as tx:
            record = tx.get(bond)
            master = tx.get(record.master)
            for slave in record.slaves:
                tx.set(slave, PIF.bond_slave_of, NULL)
            tx.update(heir, {name: master.row[name] for name in ADDRESS})
            tx.destroy(bond)
            destroy_pif(tx, master.ref)

    @implements(Bond.destroy)
    async def destroy(self, call: Call, bond: Ref[Bond]) -> None:
        """Its address goes to the member whose MAC it had, which is as up as the bond was."""
        async with self.pifs.uplinks.changing:
            record = self.store.get(bond)
            master = self.store.get(record.master)
            if master.VLAN_slave_of:
                raise PIFVLANStillExists(master.ref)
            self.pifs.check_idle(master)
            slaves = [self.store.get(slave) for slave in record.slaves]
            heir = next((s for s in slaves if s.MAC == master.MAC), slaves[0] if slaves else None)
            if not master.managed or heir is None:
                async with self.store.transaction() as tx:
                    for slave in slaves:
                        tx.set(slave.ref, PIF.bond_slave_of, NULL)
                    tx.destroy(bond)
                    destroy_pif(tx, master.ref)
                return
            async with Undo() as undo:
                if master.currently_attached:
                    undo.add(self.pifs.bring_up, master.ref)
                    await self.pifs.take_down(master.ref)
                undo.commit()
            await self._forget(bond, heir.ref)
            if master.currently_attached:
                await self.pifs.bring_up(heir.ref)


def _has_address(pif: PIF) -> bool:
    return pif.ip_configuration_mode is not IpConfigurationMode.NONE
