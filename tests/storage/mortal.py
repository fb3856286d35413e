"""Changes of an SR by a daemon that dies just before their n-th step: nothing happens after it.

The process goes on, but none of what it does to the directory or the records has an effect any
more, and it hears of that as of an error.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath

from xapid.storage.blocking import Threads
from xapid.storage.directory import Directory, open_directory
from xapid.storage.driver import NewVolume, Repository, StorageError, no_progress
from xapid.storage.image_names import Format
from xapid.storage.images import FileRepository
from xapid.storage.served import NO_SERVERS, Served, Servers, Undecided

OLD = "00000000-0000-4000-8000-000000000001"
NEW = "00000000-0000-4000-8000-000000000002"
SNAPSHOT = "00000000-0000-4000-8000-000000000003"
SIZE = 1 << 16


class Dead(OSError):  # noqa: N818 (it is no error)
    """What is done after the end, or would have been the last step."""


class Life:
    """Ends before the n-th step."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    @property
    def over(self) -> bool:
        return self._left <= 0

    def step(self) -> None:
        self._left -= 1
        if self.over:
            raise Dead


class MortalDirectory(Directory):
    life = Life(1 << 30)

    def open(self, name: str, flags: int) -> int:
        if flags & (os.O_CREAT | os.O_RDWR):
            self.life.step()
        return super().open(name, flags)

    def sync(self) -> None:
        self.life.step()
        super().sync()

    def rename(self, old: str, new: str) -> None:
        self.life.step()
        super().rename(old, new)

    def link(self, old: str, new: str) -> None:
        self.life.step()
        super().link(old, new)

    def unlink(self, name: str) -> None:
        self.life.step()
        super().unlink(name)


class MortalServed:
    """Implements `Served` for a daemon that may die before or after a qemu does as it is told."""

    def __init__(self, served: Served, life: Life) -> None:
        self._served = served
        self._life = life
        self.leans_on, self.opened_as = served.leans_on, served.opened_as

    async def go_on_in(self, path: str) -> None:
        self._life.step()
        await self._served.go_on_in(path)
        try:
            self._life.step()
        except Dead as error:
            raise Undecided("nobody was there to hear it") from error

    async def grow(self, size: int) -> None:
        self._life.step()
        await self._served.grow(size)


class MortalServers:
    def __init__(self, servers: Servers, life: Life) -> None:
        self._servers = servers
        self._life = life

    @asynccontextmanager
    async def serving(self, path: str) -> AsyncIterator[Served]:
        async with self._servers.serving(path) as served:
            yield MortalServed(served, self._life)


async def lived_through(
    disks: Path,
    database: Path,
    change: str,
    steps: int,
    form: Format,
    servers: Servers = NO_SERVERS,
) -> bool:
    """Carry out a change; whether the daemon lived to see its end.

    database: a file that stands for the records, one location a line.
    """
    directory = MortalDirectory(open_directory("location", PurePosixPath(disks), create=False))
    life = Life(steps)
    mortal = MortalServers(servers, life)
    threads = Threads("mortal", 1)
    path = PurePosixPath(disks)
    repository = FileRepository(path, directory, -1, threads, form, servers=mortal)
    known = set(database.read_text().split())  # noqa: ASYNC240
    await repository.scan(known)
    if change.endswith("in-use"):
        await repository.activate(f"{OLD}.{form}", writable=True)
    directory.life = life
    with suppress(Dead, StorageError):
        await _change(repository, database, change, form, life)
    await repository.detach()
    return not life.over


async def _change(
    repository: Repository, database: Path, change: str, form: Format, life: Life
) -> None:
    known = set(database.read_text().split())  # noqa: ASYNC240
    old, new = f"{OLD}.{form}", f"{NEW}.{form}"

    def record(locations: set[str]) -> None:
        life.step()
        database.write_text("\n".join(sorted(locations)))
        life.step()

    if change in ("destroy", "destroy-snapshot"):
        gone = old if change == "destroy" else f"{SNAPSHOT}.{form}"
        await repository.retire(gone)
        record(known - {gone})
        await repository.purge(gone)
        await repository.reclaim(no_progress)
        return
    if change.startswith("resize"):
        await repository.resize(old, SIZE * 2)
        return
    volume = NewVolume(NEW, SIZE)
    if change == "create":
        await repository.create(volume)
    elif change.startswith("clone"):
        await repository.clone(old, volume, no_progress)
    else:
        access = await repository.activate(old, writable=False)
        await repository.copy(access, volume, no_progress)
    record(known | {new})
    await repository.publish(new)
