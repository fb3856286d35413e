"""Directories that hold a storage repository: finding, making and attaching one.

`xapid-sr.json` says which SR a directory holds, and whoever has the SR attached holds a lock on
it. Other files are left alone and never shown.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from . import qemu_img
from .blocking import Threads
from .directory import Directory, failures, open_directory, space
from .driver import ConfigInvalid, Found, RepositoryInUse, RepositoryMissing
from .image_names import FORMATS, OURS, Format
from .images import FileRepository, Released, nothing_to_release
from .label import MARKER, Marker, read_marker, write_marker
from .served import Servers

FORMAT_KEY = "format"


def format_help(default: Format) -> str:
    """What an SM record says of the key that chooses the format of new volumes."""
    return (
        f"raw or qcow2, for new disks; {default} where nothing is said. Clones and snapshots of "
        "qcow2 disks take no time and no space; raw ones are copied."
    )


def chosen_format(device_config: Mapping[str, str]) -> Format | None:
    """The format that a client asked for. Raises ConfigInvalid."""
    wanted = device_config.get(FORMAT_KEY, "")
    for known in FORMATS:
        if wanted == known:
            return known
    if wanted:
        raise ConfigInvalid(FORMAT_KEY, wanted, "raw or qcow2 is needed")
    return None


async def check_tools(chosen: Format) -> None:
    """Raises BackendFailure where this host cannot handle the format."""
    if chosen == "qcow2":
        await qemu_img.check_installed()


class Home:
    """A directory for one SR. key: what of device_config named it, for errors.

    default: the format where neither the client nor the directory's marker says one. Methods
    block, except `attach`.
    """

    def __init__(self, key: str, path: PurePosixPath, default: Format) -> None:
        self._key = key
        self._path = path
        self._default = default

    def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        """The SR that the directory holds. Raises ConfigInvalid."""
        directory = Directory(open_directory(self._key, self._path, create=False))
        try:
            marker = read_marker(directory)
            if marker is None:
                return ()
            size = space(directory.fd).total
            return (Found(marker.uuid, dict(device_config), marker.name, size),)
        finally:
            directory.close()

    def make(self, uuid: str, name: str, chosen: Format) -> None:
        """Make the directory an SR's. Raises RepositoryInUse, ConfigInvalid."""
        made = not os.path.lexists(self._path)
        directory = Directory(open_directory(self._key, self._path, create=True))
        try:
            if directory.exists(MARKER):
                self._refuse_unless_abandoned(directory)
            with failures(f"cannot write in {self._path}", fd=directory.fd):
                write_marker(directory, Marker(uuid, name, made, chosen))
        finally:
            directory.close()

    async def attach(
        self,
        uuid: str,
        chosen: Format | None,
        threads: Threads,
        servers: Servers,
        released: Released = nothing_to_release,
    ) -> FileRepository:
        """Attach the SR. threads, servers, released: see FileRepository.

        Raises RepositoryMissing, RepositoryInUse.
        """
        try:
            directory, lock, marked = await threads.run(self._open, uuid)
        except BaseException:
            threads.close()
            raise
        remembered = next((known for known in FORMATS if known == marked), self._default)
        return FileRepository(
            self._path, directory, lock, threads, chosen or remembered, released, servers
        )

    def _open(self, uuid: str) -> tuple[Directory, int, str]:
        directory = Directory(open_directory(self._key, self._path, create=False))
        try:
            marker = read_marker(directory)
            if marker is None or marker.uuid != uuid:
                raise RepositoryMissing(f"{self._path} does not hold the storage repository {uuid}")
            with failures(f"cannot open {self._path}"):
                lock = directory.open(MARKER, os.O_RDWR)  # what NFS wants of who locks
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                raise RepositoryInUse(f"{self._path} is attached already") from None
        except BaseException:
            directory.close()
            raise
        return directory, lock, marker.images

    def refuse_unless_abandoned(self) -> None:
        """Check that nobody loses anything by a new SR there. Raises RepositoryInUse."""
        directory = Directory(open_directory(self._key, self._path, create=False))
        try:
            if directory.exists(MARKER):
                self._refuse_unless_abandoned(directory)
        finally:
            directory.close()

    def _refuse_unless_abandoned(self, directory: Directory) -> None:
        """A marker without images is what a creation leaves that was cut short."""
        with failures(f"cannot read {self._path}"):
            lock = directory.open(MARKER, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            attached = False
        except OSError:
            attached = True
        finally:
            os.close(lock)
        if attached or any(OURS.fullmatch(name) for name in directory.names()):
            raise RepositoryInUse(f"{self._path} already holds a storage repository")
