"""A directory of images as an SR, for tests of several kinds of storage."""

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from xapid.storage.file import FileDriver
from xapid.storage.images import FileRepository


@pytest.fixture
async def driver() -> AsyncIterator[FileDriver]:
    driver = FileDriver()
    yield driver
    await driver.close()


@pytest.fixture
def sr() -> str:
    """The uuid of an SR."""
    return str(uuids.uuid4())


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    """The directory that is the SR's."""
    return tmp_path / "disks"


@pytest.fixture
def form() -> str:
    """What new disks are; a module may say qcow2."""
    return "raw"


@pytest.fixture
async def repository(
    driver: FileDriver, disks: Path, sr: str, form: str
) -> AsyncIterator[FileRepository]:
    """The SR, attached and empty."""
    config = {"location": str(disks), "format": form}
    await driver.create(sr, config, "local")
    repository = await driver.attach(sr, config)
    await repository.scan(())
    yield repository
    await repository.detach()
