"""The `dummy` kind of storage: disks in memory."""

# ruff: noqa: ASYNC230 (a test may block its own loop)

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.storage.driver import (
    NewVolume,
    NoSpace,
    RepositoryNotEmpty,
    ShrinkRefused,
    VolumeExists,
    VolumeInUse,
    VolumeLabel,
    VolumeMissing,
    no_progress,
)
from xapid.storage.dummy import DummyDriver, DummyRepository

MIB = 1 << 20
SR = str(uuids.uuid4())


def new_volume(size: int = MIB) -> NewVolume:
    return NewVolume(str(uuids.uuid4()), size)


@pytest.fixture
async def driver() -> AsyncIterator[DummyDriver]:
    driver = DummyDriver()
    yield driver
    await driver.close()


@pytest.fixture
async def repository(driver: DummyDriver) -> DummyRepository:
    await driver.create(SR, {}, "memory")
    return await driver.attach(SR, {})


async def published(repository: DummyRepository, new: NewVolume) -> str:
    location = (await repository.create(new)).location
    await repository.publish(location)
    return location


async def test_what_is_written_is_kept_by_copies_too(repository: DummyRepository) -> None:
    location = await published(repository, new_volume(4 * MIB))
    access = await repository.activate(location, writable=True)
    with Path(access.path).open("r+b") as disk:
        disk.seek(3 * MIB)
        disk.write(b"in memory")
    await repository.deactivate(location)

    clone = await repository.clone(location, new_volume(4 * MIB), no_progress)
    await repository.publish(clone.location)
    copy = await repository.copy(access, new_volume(8 * MIB), no_progress)
    await repository.publish(copy.location)

    for each in (clone.location, copy.location):
        with Path((await repository.activate(each, writable=False)).path).open("rb") as disk:
            disk.seek(3 * MIB)
            assert disk.read(9) == b"in memory"
    assert (await repository.look(copy.location)).virtual_size == 8 * MIB
    assert 0 < (await repository.stat()).used < MIB


async def test_a_volume_is_staged_published_retired_and_purged(
    repository: DummyRepository,
) -> None:
    new = new_volume()
    location = (await repository.create(new)).location
    assert await repository.scan(()) == []
    with pytest.raises(VolumeExists):
        await repository.create(new)

    await repository.publish(location)
    await repository.purge(location)
    assert [volume.uuid for volume in await repository.scan(())] == [new.uuid]
    await repository.activate(location, writable=True)
    with pytest.raises(VolumeInUse):
        await repository.retire(location)
    await repository.deactivate(location)
    with pytest.raises(RepositoryNotEmpty):
        await repository.destroy()

    await repository.retire(location)
    with pytest.raises(VolumeMissing):
        await repository.look(location)
    await repository.reinstate(location)
    await repository.retire(location)
    await repository.purge(location)
    await repository.purge(location)
    await repository.destroy()


async def test_sizes_have_limits(repository: DummyRepository) -> None:
    location = await published(repository, new_volume())

    assert (await repository.resize(location, 2 * MIB)).virtual_size == 2 * MIB
    with pytest.raises(ShrinkRefused):
        await repository.resize(location, MIB)
    for attempt in (repository.create(new_volume(1 << 50)), repository.resize(location, 1 << 50)):
        with pytest.raises(NoSpace):
            await attempt


async def test_the_disks_outlive_an_unplug_but_not_the_driver(
    driver: DummyDriver, repository: DummyRepository
) -> None:
    location = await published(repository, new_volume())
    await repository.describe(location, VolumeLabel("kept"))
    await repository.detach()

    again = await driver.attach(SR, {})
    (found,) = await again.scan({location})
    later = DummyDriver()

    assert found.label == VolumeLabel("kept")
    assert await (await later.attach(SR, {})).scan({location}) == []
    await later.close()
