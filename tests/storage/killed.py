"""Run one change of an SR and end the process, without any clean-up, at its n-th step on disk.

Usage: killed.py DIRECTORY DATABASE CHANGE STEP FORMAT. The file DATABASE stands for the records:
one location a line.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path, PurePosixPath

from xapid.storage.blocking import Threads
from xapid.storage.directory import Directory, open_directory
from xapid.storage.driver import NewVolume, no_progress
from xapid.storage.image_names import Format
from xapid.storage.images import FileRepository

OLD = "00000000-0000-4000-8000-000000000001"
NEW = "00000000-0000-4000-8000-000000000002"
SNAPSHOT = "00000000-0000-4000-8000-000000000003"
SIZE = 1 << 16


class Deadly(Directory):
    """A directory whose process dies just before the n-th change."""

    left = 0

    @classmethod
    def step(cls) -> None:
        cls.left -= 1
        if cls.left == 0:
            os._exit(9)

    def open(self, name: str, flags: int) -> int:
        if flags & os.O_CREAT:
            self.step()
        return super().open(name, flags)

    def sync(self) -> None:
        self.step()
        super().sync()

    def rename(self, old: str, new: str) -> None:
        self.step()
        super().rename(old, new)

    def link(self, old: str, new: str) -> None:
        self.step()
        super().link(old, new)

    def remove(self, *names: str) -> None:
        for name in names:
            self.step()
            super().remove(name)


def record(database: Path, locations: set[str]) -> None:
    Deadly.step()
    database.write_text("\n".join(sorted(locations)))
    Deadly.step()


async def change(repository: FileRepository, database: Path, what: str, kind: str) -> None:
    known = set(database.read_text().split())  # noqa: ASYNC240
    old, new = f"{OLD}.{kind}", f"{NEW}.{kind}"
    if what in ("destroy", "destroy-snapshot"):
        gone = old if what == "destroy" else f"{SNAPSHOT}.{kind}"
        await repository.retire(gone)
        record(database, known - {gone})
        await repository.purge(gone)
        await repository.reclaim(no_progress)
        return
    if what == "resize":
        await repository.resize(old, SIZE * 2)
        return
    volume = NewVolume(NEW, SIZE)
    if what == "create":
        await repository.create(volume)
    elif what == "clone":
        await repository.clone(old, volume, no_progress)
    else:
        access = await repository.activate(old, writable=False)
        await repository.copy(access, volume, no_progress)
    record(database, known | {new})
    await repository.publish(new)


async def run(path: str, database: Path, what: str, step: int, kind: str) -> None:
    directory = Deadly(open_directory("location", PurePosixPath(path), create=False))
    threads = Threads("killed", 1)
    form: Format = "raw" if kind == "raw" else "qcow2"
    repository = FileRepository(PurePosixPath(path), directory, -1, threads, form)
    await repository.scan(database.read_text().split())  # noqa: ASYNC240
    Deadly.left = step
    await change(repository, database, what, kind)
    Deadly.left = 0
    await repository.detach()


def main() -> None:
    path, database, what, step, kind = sys.argv[1:]
    asyncio.run(run(path, Path(database), what, int(step), kind))


if __name__ == "__main__":
    main()
