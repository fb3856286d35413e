"""The volume group of one SR: a thin pool that takes all of it, and the disks in that pool.

Why thin: the clone and the snapshot of any disk, also of one in use, cost the same small amount
however large it is and whatever it was made from; an original may go before its copies; and the
pool zeroes each block before a disk first shows it, so no guest reads what another left behind.
Classic LVM snapshots can do none of the three. The price is that disks may be promised more than
there is; `Space` tells, and copies end before the pool is full.

A disk is the logical volume `vdi-<uuid>`; its state and label are tags of it. Which one LVM
commits decides, so a kill leaves the old state or the new.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import structlog

from . import lvm_tags
from .device_mapper import Active
from .driver import (
    BackendFailure,
    Found,
    LocationInvalid,
    NoSpace,
    RepositoryInUse,
    RepositoryMissing,
    Space,
    StorageError,
    Volume,
    VolumeMissing,
)
from .lvm_commands import VOLUME_FIELDS, LogicalVolume, Lvm, PoolUse, Row, volume
from .pool_plan import EXTENT, MIB, SMALLEST, plan_growth, plan_pool

log = structlog.get_logger()

UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
GROUP: Final = re.compile(rf"xapid-({UUID})")
DISK: Final = re.compile(rf"vdi-({UUID})")
POOL: Final = "pool"
NOTHING: Final[Mapping[str, LogicalVolume | None]] = MappingProxyType({})
GROUP_FIELDS: Final = ("vg_name", "vg_tags", "vg_size", "vg_free", "lv_count")


def group_name(uuid: str) -> str:
    return f"xapid-{uuid}"


def disk_name(uuid: str) -> str:
    return f"vdi-{uuid}"


def disk_uuid(location: str) -> str:
    """The uuid of the disk at a location. Raises LocationInvalid."""
    match = DISK.fullmatch(location)
    if match is None:
        raise LocationInvalid(location)
    return match[1]


def tags_of(row: Row) -> frozenset[str]:
    return frozenset(filter(None, row["vg_tags"].split(",")))


class VolumeGroup:
    """One group. Its methods are called one at a time, except those that only ask.

    A group has one host, so what LVM said of its disks stays true until we change it; only a scan
    asks again. An LVM program costs more than all else in a step.
    """

    def __init__(self, uuid: str, lvm: Lvm) -> None:
        self.name = group_name(uuid)
        self._lvm = lvm
        self._listed: dict[str, LogicalVolume] | None = None
        self._changes = 0
        self._sizes: list[str] | None = None

    def close(self) -> None:
        """End what runs for the group."""
        self._lvm.close()

    def path(self, location: str) -> str:
        """The device node of an active disk."""
        return f"/dev/{self.name}/{location}"

    # The whole group

    async def make(self, name: str) -> None:
        """Make the group on all devices, and its pool; nothing is left when that fails."""
        tags = _adding(lvm_tags.name_tags(name))
        # Nothing but the SR's driver activates its disks: not the host's boot, not a hotplug.
        lean = ("--setautoactivation", "n", "--metadatasize", "16m", "--physicalextentsize", "4m")
        await self._lvm.change("vgcreate", *lean, *tags, self.name, *self._lvm.devices)
        try:
            (row,) = await self._lvm.report("vgs", ("vg_free",), self.name)
            plan = plan_pool(int(row["vg_free"]))
            await self._lvm.change(
                "lvcreate", "--type", "thin-pool", "--name", POOL, "--size", f"{plan.size}b",
                "--poolmetadatasize", f"{plan.metadata}b", "--chunksize", f"{plan.chunk}b",
                "--zero", "y", "--discards", "passdown", "--activate", "n", self.name,
            )  # fmt: skip
            # An error at once tells a guest more than a minute of silence and then an error.
            await self._lvm.change("lvchange", "--errorwhenfull", "y", f"{self.name}/{POOL}")
        except BaseException:
            with suppress(StorageError):
                await self.remove()
            raise

    async def remove(self) -> None:
        """Remove the group with all it holds, and LVM's labels from its devices."""
        await self._lvm.change("vgremove", "--force", self.name)
        await self._lvm.change("pvremove", *self._lvm.devices)

    async def claim(self, host: str) -> None:
        """Take the group for this host and its pool into use.

        Raises RepositoryMissing, and RepositoryInUse when another host has it.
        """
        found = {row["vg_name"]: row for row in await groups(self._lvm)}
        row = found.get(self.name)
        if row is None or row["lv_count"] == "0":
            raise RepositoryMissing(f"there is no {self.name} on {', '.join(self._lvm.devices)}")
        holder = lvm_tags.value(tags_of(row), lvm_tags.HOST)
        if holder not in ("", host):
            raise RepositoryInUse(
                f"{self.name} is in use by host {holder}; if that one is gone for good, run: "
                f"vgchange --deltag {lvm_tags.HOST}{holder} {self.name}"
            )
        if not holder:
            await self._lvm.change("vgchange", "--addtag", lvm_tags.HOST + host, self.name)
        await self._lvm.change("lvchange", "--activate", "y", f"{self.name}/{POOL}")

    async def grow(self) -> None:
        """Let the pool take what its devices have gained; what fails is logged and tried again."""
        sizes = [_size(device) for device in self._lvm.devices]
        if sizes != self._sizes:
            try:
                await self._grow()
                self._sizes = sizes
            except StorageError as error:
                log.warning("volume group not grown", group=self.name, why=str(error))

    async def _grow(self) -> None:
        rows = await self._lvm.report("pvs", ("dev_size", "pe_start", "pv_size", "vg_free"))
        free = int(rows[0]["vg_free"])
        if any(_gained(row) >= EXTENT for row in rows):
            await self._lvm.change("pvresize", *self._lvm.devices)
            (row,) = await self._lvm.report("vgs", ("vg_free",), self.name)
            free = int(row["vg_free"])
        if free < SMALLEST:
            return
        path = f"{self.name}/{POOL}"
        (pool,) = await self._lvm.report("lvs", ("chunk_size",), path)
        data, metadata = plan_growth(free, int(pool["chunk_size"]))
        await self._lvm.change("lvextend", "--poolmetadatasize", f"+{metadata}b", path)
        await self._lvm.change("lvextend", "--size", f"+{data}b", path)
        log.info("volume group grown", group=self.name, by=data)

    async def release(self, host: str) -> bool:
        """Let go of the group, unless disks of it are in use; whether none is."""
        found = (await self.everything()).values()
        active = [each for each in found if each.active and each.name != POOL]
        for each in active:
            if not each.open:
                await self.deactivate(each.name)
        if any(each.open for each in active):
            return False
        await self._lvm.change("lvchange", "--activate", "n", f"{self.name}/{POOL}")
        await self._lvm.change("vgchange", "--deltag", lvm_tags.HOST + host, self.name)
        return True

    async def use(self) -> PoolUse:
        return await self._lvm.pool_use(self.name, POOL)

    async def space(self) -> Space:
        use = await self.use()
        return Space(use.total, use.used)

    async def holds_others(self) -> bool:
        """Whether there is anything in the group that is neither the pool nor a disk of ours."""
        found = (await self.everything(afresh=True)).values()
        return any(each.name != POOL and not ours(each) for each in found)

    # Disks

    async def everything(self, *, afresh: bool = False) -> dict[str, LogicalVolume]:
        """All logical volumes by name. afresh: LVM is asked although we know."""
        listed = await self._listing(afresh=afresh)
        active = await self._lvm.active(self.name)
        return {name: _as_it_is(each, active.get(name)) for name, each in listed.items()}

    async def _listing(self, *, afresh: bool) -> dict[str, LogicalVolume]:
        if self._listed is not None and not afresh:
            return self._listed
        before = self._changes
        rows = await self._lvm.report("lvs", VOLUME_FIELDS, self.name)
        listed = {each.name: each for each in map(volume, rows)}
        if self._changes == before:
            self._listed = listed
        return listed

    async def volumes(self, *, afresh: bool = False) -> dict[str, LogicalVolume]:
        """All our disks by location, in whatever state."""
        found = await self.everything(afresh=afresh)
        return {name: each for name, each in found.items() if ours(each)}

    async def find(self, location: str) -> LogicalVolume | None:
        """One disk, in whatever state."""
        return (await self.volumes()).get(location)

    async def mapped(self, locations: Iterable[str]) -> dict[str, int]:
        """The bytes that those of the disks take that are active."""
        return await self._lvm.mapped(self.name, locations)

    async def create(self, location: str, size: int, tags: Collection[str]) -> None:
        made = LogicalVolume(location, size, frozenset(tags), POOL)
        await self._change(
            "lvcreate", "--type", "thin", "--virtualsize", f"{size}b", "--thinpool", POOL,
            "--name", location, *_made_with(tags), self.name, becomes={location: made},
        )  # fmt: skip

    async def snapshot(self, origin: LogicalVolume, location: str, tags: Collection[str]) -> None:
        """A second disk with the content of this moment; `origin` may be in use."""
        made = LogicalVolume(location, origin.size, frozenset(tags), POOL)
        # A disk in use is suspended and goes on: udev has nothing to do that we had to wait for.
        words = ("--snapshot", "--noudevsync", "--name", location, *_made_with(tags))
        await self._change_disks("lvcreate", words, (origin.name,), becomes={location: made})

    async def retag(
        self, *locations: str, add: Collection[str] = (), drop: Collection[str] = ()
    ) -> None:
        """Change the tags of disks, in one step."""
        words = [*_adding(add), *(w for tag in drop for w in ("--deltag", tag))]
        listed = await self._listing(afresh=False)
        becomes = {
            location: replace(each, tags=(each.tags | set(add)) - set(drop))
            for location in locations
            if (each := listed.get(location)) is not None
        }
        await self._change_disks("lvchange", words, locations, becomes=becomes)

    async def extend(self, location: str, size: int) -> None:
        each = (await self._listing(afresh=False)).get(location)
        becomes = {} if each is None else {location: replace(each, size=size)}
        words = ("--noudevsync", "--size", f"{size}b")
        await self._change_disks("lvextend", words, (location,), becomes=becomes)

    async def remove_disk(self, *locations: str) -> None:
        gone = dict.fromkeys(locations)
        await self._change_disks("lvremove", ("--force",), locations, becomes=gone)

    async def activate(self, *locations: str) -> None:
        await self._change_disks("lvchange", ("--activate", "y"), locations)

    async def deactivate(self, *locations: str) -> None:
        await self._change_disks("lvchange", ("--activate", "n"), locations)

    async def wake(self, location: str) -> None:
        """Let a disk go on that a program which was killed had suspended."""
        await self._change_disks("lvchange", ("--refresh",), (location,))

    async def _change_disks(
        self,
        command: str,
        words: Iterable[str],
        locations: Sequence[str],
        becomes: Mapping[str, LogicalVolume | None] = NOTHING,
    ) -> None:
        """Change disks at once. Raises VolumeMissing when one went behind our back."""
        if not locations:
            return
        paths = (f"{self.name}/{location}" for location in locations)
        try:
            await self._change(command, *words, *paths, becomes=becomes)
        except BackendFailure:
            found = await self.volumes()
            for location in locations:
                if location not in found:
                    raise VolumeMissing(location) from None
            raise

    async def _change(
        self, command: str, *words: str, becomes: Mapping[str, LogicalVolume | None]
    ) -> None:
        """Change the group; what is not known to have ended well is looked at again."""
        listed, self._listed = self._listed, None
        self._changes += 1
        try:
            await self._lvm.change(command, *words)
        finally:
            self._changes += 1
        if listed is not None:
            changed = {**listed, **becomes}
            self._listed = {name: each for name, each in changed.items() if each is not None}


