"""The `lvm` kind of storage: a volume group on block devices of this host, disks in a thin pool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import udev_rules
from .block_devices import LVM_MEMBER, check_unused, device_paths, resolve, signature
from .blocking import Threads
from .driver import Capability, DriverInfo, Found, NoSpace, RepositoryInUse
from .lvm_commands import Lvm
from .lvm_repository import Freed, LvmRepository, nothing_more
from .pool_plan import SMALLEST
from .volume_group import VolumeGroup, clear_unfinished, disk_uuid, find_groups

CAPABILITIES = frozenset(Capability)
KEY = "device"

INFO = DriverInfo(
    type="lvm",
    name="Logical volumes",
    description="Disks in a thin pool of LVM on block devices of this host.",
    configuration={
        KEY: "Path of a block device in /dev that holds nothing, or several parted by commas."
    },
    required=frozenset({KEY}),
    capabilities=CAPABILITIES,
)


def host_name(machine_id: Path = Path("/etc/machine-id")) -> str:
    """What this host calls itself in a volume group, the same for as long as it is installed."""
    found = machine_id.read_bytes().strip() if machine_id.exists() else b""
    return hashlib.sha256(b"xapid volume group\0" + found).hexdigest()[:32]


async def make_group(lvm: Lvm, uuid: str, name: str, threads: Threads) -> None:
    """Make an SR on devices that hold nothing. Raises RepositoryInUse, NoSpace, ConfigInvalid."""
    marks = [await signature(device) for device in lvm.devices]
    for device, mark in zip(lvm.devices, marks, strict=True):
        if mark not in ("", LVM_MEMBER):
            raise RepositoryInUse(f"{device} holds data: {mark}")
    if LVM_MEMBER in marks:
        await clear_unfinished(lvm)
    sizes = [await threads.run(check_unused, KEY, device) for device in lvm.devices]
    if sum(sizes) < SMALLEST:
        raise NoSpace(SMALLEST, sum(sizes))
    await udev_rules.ensure()
    await VolumeGroup(uuid, lvm).make(name)


async def attach_group(lvm: Lvm, uuid: str, freed: Freed = nothing_more) -> LvmRepository:
    """Attach the SR that is on the devices. Raises RepositoryMissing, RepositoryInUse."""
    group = VolumeGroup(uuid, lvm)
    host = host_name()
    await udev_rules.ensure()
    await group.claim(host)
    await group.grow()
    return LvmRepository(group, host, Threads(group.name), freed)


class LvmDriver:
    """Implements `Driver`."""

    info = INFO

    def __init__(self) -> None:
        self._threads = Threads("block devices")

    def check(self, device_config: Mapping[str, str]) -> None:
        device_paths(KEY, device_config.get(KEY, ""))

    def check_location(self, location: str) -> None:
        disk_uuid(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        lvm = await self._lvm(device_config)
        config = {KEY: device_config[KEY]}
        found = await find_groups(lvm, config)
        marks = [await signature(device) for device in lvm.devices]
        if found or any(marks):
            return found
        sizes = [await self._threads.run(check_unused, KEY, each) for each in lvm.devices]
        return [Found("", config, "", sum(sizes))]

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        await make_group(await self._lvm(device_config), uuid, name, self._threads)

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> LvmRepository:
        return await attach_group(await self._lvm(device_config), uuid)

    async def close(self) -> None:
        self._threads.close()

    async def _lvm(self, device_config: Mapping[str, str]) -> Lvm:
        paths = device_paths(KEY, device_config.get(KEY, ""))
        return Lvm([await self._threads.run(resolve, KEY, path) for path in paths])
