"""Interfaces of the host: found, introduced, forgotten, plugged and given addresses."""

# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

import structlog

from ...datamodel.bond import Bond
from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import BondMode, IpConfigurationMode
from ...datamodel.errors import (
    CannotChangePIFProperties,
    CannotPlugBondSlave,
    CouldNotFindNetworkInterfaceWithSpecifiedDeviceNameAndMACAddress,
    DuplicatePIFDeviceName,
    HandleInvalid,
    InvalidIPAddressSpecified,
    PIFAlreadyBonded,
    PIFDoesNotAllowUnplug,
    PIFIsManagementInterface,
    PIFIsNotPhysical,
    PIFUnmanaged,
    PIFVLANStillExists,
    VIFInUse,
)
from ...datamodel.host import Host
from ...datamodel.network import Network
from ...datamodel.pif import PIF
from ...datamodel.vlan import VLAN
from ...db.store import Store
from ...db.transaction import Transaction
from ...network.addresses import Address
from ...network.driver import NetworkError
from ...network.links import Link, LinkKind
from ...undo import Undo
from ..ports import Call, implements, implements_static
from .guard import Guard
from .names import check_mac
from .records import (
    AUTOMATIC_NAME,
    create_pif,
    destroy_pif,
    follow_management,
    free_bridge,
    plain_pif,
    vif_in_use,
)
from .uplinks import Uplinks, configuration_errors
from .wires import WireService

log = structlog.get_logger(__name__)

Mode = IpConfigurationMode
MAX_SERVERS = 3
BOND_MODES = {"active-backup": BondMode.ACTIVE_BACKUP, "802.3ad": BondMode.LACP}