def _size(device: str) -> str:
    """What the kernel says of the size of a device; "" when it does not know the device."""
    try:
        return Path(f"/sys/class/block/{Path(device).name}/size").read_text()
    except OSError:
        return ""


def _gained(row: Row) -> int:
    """By how many bytes a device is larger than what the group uses of it."""
    return int(row["dev_size"]) - int(row["pe_start"]) - int(row["pv_size"])


def _as_it_is(each: LogicalVolume, active: Active | None) -> LogicalVolume:
    """A volume with the state that the kernel has it in."""
    if active is None:
        return each
    return replace(each, active=True, open=active.open, suspended=active.suspended)


def ours(each: LogicalVolume) -> bool:
    return each.pool == POOL and DISK.fullmatch(each.name) is not None


def as_volume(each: LogicalVolume, mapped: int | None) -> Volume:
    """What the services are told of a disk. mapped: bytes it takes; None when not known now."""
    used = lvm_tags.read_used(each.tags) if mapped is None else mapped
    label = lvm_tags.read_label(each.tags)
    return Volume(disk_uuid(each.name), each.name, each.size, used, label)


async def groups(lvm: Lvm) -> Sequence[Row]:
    """Every group on the devices, with GROUP_FIELDS."""
    return await lvm.report("vgs", GROUP_FIELDS)


