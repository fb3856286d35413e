"""The `iso` kind of storage: discs, as image files in a directory or on an NFS export; read only.

Every file `*.iso` is a disc. Its identity follows from the SR's and from its name, so the same
disc is the same VDI after each scan; the name is its location. Nothing is ever written there.
"""

from __future__ import annotations

import os
import re
import uuid as uuids
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import structlog

from ..undo import Undo
from .blocking import Threads
from .borrowed import Borrowed
from .directory import Directory, check_path, failures, open_directory, space
from .driver import (
    Access,
    Capability,
    ConfigMissing,
    DriverInfo,
    Found,
    LocationInvalid,
    NotSupported,
    Space,
    Volume,
    VolumeLabel,
    VolumeMissing,
)
from .exports import FOR_READING, check_export, check_server, check_version
from .mounts import Mounts

log = structlog.get_logger()

LOCATION: Final = "location"
VERSION: Final = "nfsversion"
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._+@()\[\]-]{0,245}\.[iI][sS][oO]")
"""No commas or quotes: qemu and scripts of the host are told these names."""

INFO = DriverInfo(
    type="iso",
    name="ISO images",
    description="Discs: files *.iso in a directory of this host or on an NFS export; read only.",
    configuration={
        LOCATION: "Absolute path of the directory, or server:/path of an NFS export.",
        VERSION: "The version of NFS, where it is an export.",
    },
    required=frozenset({LOCATION}),
    capabilities=frozenset(
        {
            Capability.SR_PROBE,
            Capability.SR_UPDATE,
            Capability.VDI_ATTACH,
            Capability.VDI_DETACH,
            Capability.VDI_INTRODUCE,
        }
    ),
    content_type="iso",
    shareable=True,
)

Release = Callable[[], Awaitable[object]]
NOWHERE: Final = PurePosixPath("/nonexistent")


@dataclass(frozen=True)
class Place:
    """Where discs are: a directory, or an export ("" for none) with the option for its version."""

    path: PurePosixPath
    export: str = ""
    version: str = ""


class IsoDriver:
    """Implements `Driver`."""

    info = INFO

    def __init__(self, mounts: Mounts) -> None:
        self._mounts = mounts

    def check(self, device_config: Mapping[str, str]) -> None:
        _place(device_config)

    def check_location(self, location: str) -> None:
        _check_name(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        """Nothing: a directory of discs is an SR as soon as it is introduced as one."""
        _place(device_config)
        return ()

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        """Only tries whether the place is there: nothing is written."""
        await (await self.attach(uuid, device_config)).detach()

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> IsoRepository:
        place = _place(device_config)
        threads = Threads(device_config[LOCATION])
        async with Undo() as undo:
            undo.add(_close, threads)
            path = place.path
            if place.export:
                path = self._mounts.point(uuid)
                held = self._mounts.find(uuid) is not None
                await self._mounts.mount(uuid, "nfs", place.export, (place.version, *FOR_READING))
                if not held:
                    undo.add(self._mounts.unmount, uuid)
            directory = Directory(await threads.run(open_directory, LOCATION, path, create=False))
            undo.commit()

        async def release() -> None:
            if place.export:
                await self._mounts.unmount(uuid)

        return IsoRepository(uuid, path, directory, threads, release)

    async def close(self) -> None:
        """Nothing runs but what attached repositories have."""


class IsoRepository(Borrowed):
    """Implements `Repository`."""

    owner = "the owner of the directory"

    def __init__(
        self,
        uuid: str,
        path: PurePosixPath,
        directory: Directory,
        threads: Threads,
        release: Release,
    ) -> None:
        self._uuid = uuids.UUID(uuid)
        self._path = path
        self._directory = directory
        self._threads = threads
        self._release = release

    async def detach(self) -> None:
        if self._directory.fd < 0:
            return
        try:
            await self._threads.run(self._directory.close)
        finally:
            self._threads.close()
            await self._release()

    async def destroy(self) -> None:
        """Let go: the discs are not ours to delete."""
        await self.detach()

    async def stat(self) -> Space:
        with failures("cannot read the sizes of the file system"):
            return await self._threads.run(space, self._directory.fd)

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        return await self._threads.run(self._scan)

    def _scan(self) -> Sequence[Volume]:
        found = []
        with failures(f"cannot read {self._path}"):
            for name in self._directory.names():
                if not name.lower().endswith(".iso"):
                    continue
                if NAME.fullmatch(name) is None:
                    log.warning("disc passed over: its name has odd characters", disc=ascii(name))
                elif self._directory.regular(name) is not None:
                    found.append(self._look(name))
        return found

    def _look(self, name: str) -> Volume:
        with failures(f"cannot read {name}"):
            facts = self._directory.regular(name)
        if facts is None:
            raise VolumeMissing(name)
        label = VolumeLabel(name, read_only=True, sharable=True)
        return Volume(self._uuid_of(name), name, facts.st_size, facts.st_blocks * 512, label)

    def _uuid_of(self, name: str) -> str:
        return str(uuids.uuid5(self._uuid, name))

    async def look(self, location: str) -> Volume:
        return await self._threads.run(self._look, _check_name(location))

    async def activate(self, location: str, *, writable: bool) -> Access:
        if writable:
            raise NotSupported("discs cannot be written to")
        volume = await self.look(location)
        await self._threads.run(self._check_readable, location)
        return Access(str(self._path / volume.location))

    def _check_readable(self, name: str) -> None:
        with failures(f"cannot read {name}"):
            os.close(self._directory.open(name, os.O_RDONLY))


def _check_name(location: str) -> str:
    if NAME.fullmatch(location) is None:
        raise LocationInvalid(location)
    return location


def _place(device_config: Mapping[str, str]) -> Place:
    """Raises ConfigMissing, ConfigInvalid."""
    location = device_config.get(LOCATION, "")
    if not location:
        raise ConfigMissing(LOCATION)
    version = check_version(VERSION, device_config.get(VERSION, ""))
    server, colon, path = location.rpartition(":")
    if not colon:
        return Place(check_path(LOCATION, location, ()))
    host = check_server(LOCATION, server.removeprefix("[").removesuffix("]"))
    return Place(NOWHERE, f"{host}:{check_export(LOCATION, path)}", version)


async def _close(threads: Threads) -> None:
    threads.close()
