"""Dumps that this host left when it crashed: files or directories in the configured directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import stat
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from ...datamodel.declare import Ref
from ...datamodel.errors import OperationNotAllowed
from ...datamodel.host import Host
from ...datamodel.host_crashdump import HostCrashdump
from ...db.failures import StorageFailure
from ...db.store import Store
from ..ports import Call, implements
from . import tarstream
from .tarstream import Entry
from .upload import read_target, send

log = structlog.get_logger(__name__)

NAMES: Final = uuid.UUID("6d1b2f0e-3c0a-5d7e-9a57-5f1a1b0c9e42")
RESCAN_S: Final = 30.0
MAX_DUMPS: Final = 256
MAX_FILES: Final = 1024
STAMP: Final = re.compile(r"(?:.*[^0-9])?(20[0-9]{6})[-_T]?([0-9]{4}(?:[0-9]{2})?)(?:[^0-9].*)?")


@dataclass(frozen=True)
class Dump:
    """One entry of the directory, found just now. size: bytes of all its files."""

    name: str
    uuid: str
    size: int
    timestamp: datetime
    is_directory: bool


@dataclass
class CrashdumpService:
    """The records follow the directory; a record never says where its files are.

    A dump is known by a UUID made of its name, so nothing that a client can write leads to a path.
    pause: waits some seconds.
    """

    store: Store
    host: Ref[Host]
    directory: Path
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    _looking: asyncio.Task[None] | None = None
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def start(self) -> None:
        """Look now, and again and again: a dump may be written, or grow, while the daemon runs."""
        await self.scan()
        self._looking = asyncio.create_task(self._keep_looking(), name="look for crash dumps")

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            await self.pause(RESCAN_S)
            try:
                await self.scan()
            except (OSError, StorageFailure) as error:
                log.warning("crash dumps not looked for", reason=str(error))

    async def scan(self) -> None:
        """Make records of new dumps, and remove those of dumps that are gone."""
        found = {dump.uuid: dump for dump in await asyncio.to_thread(find_dumps, self.directory)}
        async with self.store.transaction() as tx:
            known = {record.uuid: record for record in self.store.all(HostCrashdump)}
            for gone in known.keys() - found.keys():
                tx.destroy(known[gone].ref)
            for dump in found.values():
                values = {"host": self.host, "timestamp": dump.timestamp, "size": dump.size}
                if dump.uuid in known:
                    tx.update(known[dump.uuid].ref, values)
                else:
                    tx.create(HostCrashdump, values, uuid=dump.uuid)
                    log.warning("the host left a crash dump", name=dump.name, size=dump.size)

    @implements(HostCrashdump.destroy)
    async def destroy(self, call: Call, crashdump: Ref[HostCrashdump]) -> None:
        async with self._locks[crashdump]:
            dump = await self._find(crashdump)
            if dump is not None:
                try:
                    await asyncio.to_thread(_remove, self.directory, dump)
                except OSError as error:
                    raise OperationNotAllowed(
                        f"the crash dump {dump.name} cannot be removed: {error.strerror}"
                    ) from error
            async with self.store.transaction() as tx:
                tx.destroy(crashdump)

    @implements(HostCrashdump.upload)
    async def upload(
        self, call: Call, crashdump: Ref[HostCrashdump], url: str, options: Mapping[str, str]
    ) -> None:
        """A dump of one file is sent as it is, a directory as a tar archive."""
        target = read_target(url, options)
        async with self._locks[crashdump]:
            dump = await self._find(crashdump)
            if dump is None:
                raise OperationNotAllowed(
                    "the files of the crash dump are gone; destroy its record"
                )
            try:
                await self._send(call, dump, partial(send, target))
            except OSError as error:
                raise OperationNotAllowed(
                    f"the crash dump {dump.name} cannot be read: {error.strerror}"
                ) from error

    async def _send(self, call: Call, dump: Dump, put: Callable[..., Awaitable[None]]) -> None:
        directory = await asyncio.to_thread(_open_directory, self.directory)
        try:
            if not dump.is_directory:
                (entry,) = _entries(directory, dump.name, "")
                await put(lambda: tarstream.content(entry), entry.size, call.progress)
                return
            inner = await asyncio.to_thread(_open_directory, dump.name, directory)
            try:
                entries = await asyncio.to_thread(lambda: list(_files(inner, dump.name)))
                size = tarstream.length(entries)
                await put(lambda: tarstream.stream(entries), size, call.progress)
            finally:
                os.close(inner)
        finally:
            os.close(directory)

    async def _find(self, crashdump: Ref[HostCrashdump]) -> Dump | None:
        wanted = self.store.get(crashdump).uuid
        dumps = await asyncio.to_thread(find_dumps, self.directory)
        return next((dump for dump in dumps if dump.uuid == wanted), None)


def find_dumps(directory: Path) -> list[Dump]:
    """The dumps in the directory, oldest name first; [] where there is no such directory.

    Only what root (or we) put there counts: some distributions let every user write into it.
    """
    try:
        top = _open_directory(directory)
    except OSError:
        return []
    try:
        with os.scandir(top) as entries:
            names = sorted(e.name for e in entries if _is_dump(e))
        dumps = []
        for name in names[:MAX_DUMPS]:
            with contextlib.suppress(FileNotFoundError):  # it went while we looked
                dumps.append(_dump(top, name))
        return dumps
    finally:
        os.close(top)


def _is_dump(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or not entry.name.isprintable():
        return False
    found = entry.stat(follow_symlinks=False)
    return found.st_uid in (0, os.getuid()) and (
        stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
    )


def _dump(top: int, name: str) -> Dump:
    found = os.stat(name, dir_fd=top, follow_symlinks=False)
    size = found.st_size
    if stat.S_ISDIR(found.st_mode):
        inner = _open_directory(name, top)
        try:
            size = sum(entry.size for entry in _files(inner, name))
        finally:
            os.close(inner)
    changed = datetime.fromtimestamp(int(found.st_mtime), UTC)
    return Dump(
        name,
        str(uuid.uuid5(NAMES, name)),
        size,
        _stamp(name) or changed,
        stat.S_ISDIR(found.st_mode),
    )


def _stamp(name: str) -> datetime | None:
    """When the host crashed, where the name says it: 202611232144 and its like, in local time."""
    found = STAMP.fullmatch(name)
    if found is None:
        return None
    try:
        moment = datetime.strptime(found[1] + found[2].ljust(6, "0"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return moment.astimezone(UTC)


def _files(directory: int, name: str) -> Iterator[Entry]:
    """The plain files of a dump's directory; nothing below it and no links."""
    with os.scandir(directory) as entries:
        names = sorted(e.name for e in entries if e.is_file(follow_symlinks=False))
    for file in names[:MAX_FILES]:
        yield from _entries(directory, file, f"{name}/")


def _entries(directory: int, name: str, prefix: str) -> Iterator[Entry]:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)

    def opened() -> BinaryIO:
        return tarstream.open_beneath(directory, name)

    yield Entry(prefix + name, found.st_size, found.st_mtime, opened)


def _open_directory(name: Path | str, beneath: int | None = None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(name, flags | (os.O_NOFOLLOW if beneath is not None else 0), dir_fd=beneath)


def _remove(directory: Path, dump: Dump) -> None:
    top = _open_directory(directory)
    try:
        if dump.is_directory:
            shutil.rmtree(dump.name, dir_fd=top)
        else:
            os.unlink(dump.name, dir_fd=top)
    except FileNotFoundError:
        pass
    finally:
        os.close(top)