async def find_groups(lvm: Lvm, config: dict[str, str]) -> list[Found]:
    """The SRs on the devices; `config` is what leads to them."""
    return [
        Found(match[1], config, lvm_tags.read_name(tags_of(row)), int(row["vg_size"]))
        for row in await groups(lvm)
        if (match := GROUP.fullmatch(row["vg_name"])) and row["lv_count"] != "0"
    ]


async def clear_unfinished(lvm: Lvm) -> None:
    """Remove a group whose making was cut short. Raises RepositoryInUse for any other."""
    for row in await groups(lvm):
        if GROUP.fullmatch(row["vg_name"]) is None or row["lv_count"] != "0":
            raise RepositoryInUse(f"the device holds the volume group {row['vg_name']}")
        await lvm.change("vgremove", "--force", row["vg_name"])


def check_pool(use: PoolUse, size: int) -> None:
    """Whether a pool can take one more disk. Raises NoSpace, BackendFailure."""
    if use.failed:
        raise BackendFailure("the thin pool takes no more writes: free space in it, or repair it")
    if use.metadata > 0.95 or use.total - use.used < MIB:
        raise NoSpace(size, max(0, use.total - use.used))


def _adding(tags: Iterable[str]) -> list[str]:
    return [word for tag in tags for word in ("--addtag", tag)]


def _made_with(tags: Iterable[str]) -> list[str]:
    return ["--setactivationskip", "n", "--activate", "n", *_adding(tags)]
