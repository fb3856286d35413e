"""The `file` kind of storage on real directories."""

# ruff: noqa: ASYNC240 (a test may block its own loop)

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid as uuids
from pathlib import Path, PurePosixPath

import pytest

import xapid
from xapid.storage.driver import (
    Access,
    ConfigInvalid,
    ConfigMissing,
    LocationInvalid,
    NewVolume,
    NoSpace,
    RepositoryInUse,
    RepositoryMissing,
    RepositoryNotEmpty,
    ShrinkRefused,
    VolumeExists,
    VolumeInUse,
    VolumeLabel,
    VolumeMissing,
    no_progress,
)
from xapid.storage.file import FileDriver
from xapid.storage.images import FileRepository

from .mortal import NEW, OLD, lived_through
from .volumes import MIB, new_volume, published

TIB = 1 << 40
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(xapid.__file__).parents[1])}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def locations(repository: FileRepository, *known: str) -> set[str]:
    return {volume.location for volume in await repository.scan(known)}


async def test_a_new_volume_is_sparse_and_private_and_reads_as_zeros(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository, new_volume(10 * MIB))

    image = disks / location
    assert image.stat().st_size == 10 * MIB
    assert image.stat().st_blocks == 0
    assert image.stat().st_mode & 0o777 == 0o600
    assert image.read_bytes().count(0) == 10 * MIB


async def test_a_size_is_rounded_up_to_whole_sectors(repository: FileRepository) -> None:
    volume = await repository.create(new_volume(5000))

    assert volume.virtual_size == 8192


async def test_more_than_the_file_system_can_hold_is_no_space(
    repository: FileRepository, disks: Path
) -> None:
    before = names(disks)

    with pytest.raises(NoSpace) as caught:
        await repository.create(new_volume(1 << 58))

    assert caught.value.requested == 1 << 58
    assert 0 < caught.value.available < 1 << 58
    assert names(disks) == before


async def test_a_scan_finds_volumes_with_their_labels_after_the_database_was_lost(
    driver: FileDriver, repository: FileRepository, disks: Path, sr: str
) -> None:
    new = new_volume(name="root", description="the system", kind="system", read_only=True)
    await published(repository, new)
    await repository.detach()

    again = await driver.attach(sr, {"location": str(disks)})
    (found,) = await again.scan(())
    await again.detach()

    assert (found.uuid, found.virtual_size, found.label) == (new.uuid, new.size, new.label)


async def test_a_scan_never_invents_a_disk(repository: FileRepository, disks: Path) -> None:
    await published(repository, new_volume())
    secret = disks.parent / "secret"
    secret.write_text("not a disk")
    (disks / f"{uuids.uuid4()}.raw").symlink_to(secret)
    (disks / f"{uuids.uuid4()}.raw").mkdir()
    (disks / "notes.txt").write_text("keep me")
    os.mkfifo(disks / f"{uuids.uuid4()}.raw")

    found = await repository.scan(())

    assert len(found) == 1
    assert (disks / "notes.txt").read_text() == "keep me"


async def test_a_scan_leaves_alone_what_is_under_way(repository: FileRepository) -> None:
    staged = await repository.create(new_volume())
    location = await published(repository, new_volume())
    await repository.retire(location)

    assert await locations(repository, location) == set()

    await repository.publish(staged.location)
    await repository.reinstate(location)
    assert await locations(repository) == {staged.location, location}


async def test_publishing_and_purging_twice_does_no_harm(
    repository: FileRepository, disks: Path
) -> None:
    volume = await repository.create(new_volume())

    await repository.publish(volume.location)
    await repository.publish(volume.location)
    await repository.purge(volume.location)
    assert await locations(repository) == {volume.location}

    await repository.retire(volume.location)
    await repository.purge(volume.location)
    await repository.purge(volume.location)
    assert names(disks) == ["xapid-sr.json"]


async def test_a_copy_has_the_same_content_and_the_same_holes(
    repository: FileRepository, disks: Path
) -> None:
    source = await published(repository, new_volume(64 * MIB))
    with (disks / source).open("r+b") as image:
        image.seek(20 * MIB)
        image.write(b"in the middle")
        image.seek(40 * MIB)
        image.write(os.urandom(3 * MIB))
    seen: list[float] = []

    access = await repository.activate(source, writable=False)
    copy = await repository.copy(access, new_volume(64 * MIB), seen.append)
    await repository.publish(copy.location)

    assert (disks / copy.location).read_bytes() == (disks / source).read_bytes()
    assert copy.physical_utilisation < 8 * MIB
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


async def test_a_copy_from_another_file_system_works_without_help_of_the_kernel(
    repository: FileRepository, disks: Path
) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == disks.stat().st_dev:
        pytest.skip("/dev/shm is not a file system of its own here")
    image = shm / f"xapid-test-{uuids.uuid4()}"
    content = os.urandom(3 * MIB)
    image.write_bytes(content)

    try:
        copy = await repository.copy(Access(str(image)), new_volume(4 * MIB), no_progress)
    finally:
        image.unlink()
    await repository.publish(copy.location)

    assert (disks / copy.location).read_bytes() == content + bytes(MIB)