@dataclass
class PIFService:
    store: Store
    uplinks: Uplinks
    wires: WireService
    host: Ref[Host]
    guard: Guard

    def _check_here(self, host: Ref[Host]) -> None:
        if host != self.host:
            raise HandleInvalid("host", host)

    # Found and forgotten

    @implements_static(PIF.scan)
    async def scan(self, call: Call, host: Ref[Host]) -> None:
        """Hardware that nobody uses is managed from now on; what is in use is only shown."""
        self._check_here(host)
        async with self.uplinks.changing:
            with configuration_errors(NULL):
                links = await self.uplinks.links.all()
            for kind in (LinkKind.HARDWARE, LinkKind.BOND, LinkKind.VLAN):
                for link in links:
                    if link.kind is kind and link.owner is None and not self._known(link):
                        await self._adopt(link, links)

    def _known(self, link: Link) -> bool:
        if link.kind is LinkKind.VLAN:
            found = (
                p for p in self.store.all(PIF) if (p.device, p.VLAN) == (link.parent, link.tag)
            )
            return next(found, None) is not None
        return plain_pif(self.store, link.name) is not None

    async def _adopt(self, link: Link, links: list[Link]) -> None:
        address = await self._address(link)
        carries = any(link.name == other.parent for other in links)
        used = link.up or link.master or address or carries
        managed = link.kind is LinkKind.HARDWARE and not used
        below = plain_pif(self.store, link.parent) if link.kind is LinkKind.VLAN else None
        if link.kind is LinkKind.VLAN and below is None:
            return  # on a bridge or another VLAN: nothing that a PIF could stand for
        bridge = await self._bridge_of(link)
        async with self.store.transaction() as tx:
            values: dict[str, Any] = {"managed": managed, "currently_attached": link.up}
            values |= {"physical": link.kind is LinkKind.HARDWARE, **_address_values(address)}
            if managed:
                values["currently_attached"] = False
            values["network"] = self._network(tx, link, bridge)
            if below is not None:
                values |= {"device": below.device, "VLAN": link.tag}
            pif = create_pif(tx, self.host, link, **values)
            if link.kind is LinkKind.BOND:
                self._record_bond(tx, pif, link)
            if below is not None:
                given = {"tagged_PIF": below.ref, "untagged_PIF": pif, "tag": link.tag}
                tx.set(pif, PIF.VLAN_master_of, tx.create(VLAN, given))

    def _record_bond(self, tx: Transaction, master: Ref[PIF], link: Link) -> None:
        mode = BOND_MODES.get(link.mode, BondMode.BALANCE_SLB)
        bond = tx.create(Bond, {"master": master, "mode": mode})
        for member in link.members:
            if slave := plain_pif(self.store, member):
                tx.set(slave.ref, PIF.bond_slave_of, bond)

    async def _address(self, link: Link) -> Address | None:
        """The address of an interface, or of the bridge of somebody else that it is in."""
        with configuration_errors(NULL):
            if link.master:
                return await self.uplinks.addresses.look(link.master)
            return await self.uplinks.addresses.look(link.name)

    async def _bridge_of(self, link: Link) -> str:
        """The bridge that an interface is in; one of a name that is free, else."""
        with configuration_errors(NULL):
            if link.master:
                master = await self.uplinks.links.look(link.master)
                if master is not None and master.kind is LinkKind.OTHER:
                    return link.master
            taken: set[str] = set()
            while True:
                name = free_bridge(self.store.all(Network), taken)
                if not await self.uplinks.bridges.taken(name):
                    return name
                taken.add(name)

    def _network(self, tx: Transaction, link: Link, bridge: str) -> Ref[Network]:
        found = (n.ref for n in self.store.all(Network) if n.bridge == bridge)
        return next(found, None) or tx.create(
            Network, {"name_label": f"{AUTOMATIC_NAME}{link.name}", "bridge": bridge}
        )

    @implements_static(PIF.introduce)
    async def introduce(
        self, call: Call, host: Ref[Host], MAC: str, device: str, managed: bool = True
    ) -> Ref[PIF]:
        """One that is to be managed keeps the address it has, from now on as a static one."""
        self._check_here(host)
        mac = check_mac(MAC) if MAC else ""
        async with self.uplinks.changing:
            with configuration_errors(NULL):
                links = await self.uplinks.links.all()
            found = [
                link
                for link in links
                if link.kind is LinkKind.HARDWARE
                and (link.name == device or not device)
                and (link.mac == mac or not mac)
            ]
            if not found or not (device or mac):
                raise CouldNotFindNetworkInterfaceWithSpecifiedDeviceNameAndMACAddress(
                    device[:64], mac
                )
            link = found[0]
            if plain_pif(self.store, link.name):
                raise DuplicatePIFDeviceName(link.name)
            address = await self._address(link)
            bridge = await self._bridge_of(link)
            values: dict[str, Any] = {"managed": managed, **_address_values(address)}
            values["currently_attached"] = link.up and not managed
            async with self.store.transaction() as tx:
                values["network"] = self._network(tx, link, bridge)
                return create_pif(tx, self.host, link, physical=True, **values)

    @implements(PIF.forget)
    async def forget(self, call: Call, pif: Ref[PIF]) -> None:
        """The interface is taken down if it was managed; its network stays."""
        async with self.uplinks.changing:
            record = self.store.get(pif)
            if not record.physical:
                raise PIFIsNotPhysical(pif)
            if record.bond_slave_of != NULL:
                raise PIFAlreadyBonded(pif)
            if record.VLAN_slave_of:
                raise PIFVLANStillExists(pif)
            if record.management:
                raise PIFIsManagementInterface(pif)
            if record.managed and record.currently_attached:
                self.check_idle(record)
                await self.uplinks.take_down(pif)
            async with self.store.transaction() as tx:
                destroy_pif(tx, pif)
        await self._tidy(record)

    # Plugged

    @implements(PIF.plug)
    async def plug(self, call: Call, pif: Ref[PIF]) -> None:
        async with self.uplinks.changing:
            record = self.store.get(pif)
            if not record.managed:
                raise PIFUnmanaged(pif)
            if record.bond_slave_of != NULL:
                raise CannotPlugBondSlave(pif)
            await self.bring_up(pif)
        try:
            await self.uplinks.leased(pif)
        except NetworkError as error:
            log.warning("an interface has no address yet", reason=str(error))

    async def bring_up(self, pif: Ref[PIF]) -> None:
        """As Uplinks does, and no bridge is left behind when it fails. `changing` is held."""
        try:
            await self.uplinks.bring_up(pif)
        except BaseException:
            await self._tidy(self.store.get(pif))
            raise

    @implements(PIF.unplug)
    async def unplug(self, call: Call, pif: Ref[PIF]) -> None:
        async with self.uplinks.changing:
            record = self.store.get(pif)
            if not record.managed:
                raise PIFUnmanaged(pif)
            if record.management:
                raise PIFIsManagementInterface(pif)
            if record.disallow_unplug:
                raise PIFDoesNotAllowUnplug(pif)
            if not record.currently_attached:
                return
            self.check_idle(record)
            await self.take_down(pif)

    async def take_down(self, pif: Ref[PIF]) -> None:
        """Take an interface down, and its bridge when nothing else holds it."""
        record = self.store.get(pif)
        await self.uplinks.take_down(pif)
        await self._tidy(record)

    def check_idle(self, pif: PIF) -> None:
        """Refuse to take the uplink from guests. Raises VIF_IN_USE."""
        network = self.store.get(pif.network)
        if vif := vif_in_use(self.store, network):
            raise VIFInUse(network.ref, vif.ref)

    async def _tidy(self, pif: PIF) -> None:
        network = self.store.find(Network, pif.network)
        if network is not None:
            await self.wires.take_down(network)

    # Addresses

    @implements(PIF.reconfigure_ip)
    async def reconfigure_ip(
        self, call: Call, pif: Ref[PIF], mode: Mode, IP: str, netmask: str, gateway: str, DNS: str
    ) -> None:
        """What fails to take effect leaves the address as it was.

        That of the management interface is taken back after 60 s unless a client reaches the API
        at the new one.
        """
        wanted = check_address(mode, IP, netmask, gateway, DNS)
        async with self.uplinks.changing:
            record = self.store.get(pif)
            if not record.managed:
                raise PIFUnmanaged(pif)
            if record.bond_slave_of != NULL:
                raise CannotChangePIFProperties(pif)
            if record.management and mode is Mode.NONE:
                raise PIFIsManagementInterface(pif)
            if record.management:
                await self.guard.begin()
            try:
                await self.change_address(record, wanted)
            except BaseException:
                if record.management:
                    await self.guard.keep()
                raise
        await self._await_lease(record, wanted)
        if record.management:
            await self.guard.expect(self.store.get(pif).IP)

    async def _await_lease(self, before: PIF, wanted: dict[str, Any]) -> None:
        """Wait for the address that DHCP gives; without one, put back what was `before`.

        Raises PIF_CONFIGURATION_ERROR.
        """
        try:
            with configuration_errors(before.ref):
                await self.uplinks.leased(before.ref)
        except BaseException:
            async with self.uplinks.changing:
                now = self.store.find(PIF, before.ref)
                if (
                    now is not None
                    and not now.IP
                    and all(now.row[name] == value for name, value in wanted.items())
                ):
                    await self._apply(before.ref, {name: before.row[name] for name in wanted})
                    if before.management:
                        await self.guard.keep()
            raise

    async def change_address(self, record: PIF, wanted: dict[str, Any]) -> None:
        """Record an address and give it to an interface that is up. `changing` is held."""
        before = {name: record.row[name] for name in wanted}
        async with Undo() as undo:
            undo.add(self._apply, record.ref, before)
            await self._apply(record.ref, wanted)
            undo.commit()

    async def _apply(self, pif: Ref[PIF], values: dict[str, Any]) -> None:
        async with self.store.transaction() as tx:
            tx.update(pif, values)
            follow_management(tx, pif)
        record = self.store.get(pif)
        if record.currently_attached:
            with configuration_errors(pif):
                bridge = self.store.get(record.network).bridge
                if record.ip_configuration_mode is Mode.NONE:
                    await self.uplinks.addresses.clear(bridge)
                await self.uplinks.configure(record, bridge)


