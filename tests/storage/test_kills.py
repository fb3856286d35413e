"""A kill at each step of each change of a chain of qcow2 images."""

from __future__ import annotations

import shutil
import uuid as uuids
from collections import Counter
from pathlib import Path

import pytest

from xapid.storage.driver import NewVolume, no_progress
from xapid.storage.file import FileDriver
from xapid.storage.images import FileRepository

from .images import fill, info, needs_qemu_img, shows
from .mortal import NEW, OLD, SIZE, SNAPSHOT, lived_through

pytestmark = needs_qemu_img

HALF = SIZE // 2
SR = str(uuids.uuid4())
STEPS = {"create": 6, "clone": 12, "copy": 6, "destroy": 5, "destroy-snapshot": 6}
"""How many steps on disk each change has at least; a test that counts fewer kills nothing."""


async def prepared(driver: FileDriver, disks: Path) -> None:
    """OLD holds 1 and then 2; SNAPSHOT is what it was before the 2."""
    config = {"location": str(disks), "format": "qcow2"}
    await driver.create(SR, config, "")
    repository = await driver.attach(SR, config)
    await repository.scan(())
    await repository.create(NewVolume(OLD, SIZE))
    await repository.publish(f"{OLD}.qcow2")
    fill(disks / f"{OLD}.qcow2", 1, size=SIZE)
    await repository.clone(f"{OLD}.qcow2", NewVolume(SNAPSHOT, SIZE), no_progress)
    await repository.publish(f"{SNAPSHOT}.qcow2")
    fill(disks / f"{OLD}.qcow2", 2, size=HALF)
    await repository.detach()


def whole(disks: Path, known: set[str]) -> bool:
    """Every disk that is known shows what it must."""
    for location in known:
        upper = 1 if location.startswith(SNAPSHOT) else 2
        if location.startswith(NEW) and shows(disks / location, 0, size=SIZE):
            continue
        if not shows(disks / location, upper, size=HALF):
            return False
        if not shows(disks / location, 1, at=HALF, size=HALF):
            return False
    return True


def useless(disks: Path, known: set[str]) -> set[str]:
    """Files that no disk needs: bases with fewer than two images on them, and all the rest."""
    leaning: Counter[str] = Counter()
    images = [path for path in disks.iterdir() if path.suffix in (".qcow2", ".base")]
    for path in images:
        leaning[info(path).get("backing-filename", "")] += 1
    bases = {name for name, count in leaning.items() if name and count >= 2}
    labels = {location.replace(".qcow2", ".json") for location in known}
    return {p.name for p in disks.iterdir()} - known - labels - bases - {"xapid-sr.json"}


async def settled(driver: FileDriver, disks: Path, known: set[str]) -> FileRepository:
    repository = await driver.attach(SR, {"location": str(disks)})
    assert {volume.location for volume in await repository.scan(known)} == known
    return repository


@pytest.mark.parametrize("change", STEPS)
async def test_a_kill_at_any_step_leaves_the_old_state_or_the_new(
    tmp_path: Path, change: str
) -> None:
    driver = FileDriver()
    await prepared(driver, tmp_path / "master")
    disks, database = tmp_path / "disks", tmp_path / "database"
    for step in range(1, 60):
        shutil.rmtree(disks, ignore_errors=True)
        shutil.copytree(tmp_path / "master", disks)
        before = {f"{OLD}.qcow2", f"{SNAPSHOT}.qcow2"}
        database.write_text("\n".join(before))

        lived = await lived_through(disks, database, change, step, "qcow2")

        known = set(database.read_text().split())
        repository = await settled(driver, disks, known)
        assert whole(disks, known), f"step {step}"
        await repository.reclaim(no_progress)
        assert useless(disks, known) == set(), f"step {step}"
        assert whole(disks, known), f"step {step}"
        await repository.detach()
        if lived:
            assert step > STEPS[change]
            assert known != before
            await driver.close()
            return
    pytest.fail("the change never came to its end")
