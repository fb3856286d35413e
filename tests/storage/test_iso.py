"""The `iso` kind of storage on real directories."""

# ruff: noqa: ASYNC240 (a test may block its own loop)

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.storage.driver import (
    Access,
    ConfigInvalid,
    ConfigMissing,
    LocationInvalid,
    NewVolume,
    NotSupported,
    VolumeMissing,
    no_progress,
)
from xapid.storage.iso import IsoDriver, IsoRepository
from xapid.storage.mounts import Mounts


@pytest.fixture
def driver(tmp_path: Path) -> IsoDriver:
    return IsoDriver(Mounts(tmp_path / "mounted"))


@pytest.fixture
def discs(tmp_path: Path) -> Path:
    discs = tmp_path / "discs"
    discs.mkdir()
    (discs / "debian-12.iso").write_bytes(bytes(4096))
    (discs / "Windows Server 2022 (x64) [de].ISO").write_bytes(bytes(2048))
    return discs


@pytest.fixture
async def repository(driver: IsoDriver, discs: Path, sr: str) -> AsyncIterator[IsoRepository]:
    config = {"location": str(discs)}
    await driver.create(sr, config, "discs")
    repository = await driver.attach(sr, config)
    yield repository
    await repository.detach()


async def test_every_image_is_a_disc_that_stays_the_same_one(
    repository: IsoRepository, driver: IsoDriver, discs: Path, sr: str
) -> None:
    found = {volume.location: volume for volume in await repository.scan(())}
    again = await driver.attach(sr, {"location": str(discs)})

    assert set(found) == {"debian-12.iso", "Windows Server 2022 (x64) [de].ISO"}
    disc = found["debian-12.iso"]
    assert disc.virtual_size == 4096
    assert disc.label is not None
    assert (disc.label.name, disc.label.read_only) == ("debian-12.iso", True)
    assert {volume.uuid for volume in await again.scan(())} == {v.uuid for v in found.values()}
    assert await again.locate(disc.uuid) == "debian-12.iso"
    await again.detach()


async def test_only_plain_names_of_regular_files_are_discs(
    repository: IsoRepository, discs: Path
) -> None:
    before = {volume.location for volume in await repository.scan(())}
    for name in ("a,file=b.iso", "-x.iso", "a'b.iso", "a\nb.iso", "\N{SNOWMAN}.iso", ".iso"):
        (discs / name).write_bytes(b"")
    (discs / "notes.txt").write_bytes(b"")
    (discs / "link.iso").symlink_to("/etc/passwd")
    (discs / "directory.iso").mkdir()

    assert {volume.location for volume in await repository.scan(())} == before
    with pytest.raises(VolumeMissing):
        await repository.activate("link.iso", writable=False)


async def test_a_disc_is_opened_for_reading_only(repository: IsoRepository, discs: Path) -> None:
    access = await repository.activate("debian-12.iso", writable=False)

    assert access == Access(str(discs / "debian-12.iso"))
    with pytest.raises(NotSupported):
        await repository.activate("debian-12.iso", writable=True)
    await repository.deactivate("debian-12.iso")


@pytest.mark.parametrize("location", ["../secret.iso", "/etc/x.iso", "a/b.iso", "x.raw", ""])
async def test_only_names_of_discs_are_locations(
    repository: IsoRepository, driver: IsoDriver, location: str
) -> None:
    with pytest.raises(LocationInvalid):
        driver.check_location(location)
    with pytest.raises(LocationInvalid):
        await repository.activate(location, writable=False)


async def test_nothing_is_ever_written(repository: IsoRepository, discs: Path) -> None:
    before = {path: path.stat() for path in discs.iterdir()}
    new = NewVolume(str(uuids.uuid4()), 4096)

    for attempt in (
        repository.create(new),
        repository.copy(Access("/dev/zero"), new, no_progress),
        repository.clone("debian-12.iso", new, no_progress),
        repository.retire("debian-12.iso"),
        repository.purge("debian-12.iso"),
        repository.resize("debian-12.iso", 8192),
    ):
        with pytest.raises(NotSupported):
            await attempt
    await repository.destroy()

    after = {path: path.stat() for path in discs.iterdir()}
    assert [s.st_mtime_ns for s in after.values()] == [s.st_mtime_ns for s in before.values()]


async def test_a_place_that_is_not_there_is_refused(
    driver: IsoDriver, tmp_path: Path, sr: str
) -> None:
    with pytest.raises(ConfigInvalid, match="does not exist"):
        await driver.create(sr, {"location": str(tmp_path / "nowhere")}, "")
    with pytest.raises(ConfigMissing):
        driver.check({})


@pytest.mark.parametrize(
    ("location", "good"),
    [
        ("/srv/discs", True),
        ("server.example:/srv/discs", True),
        ("192.0.2.7:/srv", True),
        ("[2001:db8::7]:/srv", True),
        ("2001:db8::7:/srv", True),
        ("server:relative", False),
        ("server:/srv/../etc", False),
        ("-o,suid:/srv", False),
        ("a b:/srv", False),
        (":/srv", False),
        ("/etc", False),
    ],
)
def test_a_location_is_a_directory_or_an_export(
    driver: IsoDriver, location: str, good: bool
) -> None:
    if good:
        driver.check({"location": location})
        return
    with pytest.raises(ConfigInvalid):
        driver.check({"location": location})