async def test_a_cancelled_copy_leaves_nothing(repository: FileRepository, disks: Path) -> None:
    source = await published(repository, new_volume(64 * MIB))
    (disks / source).write_bytes(os.urandom(MIB) * 64)
    before = names(disks)
    started = asyncio.Event()

    copying = asyncio.create_task(
        repository.clone(source, new_volume(64 * MIB), lambda _fraction: started.set())
    )
    await started.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert names(disks) == before


async def test_a_cancelled_create_leaves_nothing(repository: FileRepository, disks: Path) -> None:
    creating = asyncio.create_task(repository.create(new_volume()))
    await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating

    assert names(disks) == ["xapid-sr.json"]
    assert await locations(repository) == set()


async def test_a_volume_grows_and_never_shrinks(repository: FileRepository) -> None:
    location = await published(repository, new_volume(2 * MIB))

    grown = await repository.resize(location, 3 * MIB + 1)
    with pytest.raises(ShrinkRefused) as caught:
        await repository.resize(location, MIB)

    assert grown.virtual_size == 3 * MIB + 4096
    assert caught.value.minimum == grown.virtual_size


async def test_a_disk_larger_than_two_tebibytes_works(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository, new_volume(3 * TIB))
    with (disks / location).open("r+b") as image:
        image.seek(3 * TIB - MIB)
        image.write(b"end")

    await repository.resize(location, 4 * TIB)
    access = await repository.activate(location, writable=False)
    copy = await repository.copy(access, new_volume(4 * TIB), no_progress)
    await repository.publish(copy.location)

    assert copy.virtual_size == 4 * TIB and copy.physical_utilisation <= MIB
    with (disks / copy.location).open("rb") as image:
        image.seek(3 * TIB - MIB)
        assert image.read(4) == b"end\0"


async def test_an_active_volume_does_not_go(repository: FileRepository) -> None:
    location = await published(repository, new_volume())
    await repository.activate(location, writable=True)

    with pytest.raises(VolumeInUse):
        await repository.retire(location)

    await repository.deactivate(location)
    await repository.retire(location)


async def test_a_label_can_be_changed(repository: FileRepository) -> None:
    location = await published(repository, new_volume(name="before"))

    await repository.describe(location, VolumeLabel(name="after"))

    assert (await repository.look(location)).label == VolumeLabel(name="after")


async def test_an_unreadable_label_is_no_label(repository: FileRepository, disks: Path) -> None:
    location = await published(repository, new_volume(name="x"))
    (disks / location).with_suffix(".json").write_bytes(b'{"format": 1, "name": 7}')

    assert (await repository.look(location)).label is None


@pytest.mark.parametrize(
    "location", ["../../etc/passwd", "/etc/passwd", "a.raw", "", f"{OLD}.json", f"{OLD}.raw\n"]
)
async def test_only_names_of_the_drivers_own_making_are_locations(
    repository: FileRepository, driver: FileDriver, location: str
) -> None:
    with pytest.raises(LocationInvalid):
        driver.check_location(location)
    with pytest.raises(LocationInvalid):
        await repository.activate(location, writable=False)


async def test_an_image_replaced_by_a_link_is_missing(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository, new_volume())
    (disks / location).unlink()
    (disks / location).symlink_to("/etc/passwd")

    with pytest.raises(VolumeMissing):
        await repository.activate(location, writable=False)


async def test_the_same_volume_is_not_made_twice(repository: FileRepository) -> None:
    new = new_volume()
    await published(repository, new)

    with pytest.raises(VolumeExists):
        await repository.create(new)


async def test_an_attached_repository_cannot_be_attached_again(
    driver: FileDriver, repository: FileRepository, disks: Path, sr: str
) -> None:
    with pytest.raises(RepositoryInUse):
        await driver.attach(sr, {"location": str(disks)})

    await repository.detach()
    await (await driver.attach(sr, {"location": str(disks)})).detach()


async def test_a_directory_holds_one_repository(
    driver: FileDriver, repository: FileRepository, disks: Path
) -> None:
    with pytest.raises(RepositoryInUse):
        await driver.create(str(uuids.uuid4()), {"location": str(disks)}, "second")
    with pytest.raises(RepositoryMissing):
        await driver.attach(str(uuids.uuid4()), {"location": str(disks)})


async def test_a_creation_that_was_cut_short_can_be_repeated(
    driver: FileDriver, disks: Path, sr: str
) -> None:
    config = {"location": str(disks)}
    await driver.create(str(uuids.uuid4()), config, "cut short")

    await driver.create(sr, config, "again")

    repository = await driver.attach(sr, config)
    await published(repository, new_volume())
    await repository.detach()
    with pytest.raises(RepositoryInUse):
        await driver.create(str(uuids.uuid4()), config, "third")


