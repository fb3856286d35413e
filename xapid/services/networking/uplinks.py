"""Interfaces of the host as uplinks of networks: brought up into their bridges, and down again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from ...datamodel.bond import Bond
from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import BondMode, IpConfigurationMode
from ...datamodel.errors import (
    ApiError,
    BridgeNotAvailable,
    PIFConfigurationError,
    PIFDeviceNotFound,
)
from ...datamodel.network import Network
from ...datamodel.pif import PIF
from ...db.store import Store
from ...network.addresses import MANAGEMENT_METRIC, OTHER_METRIC, Address, Addresses, NoLease
from ...network.driver import MAX_MTU, MIN_MTU, Bridge, Bridges, NetworkError
from ...network.links import BondPlan, LinkKind, Links, NoSuchLink
from ...undo import Undo
from .failures import network_errors
from .records import bond_of, follow_management, vlans_on

log = structlog.get_logger(__name__)

KERNEL_MODES = {
    BondMode.ACTIVE_BACKUP: "active-backup",
    BondMode.LACP: "802.3ad",
}
"""Those that a bond of ours can have: see `bond.MODES`."""


@dataclass
class Uplinks:
    """Brings PIFs up and down, one change at a time; a bridge has a lock of its own."""

    store: Store
    links: Links
    bridges: Bridges
    addresses: Addresses
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _coming: set[Ref[Network]] = field(default_factory=set)
    _locks: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    def lock(self, network: Ref[Network]) -> asyncio.Lock:
        """Held while the network's bridge is made or removed."""
        return self._locks[network]

    def hold(self, network: Network) -> bool:
        """Whether an interface of the host holds the network's bridge."""
        pifs = (self.store.get(pif) for pif in network.PIFs)
        return network.ref in self._coming or any(p.managed and p.currently_attached for p in pifs)

    async def restore(self) -> None:
        """At the daemon's start: bring up again what was up. What fails is logged."""
        try:
            async with self.changing:
                await self._follow_names()
        except NetworkError as error:
            log.error("the interfaces of the host cannot be looked at", reason=str(error))
        pifs = [p for p in self.store.all(PIF) if p.managed and p.currently_attached]
        for pif in sorted(pifs, key=lambda p: p.VLAN):  # what carries a VLAN comes first
            try:
                async with self.changing:
                    await self.bring_up(pif.ref)
            except ApiError as error:
                log.error("an interface is not up again", pif=pif.device, error=str(error))
        try:
            async with self.changing:
                await self._sweep()
        except NetworkError as error:
            log.warning("interfaces that nobody needs may be left", reason=str(error))

    async def _follow_names(self) -> None:
        """A card keeps its PIF by its MAC although a new kernel or a rule calls it otherwise."""
        cards = [link for link in await self.links.all() if link.kind is LinkKind.HARDWARE]
        renamed: dict[str, str] = {}
        for pif in self.store.all(PIF):
            names = [card.name for card in cards if card.mac == pif.MAC]
            if pif.physical and len(names) == 1 and names[0] != pif.device:
                log.warning("an interface is called otherwise now", was=pif.device, now=names[0])
                renamed[pif.device] = names[0]
        async with self.store.transaction() as tx:
            for pif in self.store.all(PIF):
                if pif.device in renamed:
                    tx.set(pif.ref, PIF.device, renamed[pif.device])

    async def _sweep(self) -> None:
        """Remove VLANs and bonds of ours that a killed daemon left without a PIF that is up."""
        links = [link for link in await self.links.all() if link.owner is not None]
        for link in sorted(links, key=lambda each: each.kind is not LinkKind.VLAN):
            ref = self.store.by_uuid(PIF, link.owner or "")
            if ref is not None and self._needed(self.store.get(ref)):
                continue
            if link.kind in (LinkKind.VLAN, LinkKind.BOND):
                log.info("an interface that nobody needs is removed", interface=link.name)
                await self._leave(link.name)
                await self.links.remove(link.name, link.owner or "")

    def _needed(self, pif: PIF) -> bool:
        """Whether an interface is up, or carries a VLAN that is."""
        vlans = (vlan for _, vlan in vlans_on(self.store, pif))
        return pif.currently_attached or any(vlan.currently_attached for vlan in vlans)

    async def carry(self, network: Network) -> None:
        """Bring up the network's interfaces for a guest that attaches to it.

        Raises BRIDGE_NOT_AVAILABLE, also where the interface is managed by somebody else who
        has not made the bridge.
        """
        for ref in network.PIFs:
            pif = self.store.get(ref)
            if not pif.managed:
                await self._check_theirs(network)
            elif not pif.currently_attached and pif.bond_slave_of == NULL:
                try:
                    async with self.changing:
                        await self.bring_up(ref)
                except ApiError as error:
                    log.error("a network has no uplink", pif=pif.device, error=str(error))
                    raise BridgeNotAvailable(network.bridge) from error

    async def _check_theirs(self, network: Network) -> None:
        with network_errors(network.bridge):
            if await self.bridges.look(network.bridge) is None:
                raise BridgeNotAvailable(network.bridge)

    async def name_of(self, pif: PIF) -> str:
        """What the host calls the interface; "" for a VLAN that is not there."""
        if pif.VLAN < 0:
            return pif.device
        return await self.links.find_vlan(pif.device, pif.VLAN)

    async def bring_up(self, ref: Ref[PIF]) -> None:
        """Have a managed interface up, in its network's bridge and with its address.

        `changing` is held. Raises PIF_DEVICE_NOT_FOUND, PIF_CONFIGURATION_ERROR,
        BRIDGE_NOT_AVAILABLE as the former; then it is as it was.
        """
        pif = self.store.get(ref)
        network = self.store.get(pif.network)
        self._coming.add(network.ref)
        try:
            async with Undo() as undo:
                with configuration_errors(ref):
                    name = await self._link(pif)
                    undo.add(self._lower, pif, name)
                    async with self.lock(network.ref):
                        bridge = await self._plug(pif, network, name)
                    undo.add(self._leave, name)
                    await self.links.set_up(name, self._mtu(pif, network))
                    if bridge.owner is not None:
                        await self.addresses.clear(name)  # what is in a bridge has none of its own
                    try:
                        await self.configure(pif, bridge.name)
                    except NoLease as error:  # guests need the uplink all the same
                        log.error("an interface gets no address", reason=str(error))
                await self.store.set(ref, PIF.currently_attached, True)
                undo.commit()
        finally:
            self._coming.discard(network.ref)

    async def _plug(self, pif: PIF, network: Network, name: str) -> Bridge:
        mtu = self._mtu(pif, network)
        bridge = await self.bridges.ensure(network.bridge, mtu, network.uuid)
        await self.links.join(name, bridge.name, give_address=bridge.owner is not None)
        return bridge

    def _mtu(self, pif: PIF, network: Network) -> int:
        """The network's own wish, in the key that clients of that era set, or the PIF's."""
        wish = network.other_config.get("mtu", "")
        number = int(wish) if wish.isascii() and wish.isdigit() and len(wish) < 6 else 0
        return number if MIN_MTU <= number <= MAX_MTU else pif.MTU

    async def _link(self, pif: PIF) -> str:
        """Have the interface itself, and what it is made of: its name."""
        if pif.VLAN_master_of != NULL:
            below = self.store.get(self.store.get(pif.VLAN_master_of).tagged_PIF)
            parent = await self._link(below)
            await self.links.set_up(parent)
            return await self.links.ensure_vlan(parent, pif.VLAN, pif.uuid)
        if bond := bond_of(self.store, pif):
            await self.links.ensure_bond(pif.device, self._bond_plan(bond, pif), pif.uuid)
        elif await self.links.look(pif.device) is None:
            raise PIFDeviceNotFound
        return pif.device

    def _bond_plan(self, bond: Bond, master: PIF) -> BondPlan:
        members = tuple(sorted(self.store.get(slave).device for slave in bond.slaves))
        return BondPlan(members, KERNEL_MODES[bond.mode], master.MAC, master.MTU)

    async def configure(self, pif: PIF, bridge: str) -> None:
        """Give the bridge the address that the PIF is configured to have. Raises NetworkError.

        One by DHCP comes later: see `leased`.
        """
        mode = pif.ip_configuration_mode
        metric = MANAGEMENT_METRIC if pif.management else OTHER_METRIC
        if mode is IpConfigurationMode.STATIC:
            address = Address(pif.IP, pif.netmask, pif.gateway)
            await self.addresses.set_static(bridge, address, metric)
        elif mode is IpConfigurationMode.DHCP:
            await self.addresses.start_dhcp(bridge, metric)
        elif not self._adopted(await self.bridges.look(bridge)):
            await self.addresses.clear(bridge)
        if mode is not IpConfigurationMode.NONE and pif.DNS:
            await self.addresses.set_dns(bridge, pif.DNS.split(","))

    async def leased(self, ref: Ref[PIF]) -> None:
        """Wait until a PIF that is to have an address by DHCP has it. Raises NoLease.

        `changing` is not held: a server that does not answer keeps nobody from his network.
        """
        pif = self.store.get(ref)
        if not pif.currently_attached or pif.ip_configuration_mode is not IpConfigurationMode.DHCP:
            return
        found = await self.addresses.leased(self.store.get(pif.network).bridge)
        async with self.store.transaction() as tx:
            now = tx.find(PIF, ref)
            if now is not None and now.ip_configuration_mode is IpConfigurationMode.DHCP:
                given = {"IP": found.ip, "netmask": found.netmask, "gateway": found.gateway}
                tx.update(ref, given)
                follow_management(tx, ref)

    @staticmethod
    def _adopted(bridge: Bridge | None) -> bool:
        return bridge is None or bridge.owner is None

    async def take_down(self, ref: Ref[PIF]) -> None:
        """Take a managed interface down; the bridge stays for `WireService.take_down`.

        `changing` is held. Raises PIF_CONFIGURATION_ERROR.
        """
        pif = self.store.get(ref)
        network = self.store.get(pif.network)
        with configuration_errors(ref):
            name = await self.name_of(pif)
            async with self.lock(network.ref):
                if pif.ip_configuration_mode is not IpConfigurationMode.NONE:
                    await self.addresses.clear(network.bridge)
                if name:
                    await self._leave(name)
            async with self.store.transaction() as tx:
                gone = {"currently_attached": False}
                if pif.ip_configuration_mode is IpConfigurationMode.DHCP:
                    gone |= {"IP": "", "netmask": "", "gateway": ""}  # type: ignore[dict-item]
                tx.update(ref, gone)
            if name:
                await self._lower(self.store.get(ref), name)

    async def _leave(self, name: str) -> None:
        link = await self.links.look(name)
        if link is not None and link.master:
            await self.links.leave(name)

    async def _lower(self, pif: PIF, name: str) -> None:
        """Take down an interface that carries nothing any more, and what it was made on."""
        if self._needed(pif):
            return
        if pif.VLAN_master_of != NULL:
            await self.links.remove(name, pif.uuid)
            below = self.store.get(self.store.get(pif.VLAN_master_of).tagged_PIF)
            if below.managed:
                await self._lower(below, below.device)
        elif not (pif.bond_master_of and await self.links.remove(name, pif.uuid)):
            await self.links.set_down(name)


@contextmanager
def configuration_errors(pif: Ref[PIF]) -> Iterator[None]:
    """Turn what the host's network refuses of an interface into errors of the API."""
    try:
        yield
    except NoSuchLink as error:
        log.warning("an interface is missing", reason=str(error))
        raise PIFDeviceNotFound from error
    except NetworkError as error:
        raise PIFConfigurationError(pif, str(error)) from error
