"""The `ext` kind of storage on loop devices."""

# ruff: noqa: ASYNC221, ASYNC240 (a test may block its own loop)

from __future__ import annotations

import subprocess
import uuid as uuids
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from xapid.storage.driver import (
    ConfigInvalid,
    ConfigMissing,
    NewVolume,
    RepositoryInUse,
    RepositoryMissing,
    RepositoryNotEmpty,
    no_progress,
)
from xapid.storage.ext import ExtDriver, superblock
from xapid.storage.mounts import Mounts, mounted

from .devices import MIB, loop_device, needs_loop_devices
from .images import fill, needs_qemu_img, shows

pytestmark = [needs_loop_devices, needs_qemu_img]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    with loop_device(tmp_path / "device") as device:
        yield device


@pytest.fixture
def points(tmp_path: Path) -> Iterator[Path]:
    points = tmp_path / "mounted"
    yield points
    left = [each.point for each in mounted() if each.point.startswith(str(points))]
    for point in left:
        subprocess.run(["umount", point], check=True)
    assert left == []
    assert not points.exists() or list(points.iterdir()) == []


@pytest.fixture
async def driver(points: Path) -> AsyncIterator[ExtDriver]:
    driver = ExtDriver(Mounts(points))
    yield driver
    await driver.close()


@pytest.fixture
def config(device: Path) -> dict[str, str]:
    return {"device": str(device)}


async def test_an_empty_device_becomes_a_repository_that_comes_back(
    driver: ExtDriver, config: dict[str, str], points: Path, sr: str
) -> None:
    await driver.create(sr, config, "disks")
    repository = await driver.attach(sr, config)
    await repository.scan(())
    new = NewVolume(str(uuids.uuid4()), 64 * MIB)
    location = (await repository.create(new)).location
    await repository.publish(location)
    fill(points / sr / location, 4)
    snapshot = await repository.clone(
        location, NewVolume(str(uuids.uuid4()), 64 * MIB), no_progress
    )
    await repository.publish(snapshot.location)
    space = await repository.stat()
    options = next(
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if sr in line
    )
    await repository.detach()
    assert mounted()[-1].point != str(points / sr)

    again = await driver.attach(sr, config)
    found = {volume.location for volume in await again.scan({location, snapshot.location})}

    assert location.endswith(".qcow2")
    assert found == {location, snapshot.location}
    assert shows(points / sr / snapshot.location, 4)
    assert 200 * MIB < space.total < 256 * MIB
    assert all(word in options for word in ("nosuid", "nodev", "noexec"))
    assert (points / sr).stat().st_mode & 0o777 == 0o700
    for each in found:
        await again.retire(each)
        await again.purge(each)
    await again.destroy()


async def test_a_destroyed_repository_leaves_a_device_that_holds_nothing(
    driver: ExtDriver, config: dict[str, str], device: Path, sr: str
) -> None:
    await driver.create(sr, config, "")
    repository = await driver.attach(sr, config)
    volume = await repository.create(NewVolume(str(uuids.uuid4()), MIB))
    await repository.publish(volume.location)
    with pytest.raises(RepositoryNotEmpty):
        await repository.destroy()
    await repository.retire(volume.location)
    await repository.purge(volume.location)

    await repository.destroy()

    assert (await superblock(str(device))).kind == ""
    await driver.create(str(uuids.uuid4()), config, "the next one")


async def test_a_device_that_holds_something_else_is_refused(
    driver: ExtDriver, config: dict[str, str], device: Path, sr: str
) -> None:
    for command in (["mkfs.ext4", "-q", "-L", "photos"], ["mkswap", "-q"]):
        subprocess.run(["wipefs", "-qa", device], check=True)
        subprocess.run([*command, device], check=True, capture_output=True)

        with pytest.raises(ConfigInvalid, match="holds something"):
            await driver.create(sr, config, "")

        assert (await superblock(str(device))).kind


