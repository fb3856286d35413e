"""qcow2 images of the `file` kind of storage: chains, their merging, and what is not followed."""

# ruff: noqa: ASYNC221, ASYNC240 (a test may block its own loop)

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import time
import uuid as uuids
from pathlib import Path

import pytest

from xapid.storage.chains import MAX_DEPTH
from xapid.storage.driver import (
    Access,
    BackendFailure,
    ConfigInvalid,
    NotSupported,
    RepositoryNotEmpty,
    ShrinkRefused,
    VolumeExists,
    VolumeMissing,
    no_progress,
)
from xapid.storage.file import FileDriver
from xapid.storage.images import FileRepository
from xapid.storage.qcow2 import read_header

from .images import MIB, fill, flaws, info, needs_qemu_img, shows
from .volumes import cloned, names, new_volume, published, removed

pytestmark = needs_qemu_img

GIB = 1 << 30
TIB = 1 << 40
OTHER = "00000000-0000-4000-8000-000000000001.qcow2"


@pytest.fixture
def form() -> str:
    return "qcow2"


def bases(directory: Path) -> set[str]:
    return {name for name in names(directory) if name.endswith(".base")}


def files_of(*locations: str) -> set[str]:
    return {name for at in locations for name in (at, at.replace(".qcow2", ".json"))}


async def test_a_new_volume_is_private_and_empty_and_what_qemu_calls_qcow2(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository, new_volume(100 * MIB + 5))

    found = info(disks / location)
    assert location.endswith(".qcow2")
    assert (found["format"], found["virtual-size"]) == ("qcow2", 100 * MIB + 4096)
    assert found["format-specific"]["data"]["corrupt"] is False
    assert "backing-filename" not in found
    assert (disks / location).stat().st_mode & 0o777 == 0o600
    assert (await repository.look(location)).virtual_size == 100 * MIB + 4096
    assert await repository.activate(location, writable=True) == Access(
        str(disks / location), "qcow2", "qdisk"
    )


async def test_what_xen_reads_itself_is_raw(repository: FileRepository) -> None:
    for kind in ("suspend", "crashdump"):
        volume = await repository.create(new_volume(kind=kind))
        assert volume.location.endswith(".raw")


async def test_the_same_volume_is_not_made_twice(repository: FileRepository) -> None:
    new = new_volume()
    location = await published(repository, new)

    with pytest.raises(VolumeExists):
        await repository.create(new)

    assert [v.location for v in await repository.scan({location})] == [location]


async def test_a_clone_and_its_original_go_their_own_ways(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)

    clone = await cloned(repository, original)
    fill(disks / original, 2)
    fill(disks / clone, 3, at=2 * MIB)

    assert shows(disks / original, 2)
    assert shows(disks / original, 0, at=2 * MIB)
    assert shows(disks / clone, 1)
    assert shows(disks / clone, 3, at=2 * MIB)
    assert len(bases(disks)) == 1
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in disks.iterdir())
    assert {v.location for v in await repository.scan({original, clone})} == {original, clone}


