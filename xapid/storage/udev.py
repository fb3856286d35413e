"""The `udev` kind of storage: the CD drives and removable disks of this host.

A drive is a VDI as long as the kernel has it. Its location says which one it is: the kernel's name
and what the drive says of itself, so that another drive under the same name is another VDI.
"""

from __future__ import annotations

import os
import re
import uuid as uuids
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .blocking import Threads
from .borrowed import Borrowed
from .driver import (
    Access,
    BackendFailure,
    Capability,
    ConfigInvalid,
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

LOCATION: Final = "location"
CD: Final = "cd"
BLOCK: Final = "block"
NAMES: Final = {CD: re.compile(r"sr[0-9]{1,3}"), BLOCK: re.compile(r"sd[a-z]{1,2}")}
AT: Final = re.compile(r"(sr[0-9]{1,3}|sd[a-z]{1,2})(-[A-Za-z0-9._]{1,100})?")
ODD: Final = re.compile(r"[^A-Za-z0-9._]+")
SECTOR: Final = 512
SYS: Final = Path("/sys/block")
DEV: Final = Path("/dev")

INFO = DriverInfo(
    type="udev",
    name="Physical drives",
    description="The CD drives or the removable disks of this host, handed to guests as they are.",
    configuration={LOCATION: f"{CD} for the CD drives, {BLOCK} for removable disks."},
    required=frozenset({LOCATION}),
    capabilities=frozenset(
        {
            Capability.SR_UPDATE,
            Capability.VDI_ATTACH,
            Capability.VDI_DETACH,
            Capability.VDI_INTRODUCE,
        }
    ),
    content_type="iso",  # no place for new disks
)


@dataclass(frozen=True)
class Drive:
    """A drive that the kernel has. size: bytes of the disc or disk in it."""

    name: str
    location: str
    model: str
    size: int


def drives(kind: str, sys: Path = SYS) -> list[Drive]:
    """The drives of one kind, by name. Blocks."""
    found = []
    for entry in sorted(sys.iterdir()):
        if not NAMES[kind].fullmatch(entry.name) or _text(entry / "removable") != "1":
            continue
        identity = ODD.sub("_", _text(entry / "device" / "wwid"))[:100]
        size = _text(entry / "size")
        found.append(
            Drive(
                entry.name,
                f"{entry.name}-{identity}" if identity else entry.name,
                " ".join(_text(entry / "device" / part) for part in ("vendor", "model")).strip(),
                int(size) * SECTOR if size.isdigit() else 0,
            )
        )
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


class UdevDriver:
    """Implements `Driver`. sys, dev: where the kernel shows its block devices."""

    info = INFO

    def __init__(self, sys: Path = SYS, dev: Path = DEV) -> None:
        self._sys = sys
        self._dev = dev
        self._threads = Threads("drives")

    def check(self, device_config: Mapping[str, str]) -> None:
        _kind(device_config)

    def check_location(self, location: str) -> None:
        _check_location(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        _kind(device_config)
        return ()

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        """There is nothing to prepare: the drives are there or not."""
        _kind(device_config)

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> UdevRepository:
        kind = _kind(device_config)
        return UdevRepository(uuids.UUID(uuid), kind, self._sys, self._dev, self._threads)

    async def close(self) -> None:
        self._threads.close()


class UdevRepository(Borrowed):
    """Implements `Repository`."""

    owner = "who plugs drives into the host"

    def __init__(self, uuid: uuids.UUID, kind: str, sys: Path, dev: Path, threads: Threads) -> None:
        self._uuid = uuid
        self._kind = kind
        self._sys = sys
        self._dev = dev
        self._threads = threads

    async def detach(self) -> None:
        """Nothing is held."""

    async def destroy(self) -> None:
        """Let go: the drives stay."""

    async def stat(self) -> Space:
        total = sum(drive.size for drive in await self._drives())
        return Space(total, total)

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        return [self._volume(drive) for drive in await self._drives()]

    async def _drives(self) -> list[Drive]:
        return await self._threads.run(drives, self._kind, self._sys)

    def _volume(self, drive: Drive) -> Volume:
        label = VolumeLabel(drive.name, drive.model, read_only=self._kind == CD)
        uuid = str(uuids.uuid5(self._uuid, drive.location))
        return Volume(uuid, drive.location, drive.size, drive.size, label)

    async def _find(self, location: str) -> Drive:
        _check_location(location)
        for drive in await self._drives():
            if drive.location == location:
                return drive
        raise VolumeMissing(location)

    async def look(self, location: str) -> Volume:
        return self._volume(await self._find(location))

    async def activate(self, location: str, *, writable: bool) -> Access:
        drive = await self._find(location)
        if writable and self._kind == CD:
            raise NotSupported("discs cannot be written to")
        path = str(self._dev / drive.name)
        await self._threads.run(_check_node, path, writable=writable)
        return Access(path)


def _check_node(path: str, *, writable: bool) -> None:
    """Check that a node is a block device that nobody else has, if a guest is to write to it."""
    try:
        if not Path(path).is_block_device():
            raise BackendFailure(f"{path} is no block device")
        if writable:
            os.close(os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        raise BackendFailure(f"{path}: {os.strerror(error.errno or 0)}") from error


def _check_location(location: str) -> None:
    if not AT.fullmatch(location):
        raise LocationInvalid(location)


def _kind(device_config: Mapping[str, str]) -> str:
    kind = device_config.get(LOCATION, "")
    if not kind:
        raise ConfigMissing(LOCATION)
    if kind not in NAMES:
        raise ConfigInvalid(LOCATION, kind, f"{CD} or {BLOCK} is needed")
    return kind