def _address_values(address: Address | None) -> dict[str, Any]:
    if address is None:
        return {}
    found = {"IP": address.ip, "netmask": address.netmask, "gateway": address.gateway}
    return found | {"ip_configuration_mode": Mode.STATIC}


def check_address(mode: Mode, ip: str, netmask: str, gateway: str, dns: str) -> dict[str, Any]:
    """The fields of a PIF that is to have this address. Raises INVALID_IP_ADDRESS_SPECIFIED."""
    servers = [server.strip() for server in dns.split(",")] if dns.strip() else []
    if len(servers) > MAX_SERVERS or not all(map(_is_address, servers)):
        raise InvalidIPAddressSpecified("DNS")
    values = {"ip_configuration_mode": mode, "IP": "", "netmask": "", "gateway": ""}
    if mode is Mode.STATIC:
        try:
            network = ipaddress.IPv4Interface(f"{_plain('IP', ip)}/{_plain('netmask', netmask)}")
        except ValueError as error:
            raise InvalidIPAddressSpecified("netmask") from error
        own = network.ip
        if own.is_multicast or own.is_unspecified or own.is_loopback or own.is_reserved:
            raise InvalidIPAddressSpecified("IP")
        if gateway and ipaddress.IPv4Address(_plain("gateway", gateway)) not in network.network:
            raise InvalidIPAddressSpecified("gateway")
        values |= {"IP": ip, "netmask": netmask, "gateway": gateway}
    return values | {"DNS": ",".join(servers)}


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _plain(parameter: str, text: str) -> str:
    if not _is_address(text):
        raise InvalidIPAddressSpecified(parameter)
    return text