async def test_space_that_the_first_clone_of_a_directory_leaves_is_seen(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    await repository.scan({original})
    at_first = await repository.reclaimable()

    await cloned(repository, original)
    await removed(repository, original)

    assert not at_first
    assert await repository.reclaimable()


async def test_a_clone_of_a_large_disk_takes_no_time_and_no_space(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository, new_volume(100 * GIB))
    fill(disks / original, 7, at=99 * GIB)
    began = time.monotonic()

    clone = await repository.clone(original, new_volume(100 * GIB), no_progress)

    assert time.monotonic() - began < 1
    await repository.publish(clone.location)
    assert clone.physical_utilisation < MIB
    assert shows(disks / clone.location, 7, at=99 * GIB)


async def test_a_disk_larger_than_two_tebibytes_works(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository, new_volume(3 * TIB))
    fill(disks / original, 5, at=3 * TIB - MIB)

    clone = await cloned(repository, original)
    grown = await repository.resize(clone, 4 * TIB)
    fill(disks / clone, 6, at=4 * TIB - MIB)

    assert grown.virtual_size == 4 * TIB
    assert shows(disks / clone, 5, at=3 * TIB - MIB)
    assert shows(disks / clone, 6, at=4 * TIB - MIB)
    assert shows(disks / clone, 0, at=3 * TIB)


async def test_a_volume_that_did_not_change_is_cloned_without_another_base(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    assert await cloned(repository, original)
    assert bases(disks) == set()  # an empty disk is like another empty disk
    fill(disks / original, 1)

    clones = [await cloned(repository, original) for _ in range(5)]
    clones.append(await cloned(repository, clones[0]))

    assert len(bases(disks)) == 1
    assert all(shows(disks / clone, 1) for clone in clones)


async def test_a_chain_has_an_end(repository: FileRepository, disks: Path) -> None:
    original = await published(repository, new_volume(64 * MIB))
    snapshots = []

    for number in range(1, MAX_DEPTH + 3):
        fill(disks / original, number, at=number * MIB)
        snapshots.append(await cloned(repository, original))

    assert len(bases(disks)) == MAX_DEPTH - 1
    for number, snapshot in enumerate(snapshots, 1):
        assert shows(disks / snapshot, number, at=number * MIB)
        assert shows(disks / snapshot, 0, at=(number + 1) * MIB)
    assert "backing-filename" not in info(disks / snapshots[-1])


async def test_a_disk_somebody_writes_to_is_not_cloned_where_nobody_can_be_asked(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    await repository.activate(original, writable=True)

    with pytest.raises(NotSupported):
        await cloned(repository, original)

    assert names(disks) == files_of(original)
    await repository.deactivate(original)
    await cloned(repository, original)


async def test_a_disk_somebody_reads_can_be_cloned_and_stays_as_it_was_for_him(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    await repository.activate(original, writable=False)

    clone = await cloned(repository, original)
    await removed(repository, clone)

    assert not await repository.reclaimable()
    await repository.deactivate(original)
    assert await repository.reclaimable()


async def test_deleting_a_snapshot_gives_its_space_back(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1, size=4 * MIB)
    snapshot = await cloned(repository, original)
    fill(disks / original, 2, at=MIB)
    seen: list[float] = []

    await removed(repository, snapshot)
    assert await repository.reclaimable()
    await repository.reclaim(seen.append)

    assert names(disks) == files_of(original)
    assert shows(disks / original, 1)
    assert shows(disks / original, 2, at=MIB)
    assert shows(disks / original, 1, at=2 * MIB, size=2 * MIB)
    assert flaws(disks / original) == 0
    assert "backing-filename" not in info(disks / original)
    assert (disks / original).stat().st_blocks * 512 < 5 * MIB
    assert seen
    assert not await repository.reclaimable()


async def test_deleting_the_last_disk_of_a_chain_removes_all_of_it(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    snapshots = []
    for number in range(1, 4):
        fill(disks / original, number)
        snapshots.append(await cloned(repository, original))
    assert len(bases(disks)) == 3

    for location in (snapshots[1], original, snapshots[0], snapshots[2]):
        await removed(repository, location)

    assert names(disks) == set()
    await repository.destroy()
    assert not disks.exists()


async def test_a_base_in_the_middle_is_merged_for_all_that_lean_on_it(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    first = await cloned(repository, original)
    fill(disks / original, 2, at=MIB)
    second = await cloned(repository, original)
    fill(disks / original, 3, at=2 * MIB)
    await removed(repository, first)

    await repository.reclaim(no_progress)

    assert len(bases(disks)) == 1
    for location in (original, second):
        assert shows(disks / location, 1)
        assert shows(disks / location, 2, at=MIB)
    assert shows(disks / second, 0, at=2 * MIB)
    assert shows(disks / original, 3, at=2 * MIB)


async def test_a_merge_of_a_disk_that_has_grown_keeps_its_size(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    snapshot = await cloned(repository, original)
    await repository.resize(original, 16 * MIB)
    fill(disks / original, 2, at=15 * MIB)
    await removed(repository, snapshot)

    await repository.reclaim(no_progress)

    assert (await repository.look(original)).virtual_size == 16 * MIB
    assert shows(disks / original, 1)
    assert shows(disks / original, 2, at=15 * MIB)


async def large_to_merge(repository: FileRepository, disks: Path) -> str:
    """A disk with 200 MiB that are to be merged with the base below."""
    original = await published(repository, new_volume(256 * MIB))
    fill(disks / original, 1)
    snapshot = await cloned(repository, original)
    fill(disks / original, 2, at=MIB, size=200 * MIB)
    await removed(repository, snapshot)
    return original


async def merging_began(repository: FileRepository) -> asyncio.Task[None]:
    started = asyncio.Event()
    merging = asyncio.create_task(repository.reclaim(lambda _fraction: started.set()))
    await started.wait()
    return merging


async def test_a_merge_gives_way_to_whoever_wants_the_disk(
    repository: FileRepository, disks: Path
) -> None:
    original = await large_to_merge(repository, disks)
    merging = await merging_began(repository)
    access = await repository.activate(original, writable=True)
    fill(Path(access.path), 3)  # QEMU's own lock shows that nobody else has it open
    await merging

    assert shows(disks / original, 2, at=MIB, size=200 * MIB)
    assert len(bases(disks)) == 1
    await repository.deactivate(original)
    await repository.reclaim(no_progress)
    assert bases(disks) == set()
    assert shows(disks / original, 3)
    assert shows(disks / original, 2, at=MIB, size=200 * MIB)


async def test_a_cancelled_merge_loses_nothing(repository: FileRepository, disks: Path) -> None:
    original = await large_to_merge(repository, disks)
    merging = await merging_began(repository)
    merging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await merging

    assert shows(disks / original, 1)
    assert shows(disks / original, 2, at=MIB, size=200 * MIB)
    await repository.reclaim(no_progress)
    assert shows(disks / original, 2, at=MIB, size=200 * MIB)
    assert names(disks) == files_of(original)


async def test_a_volume_grows_and_never_shrinks(repository: FileRepository) -> None:
    location = await published(repository)

    grown = await repository.resize(location, 9 * MIB + 1)
    with pytest.raises(ShrinkRefused) as caught:
        await repository.resize(location, MIB)
    await repository.activate(location, writable=True)
    with pytest.raises(NotSupported):
        await repository.resize(location, 10 * MIB)

    assert grown.virtual_size == 9 * MIB + 4096
    assert caught.value.minimum == grown.virtual_size


async def test_copies_between_formats_hold_the_same_and_stay_sparse(
    repository: FileRepository, driver: FileDriver, disks: Path, tmp_path: Path
) -> None:
    raw_sr, config = str(uuids.uuid4()), {"location": str(tmp_path / "raw")}
    await driver.create(raw_sr, config, "raw")
    other = await driver.attach(raw_sr, config)
    original = await published(repository, new_volume(GIB))
    fill(disks / original, 9, at=500 * MIB)
    await cloned(repository, original)  # so that the copy has a chain to read
    fill(disks / original, 8, at=700 * MIB)
    seen: list[float] = []

    source = await repository.activate(original, writable=False)
    raw = await other.copy(source, new_volume(GIB), seen.append)
    await other.publish(raw.location)
    back = await repository.copy(
        await other.activate(raw.location, writable=False), new_volume(GIB), no_progress
    )
    await repository.publish(back.location)
    await other.detach()

    image = tmp_path / "raw" / raw.location
    assert image.stat().st_size == GIB
    assert raw.physical_utilisation < 4 * MIB
    assert image.stat().st_mode & 0o777 == 0o600
    with image.open("rb") as file:
        file.seek(700 * MIB)
        assert file.read(MIB) == b"\x08" * MIB
    assert shows(disks / back.location, 9, at=500 * MIB)
    assert shows(disks / back.location, 8, at=700 * MIB)
    assert back.physical_utilisation < 4 * MIB
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


async def test_a_cancelled_copy_leaves_nothing(
    repository: FileRepository, disks: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(MIB) * 256)
    started = asyncio.Event()
    large = new_volume(256 * MIB)

    copying = asyncio.create_task(
        repository.copy(Access(str(image)), large, lambda _fraction: started.set())
    )
    await started.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying

    assert names(disks) == set()
    assert (await repository.create(large)).virtual_size == 256 * MIB


async def test_a_copy_that_is_cancelled_twice_leaves_nothing(
    repository: FileRepository, disks: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(MIB) * 256)
    started = asyncio.Event()

    copying = asyncio.create_task(
        repository.copy(Access(str(image)), new_volume(256 * MIB), lambda _fraction: started.set())
    )
    await started.wait()
    while not copying.done():
        copying.cancel()
        await asyncio.sleep(0.001)

    assert copying.cancelled()
    assert names(disks) == set()


async def test_a_guest_cannot_turn_its_raw_disk_into_another_format(
    repository: FileRepository, disks: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 1000)
    written = tmp_path / "written-by-a-guest"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", written], check=True
    )
    size = -(-written.stat().st_size // 4096) * 4096

    copy = await repository.copy(Access(str(written)), new_volume(size), no_progress)
    await repository.publish(copy.location)

    header = written.read_bytes()
    subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disks / copy.location,
         tmp_path / "shown"], check=True,
    )  # fmt: skip
    assert (tmp_path / "shown").read_bytes()[: len(header)] == header


def leaning_on(image: Path, backing: str, form: str = "qcow2") -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", backing, "-F", form]
    subprocess.run([*command, image, "8M"], check=True)


@pytest.mark.parametrize(
    "backing",
    ["/etc/passwd", "../secret.base", "json:{}", "nbd://x/y", "secret", OTHER],
)
async def test_an_image_that_leans_on_something_else_is_not_opened(
    repository: FileRepository, disks: Path, backing: str
) -> None:
    uuid = str(uuids.uuid4())
    leaning_on(disks / f"{uuid}.qcow2", backing)

    assert await repository.scan(()) == []
    with pytest.raises(VolumeMissing):
        await repository.activate(f"{uuid}.qcow2", writable=False)
    with pytest.raises(VolumeMissing):
        await cloned(repository, f"{uuid}.qcow2")
    assert (disks / f"{uuid}.qcow2").exists()


async def test_a_base_that_leans_on_something_else_is_not_opened(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository)
    fill(disks / location, 1)
    await cloned(repository, location)
    (base,) = bases(disks)
    (disks / base).unlink()
    leaning_on(disks / base, "/etc/passwd", "raw")

    with pytest.raises(BackendFailure, match="not this storage's"):
        await repository.activate(location, writable=False)
    (disks / base).unlink()
    with pytest.raises(BackendFailure, match="missing"):
        await repository.activate(location, writable=False)


async def test_an_image_with_its_data_elsewhere_is_not_opened(
    repository: FileRepository, disks: Path, tmp_path: Path
) -> None:
    location = f"{uuids.uuid4()}.qcow2"
    option = f"data_file={tmp_path / 'data'}"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, disks / location, "8M"],
        check=True,
    )

    with pytest.raises(VolumeMissing):
        await repository.activate(location, writable=False)


async def test_damaged_headers_are_no_images(repository: FileRepository, disks: Path) -> None:
    location = await published(repository)
    whole = (disks / location).read_bytes()
    damages = [
        b"",
        whole[:50],
        b"QFI\xfb" + b"\xff" * 200,
        whole[:8] + struct.pack(">QI", 1 << 40, 100) + whole[20:],
        whole[:8] + struct.pack(">QI", 200, 1 << 31) + whole[20:],
        whole[:32] + struct.pack(">I", 1) + whole[36:],
    ]

    for damage in damages:
        (disks / location).write_bytes(damage)
        with pytest.raises(VolumeMissing):
            await repository.look(location)


async def test_nothing_is_removed_or_merged_while_a_disk_is_missing(
    repository: FileRepository, disks: Path, tmp_path: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    snapshot = await cloned(repository, original)
    third = await cloned(repository, original)
    (disks / original).rename(tmp_path / "aside")
    known = {original, snapshot, third}
    await repository.scan(known)

    await removed(repository, snapshot)
    await removed(repository, third)
    assert not await repository.reclaimable()
    await repository.scan({original})
    assert len(bases(disks)) == 1

    (tmp_path / "aside").rename(disks / original)
    (found,) = await repository.scan({original})
    assert shows(disks / found.location, 1)
    await repository.reclaim(no_progress)
    assert names(disks) == files_of(original)
    assert shows(disks / original, 1)


async def test_an_unreadable_image_keeps_every_base(
    repository: FileRepository, disks: Path
) -> None:
    original = await published(repository)
    fill(disks / original, 1)
    snapshot = await cloned(repository, original)
    whole = (disks / original).read_bytes()
    (disks / original).write_bytes(b"damaged")

    await repository.scan({original, snapshot})
    await removed(repository, snapshot)
    await repository.scan({original})
    assert len(bases(disks)) == 1

    (disks / original).write_bytes(whole)
    await repository.scan({original})
    assert shows(disks / original, 1)
    assert names(disks) - {snapshot.replace(".qcow2", ".json")} >= files_of(original)


async def test_a_repository_with_hidden_images_is_not_destroyed(
    repository: FileRepository, disks: Path
) -> None:
    location = await published(repository)
    fill(disks / location, 1)
    clone = await cloned(repository, location)
    for each in (location, clone):
        (disks / each).unlink()

    with pytest.raises(RepositoryNotEmpty):
        await repository.destroy()


async def test_raw_volumes_of_earlier_days_live_on_beside_new_ones(
    driver: FileDriver, disks: Path, sr: str
) -> None:
    await driver.create(sr, {"location": str(disks)}, "")
    repository = await driver.attach(sr, {"location": str(disks)})
    old = await published(repository)
    await repository.detach()
    (disks / "xapid-sr.json").write_text(f'{{"format":1,"uuid":"{sr}","name":"","made":true}}')

    again = await driver.attach(sr, {"location": str(disks)})
    assert (await published(again)).endswith(".raw")
    await again.detach()
    again = await driver.attach(sr, {"location": str(disks), "format": "qcow2"})
    new = await published(again)
    clone = await cloned(again, old)

    assert (old[-4:], new[-6:], clone[-4:]) == (".raw", ".qcow2", ".raw")
    assert await again.locate(old[:36]) == old
    assert (await again.locate(str(uuids.uuid4()))).endswith(".qcow2")
    await again.detach()


async def test_an_introduced_repository_remembers_its_format(
    repository: FileRepository, driver: FileDriver, disks: Path, sr: str
) -> None:
    await repository.detach()

    again = await driver.attach(sr, {"location": str(disks)})

    assert (await published(again)).endswith(".qcow2")
    await again.detach()


async def test_an_unknown_format_is_refused(driver: FileDriver, disks: Path) -> None:
    for wanted in ("vhd", "QCOW2", "qcow2,backing_file=/etc/passwd"):
        with pytest.raises(ConfigInvalid, match="format"):
            driver.check({"location": str(disks), "format": wanted})


async def test_our_reading_of_a_header_is_qemus(repository: FileRepository, disks: Path) -> None:
    location = await published(repository)
    fill(disks / location, 1)
    await cloned(repository, location)

    found = info(disks / location)
    fd = os.open(disks / location, os.O_RDONLY)
    header = read_header(fd)
    os.close(fd)

    assert header.virtual_size == found["virtual-size"]
    assert header.cluster_size == found["cluster-size"]
    assert header.backing == found["backing-filename"]
    assert header.backing_format == found["backing-filename-format"]
