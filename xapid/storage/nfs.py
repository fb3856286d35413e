"""The `nfs` kind of storage: disk images in a directory of their own on an NFS server's export.

The export of an SR is mounted for it alone, and each SR has threads of its own: a server that does
not answer keeps its own SRs waiting, and nobody else.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from .. import programs
from ..undo import Undo
from .blocking import Threads
from .driver import (
    BackendFailure,
    ConfigInvalid,
    ConfigMissing,
    DriverInfo,
    Found,
    StorageTimeout,
)
from .exports import (
    DEFAULT_VERSION,
    FOR_DISKS,
    FOR_READING,
    VERSIONS,
    check_export,
    check_server,
    check_version,
)
from .file import CAPABILITIES, LACKING
from .homes import FORMAT_KEY, Home, check_tools, chosen_format, format_help
from .image_names import UUID_PATTERN, image_at
from .images import FileRepository
from .mounts import Mounts
from .served import NO_SERVERS, Servers

SERVER: Final = "server"
EXPORT: Final = "serverpath"
VERSION: Final = "nfsversion"
MAX_FOUND: Final = 1000
SHOWMOUNT_S: Final = 30.0

INFO = DriverInfo(
    type="nfs",
    name="NFS export",
    description="Sparse images, qcow2 or raw, on an NFS server; each SR in a directory of its own.",
    configuration={
        SERVER: "Name or address of the NFS server.",
        EXPORT: "Absolute path of the export, in which root of this host may write.",
        VERSION: f"One of {', '.join(VERSIONS)}; {DEFAULT_VERSION} where nothing is said.",
        FORMAT_KEY: format_help("qcow2"),
    },
    required=frozenset({SERVER, EXPORT}),
    capabilities=CAPABILITIES,
    lacking=LACKING,
    shareable=True,
)


@dataclass(frozen=True)
class Export:
    """What a client's device_config names, checked. source: in the words of mount."""

    source: str
    version: str
    config: Mapping[str, str]


class NfsDriver:
    """Implements `Driver`."""

    info = INFO

    def __init__(self, mounts: Mounts, servers: Servers = NO_SERVERS) -> None:
        self._mounts = mounts
        self._servers = servers

    def check(self, device_config: Mapping[str, str]) -> None:
        _export(device_config)
        chosen_format(device_config)

    def check_location(self, location: str) -> None:
        image_at(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        if device_config.get(SERVER) and not device_config.get(EXPORT):
            return await _exports(device_config)
        export = _export(device_config)
        async with self._visit(export, FOR_READING) as (top, threads):
            names = await threads.run(_repositories, top)
            found: list[Found] = []
            for name in names:
                home = Home(EXPORT, top / name, "qcow2")
                found += await threads.run(home.probe, export.config)
        return found

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        chosen = chosen_format(device_config) or "qcow2"
        await check_tools(chosen)
        async with self._visit(_export(device_config), FOR_DISKS) as (top, threads):
            home = Home(EXPORT, top / uuid, "qcow2")
            await threads.run(home.make, uuid, name, chosen)

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> FileRepository:
        export = _export(device_config)
        held = self._mounts.find(uuid) is not None

        async def released(*, destroyed: bool) -> None:
            await self._mounts.unmount(uuid)

        async with Undo() as undo:
            await self._mounts.mount(uuid, "nfs", export.source, (export.version, *FOR_DISKS))
            if not held:
                undo.add(self._mounts.unmount, uuid)
            home = Home(EXPORT, self._mounts.point(uuid) / uuid, "qcow2")
            threads = Threads(export.source)
            chosen = chosen_format(device_config)
            repository = await home.attach(uuid, chosen, threads, self._servers, released)
            undo.commit()
        return repository

    async def close(self) -> None:
        """Nothing runs but what attached repositories have."""

    @asynccontextmanager
    async def _visit(
        self, export: Export, options: Sequence[str]
    ) -> AsyncIterator[tuple[PurePosixPath, Threads]]:
        """Mount an export for a moment, with threads of its own."""
        name = str(uuids.uuid4())
        threads = Threads(export.source)
        async with Undo() as undo:
            undo.add(self._leave, name, threads)
            await self._mounts.mount(name, "nfs", export.source, (export.version, *options))
            yield self._mounts.point(name), threads

    async def _leave(self, name: str, threads: Threads) -> None:
        threads.close()
        await self._mounts.unmount(name)


def _export(device_config: Mapping[str, str]) -> Export:
    """Raises ConfigMissing, ConfigInvalid."""
    for key in (SERVER, EXPORT):
        if not device_config.get(key):
            raise ConfigMissing(key)
    if "options" in device_config:
        raise ConfigInvalid("options", device_config["options"], "they are the driver's own")
    server = check_server(SERVER, device_config[SERVER])
    path = check_export(EXPORT, device_config[EXPORT])
    version = check_version(VERSION, device_config.get(VERSION, ""))
    kept = {key: device_config[key] for key in (SERVER, EXPORT, VERSION) if key in device_config}
    return Export(f"{server}:{path}", version, kept)


async def _exports(device_config: Mapping[str, str]) -> Sequence[Found]:
    """What the server tells of its exports; one that speaks NFS 4 alone may tell nothing."""
    server = check_server(SERVER, device_config[SERVER])
    version = {VERSION: device_config[VERSION]} if VERSION in device_config else {}
    host = server.removeprefix("[").removesuffix("]")
    command = ("showmount", "--no-headers", "--exports", host)
    try:
        finished = await programs.run(command, deadline_s=SHOWMOUNT_S)
    except programs.ProgramMissing as error:
        raise BackendFailure(str(error)) from error
    except programs.ProgramTookTooLong as error:
        raise StorageTimeout(str(error)) from error
    if not finished.succeeded:
        raise BackendFailure(f"showmount: {finished.output.strip()[-400:]}")
    return [
        Found("", {SERVER: device_config[SERVER], EXPORT: path} | version)
        for path in exported(finished.output)
    ]


def exported(output: str) -> list[str]:
    """The paths in showmount's answer that an SR could name."""
    found = []
    for line in output.splitlines()[:MAX_FOUND]:
        words = line.split()
        with suppress(ConfigInvalid):
            found += [check_export(EXPORT, words[0])] if words else []
    return found


def _repositories(top: PurePosixPath) -> list[str]:
    """The directories of an export that could be SRs. Blocks."""
    return sorted(
        entry.name for entry in Path(top).iterdir() if UUID_PATTERN.fullmatch(entry.name)
    )[:MAX_FOUND]
