"""VLANs: a tag on an interface, and the interface that it appears as."""

# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from dataclasses import dataclass

from ...datamodel.declare import NULL, Ref
from ...datamodel.errors import (
    CannotAddVLANToBondSlave,
    HandleInvalid,
    NetworkAlreadyConnected,
    PIFDeviceNotFound,
    PIFIsManagementInterface,
    PIFIsPhysical,
    PIFIsVLAN,
    PIFUnmanaged,
    VLANInUse,
    VLANTagInvalid,
)
from ...datamodel.host import Host
from ...datamodel.network import Network
from ...datamodel.pif import PIF
from ...datamodel.pool import Pool
from ...datamodel.vlan import VLAN
from ...db.store import Store
from ...db.transaction import Transaction
from ...network.links import MAX_TAG, Link, LinkKind
from ..ports import Call, implements, implements_static
from .pif import PIFService
from .records import create_pif, destroy_pif, plain_pif


@dataclass
class VLANService:
    store: Store
    pifs: PIFService
    host: Ref[Host]

    @implements_static(VLAN.create)
    async def create(
        self, call: Call, tagged_PIF: Ref[PIF], tag: int, network: Ref[Network]
    ) -> Ref[VLAN]:
        """It is brought up at once where the interface that carries it is up."""
        if not 0 <= tag <= MAX_TAG:
            raise VLANTagInvalid(str(tag))
        async with self.pifs.uplinks.changing:
            async with self.store.transaction() as tx:
                vlan, pif = self._record(tx, tagged_PIF, tag, network)
            if self.store.get(tagged_PIF).currently_attached:
                try:
                    await self.pifs.bring_up(pif)
                except BaseException:
                    await self._forget(vlan)
                    raise
        return vlan

    def _record(
        self, tx: Transaction, below: Ref[PIF], tag: int, network: Ref[Network]
    ) -> tuple[Ref[VLAN], Ref[PIF]]:
        carrier = tx.get(below)
        if carrier.VLAN >= 0:
            raise PIFIsVLAN(below)
        if carrier.bond_slave_of != NULL:
            raise CannotAddVLANToBondSlave(below)
        if not carrier.managed:
            raise PIFUnmanaged(below)
        if any(tx.get(vlan).tag == tag for vlan in carrier.VLAN_slave_of):
            raise VLANInUse(carrier.device, str(tag))
        check_free(tx, network)
        link = Link(carrier.device, LinkKind.VLAN, mac=carrier.MAC, mtu=carrier.MTU)
        pif = create_pif(tx, carrier.host, link, network=network, VLAN=tag, physical=False)
        vlan = tx.create(VLAN, {"tagged_PIF": below, "untagged_PIF": pif, "tag": tag})
        tx.set(pif, PIF.VLAN_master_of, vlan)
        return vlan, pif

    async def _forget(self, vlan: Ref[VLAN]) -> None:
        async with self.store.transaction() as tx:
            record = tx.get(vlan)
            tx.set(record.untagged_PIF, PIF.VLAN_master_of, NULL)
            tx.destroy(vlan)
            destroy_pif(tx, record.untagged_PIF)

    @implements(VLAN.destroy)
    async def destroy(self, call: Call, vlan: Ref[VLAN]) -> None:
        """One of the administrator's is only forgotten."""
        async with self.pifs.uplinks.changing:
            record = self.store.get(vlan)
            pif = self.store.get(record.untagged_PIF)
            if pif.management:
                raise PIFIsManagementInterface(pif.ref)
            self.pifs.check_idle(pif)
            if pif.managed and pif.currently_attached:
                await self.pifs.take_down(pif.ref)
            await self._forget(vlan)

    @implements(PIF.destroy)
    async def destroy_pif(self, call: Call, pif: Ref[PIF]) -> None:
        vlan = self.store.get(pif).VLAN_master_of
        if vlan == NULL:
            raise PIFIsPhysical(pif)
        await self.destroy(call, vlan)

    @implements_static(PIF.create_VLAN)
    async def create_vlan(
        self, call: Call, device: str, network: Ref[Network], host: Ref[Host], VLAN: int
    ) -> Ref[PIF]:
        if host != self.host:
            raise HandleInvalid("host", host)
        carrier = plain_pif(self.store, device)
        if carrier is None:
            raise PIFDeviceNotFound
        vlan = await self.create(call, carrier.ref, VLAN, network)
        return self.store.get(vlan).untagged_PIF

    @implements_static(Pool.create_VLAN)
    async def create_on_hosts(
        self, call: Call, device: str, network: Ref[Network], VLAN: int
    ) -> tuple[Ref[PIF], ...]:
        return (await self.create_vlan(call, device, network, self.host, VLAN),)

    @implements_static(Pool.create_VLAN_from_PIF)
    async def create_from_pif(
        self, call: Call, pif: Ref[PIF], network: Ref[Network], VLAN: int
    ) -> tuple[Ref[PIF], ...]:
        vlan = await self.create(call, pif, VLAN, network)
        return (self.store.get(vlan).untagged_PIF,)


def check_free(tx: Transaction, network: Ref[Network]) -> None:
    """Refuse a second interface of the host on one network. Raises NETWORK_ALREADY_CONNECTED."""
    for connected in tx.get(network).PIFs:
        raise NetworkAlreadyConnected(network, connected)
