"""The `file` kind of storage: raw sparse images in one directory of this host.

A volume is `<uuid>.raw` with its label beside it in `<uuid>.json`; while staged it is called
`<uuid>.staged`, once retired `<uuid>.retired`. `xapid-sr.json` says which SR the directory holds,
and whoever has the SR attached holds a lock on it. Other files are left alone and never shown.

Blkback reads the images through loop devices that libxl's block script sets up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from .blocking import Threads
from .directory import Directory, check_path, failures, open_directory, space
from .driver import (
    Capability,
    ConfigMissing,
    DriverInfo,
    Found,
    RepositoryInUse,
    RepositoryMissing,
)
from .images import OURS, FileRepository, uuid_of
from .label import MARKER, Marker, read_marker, write_marker

INFO = DriverInfo(
    type="file",
    name="Directory of disk images",
    description="Raw, sparse images in a directory of this host; clones and snapshots are copies.",
    configuration={"location": "Absolute path of the directory; made if it does not exist."},
    required=frozenset({"location"}),
    capabilities=frozenset(Capability)
    - {Capability.VDI_SNAPSHOT_IN_USE, Capability.VDI_RESIZE_ONLINE},
)


class FileDriver:
    """Implements `Driver`. roots: where alone directories may be; empty for anywhere sensible."""

    info = INFO

    def __init__(self, roots: Sequence[PurePosixPath] = ()) -> None:
        self._roots = tuple(roots)
        self._threads = Threads("storage-file")

    def check(self, device_config: Mapping[str, str]) -> None:
        self._path(device_config)

    def location_of(self, uuid: str) -> str:
        return f"{uuid}.raw"

    def check_location(self, location: str) -> None:
        uuid_of(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        path = self._path(device_config)
        return await self._threads.run(self._probe, path)

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        path = self._path(device_config)
        await self._threads.run(self._create, path, uuid, name)

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> FileRepository:
        path = self._path(device_config)
        directory, lock = await self._threads.run(self._attach, path, uuid)
        return FileRepository(path, directory, lock, self._threads)

    async def close(self) -> None:
        self._threads.close()

    def _path(self, device_config: Mapping[str, str]) -> PurePosixPath:
        location = device_config.get("location", "")
        if not location:
            raise ConfigMissing("location")
        return check_path("location", location, self._roots)

    def _probe(self, path: PurePosixPath) -> Sequence[Found]:
        directory = Directory(open_directory("location", path, create=False))
        try:
            marker = read_marker(directory)
            if marker is None:
                return ()
            size = space(directory.fd).total
            return (Found(marker.uuid, {"location": str(path)}, marker.name, size),)
        finally:
            directory.close()

    def _create(self, path: PurePosixPath, uuid: str, name: str) -> None:
        made = not os.path.lexists(path)
        directory = Directory(open_directory("location", path, create=True))
        try:
            if directory.exists(MARKER):
                _refuse_unless_abandoned(path, directory)
            with failures(f"cannot write in {path}", fd=directory.fd):
                write_marker(directory, Marker(uuid, name, made))
        finally:
            directory.close()

    def _attach(self, path: PurePosixPath, uuid: str) -> tuple[Directory, int]:
        directory = Directory(open_directory("location", path, create=False))
        try:
            marker = read_marker(directory)
            if marker is None or marker.uuid != uuid:
                raise RepositoryMissing(f"{path} does not hold the storage repository {uuid}")
            with failures(f"cannot open {path}"):
                lock = directory.open(MARKER, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise RepositoryInUse(f"{path} is attached already") from None
        except BaseException:
            directory.close()
            raise
        return directory, lock


def _refuse_unless_abandoned(path: PurePosixPath, directory: Directory) -> None:
    """A marker without images is what a creation leaves that was cut short; it may be replaced."""
    with failures(f"cannot read {path}"):
        lock = directory.open(MARKER, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        attached = False
    except OSError:
        attached = True
    finally:
        os.close(lock)
    if attached or any(OURS.fullmatch(name) for name in directory.names()):
        raise RepositoryInUse(f"{path} already holds a storage repository")