async def test_a_device_with_partitions_is_refused(
    driver: ExtDriver, config: dict[str, str], device: Path, sr: str
) -> None:
    table = bytearray(512)
    table[446 + 4] = 0x83
    table[446 + 8 : 446 + 16] = (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    table[510:] = b"\x55\xaa"
    device.write_bytes(table)

    with pytest.raises(ConfigInvalid, match=r"holds something already .dos"):
        await driver.create(sr, config, "")


async def test_the_disks_of_another_repository_are_not_formatted(
    driver: ExtDriver, config: dict[str, str], points: Path, sr: str
) -> None:
    await driver.create(sr, config, "")
    repository = await driver.attach(sr, config)
    volume = await repository.create(NewVolume(str(uuids.uuid4()), MIB))
    await repository.publish(volume.location)

    with pytest.raises(RepositoryInUse):  # while it is mounted
        await driver.create(str(uuids.uuid4()), config, "")
    await repository.detach()
    with pytest.raises(RepositoryInUse):  # and while it is not
        await driver.create(str(uuids.uuid4()), config, "")

    again = await driver.attach(sr, config)
    assert [found.uuid for found in await again.scan(())] == [volume.uuid]
    await again.detach()


async def test_a_creation_that_was_cut_short_can_be_repeated(
    driver: ExtDriver, config: dict[str, str], sr: str
) -> None:
    await driver.create(str(uuids.uuid4()), config, "cut short")

    await driver.create(sr, config, "again")

    await (await driver.attach(sr, config)).detach()


async def test_a_file_system_that_stayed_mounted_is_taken_over(
    driver: ExtDriver, config: dict[str, str], points: Path, sr: str
) -> None:
    await driver.create(sr, config, "")
    repository = await driver.attach(sr, config)
    with (points / sr / "held-by-a-guest").open("w"):
        await repository.detach()
        assert any(each.point == str(points / sr) for each in mounted())

    again = await driver.attach(sr, config)

    assert (points / sr / "held-by-a-guest").exists()
    await again.detach()


async def test_probe_tells_which_repository_is_there(
    driver: ExtDriver, config: dict[str, str], sr: str
) -> None:
    assert await driver.probe(config) == ()
    await driver.create(sr, config, "")

    (found,) = await driver.probe(config)

    assert (found.uuid, found.device_config, found.size) == (sr, config, 256 * MIB)


async def test_another_repositorys_device_is_not_attached(
    driver: ExtDriver, config: dict[str, str], sr: str
) -> None:
    with pytest.raises(RepositoryMissing):
        await driver.attach(sr, config)
    await driver.create(sr, config, "")
    with pytest.raises(RepositoryMissing):
        await driver.attach(str(uuids.uuid4()), config)


@pytest.mark.parametrize(
    "device",
    ["loop0", "/etc/passwd", "/dev/../etc/passwd", "/dev//loop0", "/dev/a b", "/dev/a,/dev/b"],
)
async def test_what_is_no_device_of_this_host_is_refused(driver: ExtDriver, device: str) -> None:
    with pytest.raises(ConfigInvalid):
        driver.check({"device": device})


async def test_a_node_that_is_no_block_device_is_refused(driver: ExtDriver, sr: str) -> None:
    for device in ("/dev/null", "/dev/not-there", "/dev/shm"):
        with pytest.raises(ConfigInvalid):
            await driver.create(sr, {"device": device}, "")
    with pytest.raises(ConfigMissing):
        driver.check({})


async def test_the_root_of_this_host_is_refused(driver: ExtDriver, sr: str) -> None:
    (root,) = [each for each in mounted() if each.point == "/"]
    if not Path(root.source).is_block_device():
        pytest.skip(f"the root file system here is {root.source}, which is no block device")
    with pytest.raises((ConfigInvalid, RepositoryInUse)):
        await driver.create(sr, {"device": root.source}, "")
