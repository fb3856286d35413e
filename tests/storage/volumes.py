"""What a caller of a repository does to have volumes, for tests of several kinds of storage."""

from __future__ import annotations

import uuid as uuids
from pathlib import Path

from xapid.storage.driver import NewVolume, Repository, VolumeLabel, no_progress

MIB = 1 << 20


def new_volume(size: int = 8 * MIB, **label: object) -> NewVolume:
    return NewVolume(str(uuids.uuid4()), size, VolumeLabel(**label))  # type: ignore[arg-type]


async def published(repository: Repository, new: NewVolume | None = None) -> str:
    """The location of a volume that is there for good."""
    volume = await repository.create(new or new_volume())
    await repository.publish(volume.location)
    return volume.location


async def cloned(repository: Repository, location: str) -> str:
    """The location of a clone that is there for good."""
    size = (await repository.look(location)).virtual_size
    volume = await repository.clone(location, new_volume(size), no_progress)
    await repository.publish(volume.location)
    return volume.location


async def removed(repository: Repository, location: str) -> None:
    await repository.retire(location)
    await repository.purge(location)


def names(directory: Path) -> set[str]:
    """The files of a directory but for the marker of its SR."""
    return {path.name for path in directory.iterdir()} - {"xapid-sr.json"}
