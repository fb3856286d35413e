"""The `ext` kind of storage: a block device with an ext4 file system of its own, full of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import programs
from ..undo import Undo
from .block_devices import check_unused, device_paths, resolve
from .blocking import Threads
from .driver import (
    BackendFailure,
    ConfigInvalid,
    DriverInfo,
    Found,
    RepositoryInUse,
    RepositoryMissing,
    StorageTimeout,
)
from .file import CAPABILITIES, LACKING
from .homes import FORMAT_KEY, Home, check_tools, chosen_format, format_help
from .image_names import image_at
from .images import FileRepository
from .mounts import Mounts
from .served import NO_SERVERS, Servers

KEY: Final = "device"
LABEL: Final = "xapid-sr"
OPTIONS: Final = ("noatime", "errors=remount-ro")
PROBE_S: Final = 60.0
MAKE_S: Final = 600.0

INFO = DriverInfo(
    type="ext",
    name="ext4 file system on a device",
    description="Sparse images, qcow2 or raw, on a block device that is formatted for them.",
    configuration={
        KEY: "Path of a block device below /dev that holds nothing; it is formatted.",
        FORMAT_KEY: format_help("qcow2"),
    },
    required=frozenset({KEY}),
    capabilities=CAPABILITIES,
    lacking=LACKING,
)


@dataclass(frozen=True)
class Superblock:
    """What blkid finds on a device. kind: "" for nothing at all."""

    kind: str
    label: str = ""
    uuid: str = ""

    @property
    def ours(self) -> bool:
        return self.kind == "ext4" and self.label == LABEL


class ExtDriver:
    """Implements `Driver`."""

    info = INFO

    def __init__(self, mounts: Mounts, servers: Servers = NO_SERVERS) -> None:
        self._mounts = mounts
        self._servers = servers
        self._threads = Threads("ext storage")

    def check(self, device_config: Mapping[str, str]) -> None:
        _device(device_config)
        chosen_format(device_config)

    def check_location(self, location: str) -> None:
        image_at(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        path = _device(device_config)
        node = await self._threads.run(resolve, KEY, path)
        found = await superblock(node)
        if not found.ours:
            return ()
        size = await self._threads.run(_size, node)
        return (Found(found.uuid, {KEY: path}, "", size),)

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        chosen = chosen_format(device_config) or "qcow2"
        await check_tools(chosen)
        path = _device(device_config)
        node = await self._threads.run(resolve, KEY, path)
        found = await superblock(node)
        if found.kind and not found.ours:
            raise ConfigInvalid(KEY, path, f"it holds something already ({found.kind}): wipe it")
        async with Undo() as undo:
            if found.ours:
                await self._check_abandoned(uuid, node, undo)
            await self._threads.run(check_unused, KEY, node)
            await _run(
                *("mkfs.ext4", "-q", "-F", "-m", "0", "-L", LABEL, "-U", uuid, node),
                deadline_s=MAKE_S,
            )
            undo.add(wipe, node)
            await self._mounts.mount(uuid, "ext4", node, OPTIONS)
            undo.add(self._mounts.unmount, uuid)
            home = Home(KEY, self._mounts.point(uuid), "qcow2")
            await self._threads.run(Path(self._mounts.point(uuid)).chmod, 0o700)
            await self._threads.run(home.make, uuid, name, chosen)
            await self._mounts.unmount(uuid)
            undo.commit()

    async def _check_abandoned(self, uuid: str, node: str, undo: Undo) -> None:
        """A file system of ours without images is what a creation leaves that was cut short."""
        await self._threads.run(check_unused, KEY, node)
        await self._mounts.mount(uuid, "ext4", node, OPTIONS)
        undo.add(self._mounts.unmount, uuid)
        home = Home(KEY, self._mounts.point(uuid), "qcow2")
        await self._threads.run(home.refuse_unless_abandoned)
        if not await self._mounts.unmount(uuid):
            raise RepositoryInUse(f"{node} is in use")

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> FileRepository:
        path = _device(device_config)
        node = await self._threads.run(resolve, KEY, path)
        found = await superblock(node)
        if not (found.ours and found.uuid == uuid):
            raise RepositoryMissing(f"{path} does not hold the storage repository {uuid}")
        held = self._mounts.find(uuid) is not None

        async def released(*, destroyed: bool) -> None:
            if await self._mounts.unmount(uuid) and destroyed:
                await wipe(node)

        async with Undo() as undo:
            await self._mounts.mount(uuid, "ext4", node, OPTIONS)
            if not held:
                undo.add(self._mounts.unmount, uuid)
            home = Home(KEY, self._mounts.point(uuid), "qcow2")
            repository = await home.attach(
                uuid, chosen_format(device_config), Threads(node), self._servers, released
            )
            undo.commit()
        return repository

    async def close(self) -> None:
        self._threads.close()


def _device(device_config: Mapping[str, str]) -> str:
    value = device_config.get(KEY, "")
    paths = device_paths(KEY, value)
    if len(paths) != 1:
        raise ConfigInvalid(KEY, value, "one device is needed")
    return paths[0]


def _size(node: str) -> int:
    with Path(node).open("rb") as device:
        return device.seek(0, 2)


async def superblock(node: str) -> Superblock:
    """What is on a device. Raises BackendFailure, StorageTimeout."""
    status, output = await _run("blkid", "-p", "-o", "export", node, accepted=(0, 2, 8))
    if status == 2:
        return Superblock("")
    words = dict(line.partition("=")[::2] for line in output.splitlines())
    kind = words.get("TYPE") or words.get("PTTYPE") or "more than one thing"
    return Superblock(kind, words.get("LABEL", ""), words.get("UUID", ""))


async def wipe(node: str) -> None:
    """Remove the file system's signature, so that the device holds nothing any more."""
    await _run("wipefs", "--quiet", "--all", "--types", "ext4", node)


async def _run(
    *command: str, deadline_s: float = PROBE_S, accepted: Sequence[int] = (0,)
) -> tuple[int, str]:
    try:
        finished = await programs.run(command, deadline_s=deadline_s)
    except programs.ProgramMissing as error:
        raise BackendFailure(str(error)) from error
    except programs.ProgramTookTooLong as error:
        raise StorageTimeout(str(error)) from error
    if finished.status not in accepted:
        raise BackendFailure(f"{command[0]}: {finished.output.strip()[-400:]}")
    return finished.status, finished.output
