"""A host with storage services on a real store and a real directory; only Xen is played."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import DomainType, VbdMode, VbdType, VmPowerState
from xapid.datamodel.errors import VMBadPowerState
from xapid.datamodel.host import Host
from xapid.datamodel.pbd import PBD
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.sr import SR
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vdi import VDI
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.operations import Operations
from xapid.services.storage import rules
from xapid.services.storage.disks import DiskService
from xapid.services.storage.kinds import StorageKinds
from xapid.services.storage.leases import Leases
from xapid.services.storage.pbd import PBDService
from xapid.services.storage.repositories import Repositories
from xapid.services.storage.sr import SRService
from xapid.services.storage.vbd import VBDService
from xapid.services.storage.vdi import VDIService
from xapid.services.storage.volumes import Volumes
from xapid.storage.driver import Driver
from xapid.storage.file import FileDriver
from xapid.xen.errors import XenNotFound
from xapid.xen.types import Disk

MIB = 1 << 20
numbers = itertools.count()


@dataclass
class Caller:
    """A call of a client that nobody waits for."""

    task: Ref[Any] = field(default_factory=lambda: Ref(f"OpaqueRef:task-{next(numbers)}"))
    user: str = "root"
    session: Ref[Any] = field(default_factory=lambda: Ref("OpaqueRef:session"))
    fractions: list[float] = field(default_factory=list)
    watcher: Callable[[float], None] = lambda _fraction: None

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)
        self.watcher(fraction)


class PlayedXen:
    """The disks of domains, and the errors they are told to give."""

    def __init__(self) -> None:
        self.disks: dict[tuple[int, str], dict[str, Any]] = {}
        self.failing: dict[str, Exception] = {}

    async def wait_available(self) -> None:
        """It always is."""

    def _step(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]

    async def disk_add(self, domid: int, disk: dict[str, Any]) -> dict[str, Any]:
        self._step("disk_add")
        self.disks[domid, disk["vdev"]] = disk
        return disk

    async def disk_remove(self, domid: int, vdev: str, *, force: bool = False) -> None:
        self._step("disk_destroy" if force else "disk_remove")
        if self.disks.pop((domid, vdev), None) is None:
            raise XenNotFound("libxl_vdev_to_device_disk", -23, "ERROR_NOTFOUND")

    async def disk_list(self, domid: int) -> list[Disk]:
        return [Disk(disk, 4, None) for (owner, _), disk in self.disks.items() if owner == domid]

    async def cdrom_insert(self, domid: int, disk: dict[str, Any]) -> None:
        self._step("cdrom_insert")
        self.disks[domid, disk["vdev"]] = disk


class World:
    """The storage side of one host, wired as the daemon wires it."""

    def __init__(
        self,
        directory: Path,
        store: Store,
        host: Ref[Host],
        xen: Any = None,
        driver: Driver | None = None,
    ) -> None:
        self.directory = directory
        self.store = store
        self.host = host
        self.xen: Any = xen or PlayedXen()
        self.operations = Operations(store)
        self.kinds = StorageKinds(store, [driver or FileDriver()])
        self.repositories = Repositories(store, self.kinds)
        self.leases = Leases()
        self.volumes = Volumes(store, self.operations, self.repositories, self.leases)
        self.disks = DiskService(store, self.repositories, self.volumes, self.leases, host)
        shared = (store, self.operations, self.kinds, self.repositories)
        self.sr = SRService(*shared, host)
        self.pbd = PBDService(*shared, self.leases, host)
        self.vdi = VDIService(*shared, self.volumes, self.leases)
        self.vbd = VBDService(store, self.operations, self.disks, self, self.xen)
        rules.govern(store, self.operations, self.kinds)

    def domid(self, vm: Ref[VM]) -> int:
        record = self.store.get(vm)
        if record.domid < 0:
            raise VMBadPowerState(vm, "Running", record.power_state)
        return record.domid

    async def new_sr(self, name: str = "local") -> Ref[SR]:
        config = {"location": str(self.directory / name)}
        return await self.sr.create(
            Caller(), self.host, config, 0, name, "", "file", "user", False, {}
        )

    async def new_vdi(self, sr: Ref[SR], size: int = MIB, **values: Any) -> Ref[VDI]:
        given = {"SR": sr, "virtual_size": size, "name_label": "disk", **values}
        return await self.vdi.create(Caller(), given)

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

    async def new_vbd(self, vm: Ref[VM], vdi: Ref[VDI], **values: Any) -> Ref[VBD]:
        return await self.vbd.create(Caller(), {"VM": vm, "VDI": vdi, **values})

    async def new_drive(self, vm: Ref[VM]) -> Ref[VBD]:
        given = {"VM": vm, "empty": True, "type": VbdType.CD, "mode": VbdMode.RO}
        return await self.vbd.create(Caller(), given)

    async def set_state(self, vm: Ref[VM], state: VmPowerState, domid: int = -1) -> None:
        async with self.store.transaction() as tx:
            tx.update(vm, {"power_state": state, "domid": domid})

    def files(self, name: str = "local") -> set[str]:
        return {path.name for path in (self.directory / name).iterdir()}

    def image(self, vdi: Ref[VDI], name: str = "local") -> Path:
        return self.directory / name / self.store.get(vdi).location

    def pbd_of(self, sr: Ref[SR]) -> Ref[PBD]:
        (pbd,) = self.store.get(sr).PBDs
        return pbd


async def opened(tmp_path: Path, xen: Any = None, driver: Driver | None = None) -> World:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    hosts = store.refs(Host)
    if not hosts:
        async with store.transaction() as tx:
            hosts = [tx.create(Host, {"name_label": "here"})]
    return World(tmp_path, store, hosts[0], xen, driver)


async def closed(world: World) -> None:
    await world.disks.stop()
    await world.kinds.close()
    await world.store.close()
