"""Run one change of an SR and end the process, without any clean-up, at its n-th step on disk.

Usage: killed.py DIRECTORY DATABASE CHANGE STEP. The file DATABASE stands for the records:
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
from xapid.storage.images import FileRepository

OLD = "00000000-0000-4000-8000-000000000001"
NEW = "00000000-0000-4000-8000-000000000002"


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

    def remove(self, *names: str) -> None:
        for name in names:
            self.step()
            super().remove(name)


def record(database: Path, locations: set[str]) -> None:
    Deadly.step()
    database.write_text("\n".join(sorted(locations)))
    Deadly.step()


async def change(repository: FileRepository, database: Path, what: str) -> None:
    known = set(database.read_text().split())  # noqa: ASYNC240
    if what == "destroy":
        await repository.retire(f"{OLD}.raw")
        record(database, known - {f"{OLD}.raw"})
        await repository.purge(f"{OLD}.raw")
        return
    new = NewVolume(NEW, 1 << 16)
    if what == "create":
        await repository.create(new)
    else:
        await repository.clone(f"{OLD}.raw", new, no_progress)
    record(database, known | {f"{NEW}.raw"})
    await repository.publish(f"{NEW}.raw")


def main() -> None:
    path, database, what, step = sys.argv[1:]
    directory = Deadly(open_directory("location", PurePosixPath(path), create=False))
    Deadly.left = int(step)
    threads = Threads("killed", 1)
    repository = FileRepository(PurePosixPath(path), directory, -1, threads)
    asyncio.run(change(repository, Path(database), what))
    threads.close()


if __name__ == "__main__":
    main()