async def test_probe_tells_which_repository_is_there(
    driver: FileDriver, repository: FileRepository, disks: Path, sr: str, tmp_path: Path
) -> None:
    (found,) = await driver.probe({"location": str(disks)})
    nothing = await driver.probe({"location": str(tmp_path)})

    assert (found.uuid, found.name) == (sr, "local")
    assert nothing == ()


async def test_destroying_takes_the_directory_that_was_made_for_it(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository, new_volume())
    with pytest.raises(RepositoryNotEmpty):
        await repository.destroy()

    await repository.retire(location)
    await repository.purge(location)
    await repository.destroy()

    assert not disks.exists()


async def test_destroying_leaves_a_directory_that_was_there_before(
    driver: FileDriver, tmp_path: Path, sr: str
) -> None:
    config = {"location": str(tmp_path)}
    (tmp_path / "notes").write_text("keep me")
    await driver.create(sr, config, "")

    await (await driver.attach(sr, config)).destroy()

    assert names(tmp_path) == ["notes"]


@pytest.mark.parametrize(
    "location",
    [
        "relative",
        "/",
        "/srv",
        "/etc/xapid",
        "/usr/local/disks",
        "/srv/../etc/x",
        "/srv//disks",
        "/srv/./disks",
        "/srv/a,file=/etc/shadow",
        "/srv/a\nb",
        "/srv/\N{SNOWMAN}",
        "/srv/it's",
        "/srv/a b",
        "/srv/$(reboot)",
        "/dev/shm/x",
        "/" + "a" * 600,
    ],
)
async def test_a_place_that_is_not_for_disks_is_refused(driver: FileDriver, location: str) -> None:
    with pytest.raises(ConfigInvalid):
        driver.check({"location": location})


async def test_a_missing_location_is_named(driver: FileDriver) -> None:
    with pytest.raises(ConfigMissing, match="location"):
        driver.check({})


async def test_roots_bound_where_disks_may_be() -> None:
    driver = FileDriver(roots=(PurePosixPath("/srv/xapid"),))

    driver.check({"location": "/srv/xapid/one"})
    with pytest.raises(ConfigInvalid, match="below /srv/xapid"):
        driver.check({"location": "/srv/xapid-two"})
    await driver.close()


async def test_no_symbolic_link_is_followed_to_a_directory(
    driver: FileDriver, tmp_path: Path, sr: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    for location in (tmp_path / "link", tmp_path / "link" / "below"):
        with pytest.raises(ConfigInvalid, match="symbolic link"):
            await driver.create(sr, {"location": str(location)}, "")

    assert names(tmp_path / "real") == []


async def test_a_directory_that_everybody_may_write_in_is_refused(
    driver: FileDriver, tmp_path: Path, sr: str
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    with pytest.raises(ConfigInvalid, match="everybody"):
        await driver.create(sr, {"location": str(tmp_path / "open")}, "")


@pytest.mark.parametrize("change", ["create", "clone", "destroy"])
async def test_a_kill_at_any_step_leaves_the_old_state_or_the_new(
    driver: FileDriver, tmp_path: Path, change: str
) -> None:
    for step in range(1, 40):
        sr, disks = str(uuids.uuid4()), tmp_path / f"disks{step}"
        database = tmp_path / f"database{step}"
        config = {"location": str(disks)}
        await driver.create(sr, config, "")
        repository = await driver.attach(sr, config)
        await published(repository, NewVolume(OLD, 1 << 16))
        await repository.detach()
        database.write_text(f"{OLD}.raw")

        lived = await lived_through(disks, database, change, step, "raw")

        known = set(database.read_text().split())
        repository = await driver.attach(sr, config)
        assert await locations(repository, *known) == known, f"step {step}"
        expected = {name for at in known for name in (at, at.replace(".raw", ".json"))}
        assert set(names(disks)) == expected | {"xapid-sr.json"}, f"step {step}"
        await repository.detach()
        if lived:
            assert known == ({f"{OLD}.raw", f"{NEW}.raw"} if change != "destroy" else set())
            assert step > 4
            return
    pytest.fail("the change never came to its end")


def test_two_processes_do_not_share_a_repository(tmp_path: Path, sr: str) -> None:
    config = {"location": str(tmp_path / "disks")}
    script = (
        "import asyncio, sys\n"
        "from xapid.storage.file import FileDriver\n"
        f"asyncio.run(FileDriver().attach({sr!r}, {config!r}))\n"
    )

    async def main() -> str:
        driver = FileDriver()
        await driver.create(sr, config, "")
        repository = await driver.attach(sr, config)
        other = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        await repository.detach()
        await driver.close()
        return other.stderr

    assert "RepositoryInUse" in asyncio.run(main())
