"""A host with network services on a real store; Xen and the bridges are played."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import DomainType, VmPowerState
from xapid.datamodel.errors import VMBadPowerState
from xapid.datamodel.host import Host
from xapid.datamodel.network import Network
from xapid.datamodel.pif import PIF
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vif import VIF
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.network.memory import MemoryBridges
from xapid.network.memory_addresses import MemoryAddresses
from xapid.network.memory_links import MemoryLinks, pretend_hardware
from xapid.services.networking import rules
from xapid.services.networking.bond import BondService
from xapid.services.networking.follower import LinkFollower
from xapid.services.networking.guard import Guard
from xapid.services.networking.management import ManagementService
from xapid.services.networking.network import NetworkService
from xapid.services.networking.pif import PIFService
from xapid.services.networking.uplinks import Uplinks
from xapid.services.networking.vif import VIFService
from xapid.services.networking.vlan import VLANService
from xapid.services.networking.wires import WireService
from xapid.services.operations import Operations
from xapid.xen.errors import XenNotFound
from xapid.xen.types import Nic

numbers = itertools.count()


@dataclass
class Caller:
    task: Ref[Any] = field(default_factory=lambda: Ref(f"OpaqueRef:task-{next(numbers)}"))
    user: str = "root"
    session: Ref[Any] = field(default_factory=lambda: Ref("OpaqueRef:session"))

    def progress(self, fraction: float) -> None:
        """Nobody watches."""


class PlayedXen:
    """The interfaces of domains, and the errors they are told to give."""

    def __init__(self) -> None:
        self.nics: dict[tuple[int, int], dict[str, Any]] = {}
        self.failing: dict[str, Exception] = {}

    async def wait_available(self) -> None:
        """It always is."""

    async def nic_add(self, domid: int, nic: dict[str, Any]) -> dict[str, Any]:
        if "nic_add" in self.failing:
            raise self.failing["nic_add"]
        self.nics[domid, nic["devid"]] = nic
        return nic

    async def nic_remove(
        self, domid: int, *, devid: int | None = None, mac: str | None = None, force: bool = False
    ) -> None:
        if "nic_remove" in self.failing and not force:
            raise self.failing["nic_remove"]
        assert devid is not None
        if self.nics.pop((domid, devid), None) is None:
            raise XenNotFound("libxl_devid_to_device_nic", -23, "ERROR_NOTFOUND")

    async def nic_list(self, domid: int) -> list[Nic]:
        return [Nic(nic, 4, devid) for (owner, devid), nic in self.nics.items() if owner == domid]


class World:
    def __init__(
        self, store: Store, directory: Path, bridges: MemoryBridges, xen: Any = None
    ) -> None:
        self.arrived = ""
        self.now = 1000.0
        self.store = store
        self.bridges = bridges
        self.xen: Any = xen or PlayedXen()
        self.operations = Operations(store)
        self.links = MemoryLinks(bridges, pretend_hardware())
        self.addresses = MemoryAddresses(bridges)
        self.uplinks = Uplinks(store, self.links, bridges, self.addresses)
        self.wires = WireService(store, bridges, self.uplinks)
        self.host: Ref[Host] = Ref("OpaqueRef:this-host")
        self.guard = Guard(store, directory, "this-boot", lambda: self.arrived, lambda: self.now)
        self.pif = PIFService(store, self.uplinks, self.wires, self.host, self.guard)
        self.management = ManagementService(store, self.pif, self.guard, self.host)
        self.vlan = VLANService(store, self.pif, self.host)
        self.bond = BondService(store, self.pif, self.host)
        self.follower = LinkFollower(store, self.uplinks, lambda: datetime.now(UTC))
        self.network = NetworkService(store, bridges, self.wires)
        self.vif = VIFService(store, self.operations, self.wires, self, self.xen)
        rules.govern(self.operations)

    def domid(self, vm: Ref[VM]) -> int:
        record = self.store.get(vm)
        if record.domid < 0:
            raise VMBadPowerState(vm, "Running", record.power_state)
        return record.domid

    async def new_network(self, **values: Any) -> Ref[Network]:
        return await self.network.create(Caller(), {"name_label": "net", **values})

    async def new_vm(self, state: VmPowerState = VmPowerState.HALTED, **values: Any) -> Ref[VM]:
        running = state in (VmPowerState.RUNNING, VmPowerState.PAUSED)
        given = {
            "name_label": "guest",
            "domain_type": DomainType.PVH,
            "power_state": state,
            "domid": 7 + next(numbers) if running else -1,
            **values,
        }
        async with self.store.transaction() as tx:
            return tx.create(VM, given)

    async def new_vif(self, vm: Ref[VM], network: Ref[Network], **values: Any) -> Ref[VIF]:
        return await self.vif.create(Caller(), {"VM": vm, "network": network, **values})

    async def scanned(self) -> dict[str, Ref[PIF]]:
        """The interfaces by name, as a scan finds them."""
        await self.pif.scan(Caller(), self.host)
        return {pif.device: pif.ref for pif in self.store.all(PIF)}

    def bridge_of(self, network: Ref[Network]) -> str:
        return self.store.get(network).bridge


async def opened(tmp_path: Path, bridges: MemoryBridges, xen: Any = None) -> World:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    world = World(store, tmp_path, bridges, xen)
    if store.find(Host, world.host) is None:
        async with store.transaction() as tx:
            tx.create(Host, ref=world.host)
    return world
