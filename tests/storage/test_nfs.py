"""The `nfs` kind of storage: what it accepts, and a round trip where this kernel has NFS."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path

import pytest

from xapid.storage.driver import (
    BackendFailure,
    ConfigInvalid,
    ConfigMissing,
    NewVolume,
    StorageTimeout,
    no_progress,
)
from xapid.storage.mounts import Mounts, mounted
from xapid.storage.nfs import NfsDriver, exported

from .images import needs_qemu_img

MIB = 1 << 20


def _why_not() -> str:
    if os.geteuid() != 0:
        return "only root can mount"
    if "\tnfs4\n" not in Path("/proc/filesystems").read_text():
        return "this kernel has no NFS"
    if shutil.which("mount.nfs") is None or shutil.which("exportfs") is None:
        return "nfs-common or nfs-kernel-server is not installed"
    if not Path("/proc/fs/nfsd/threads").exists():
        return "no NFS server runs here"
    return ""


WHY_NOT = _why_not()


@pytest.fixture
def driver(tmp_path: Path) -> NfsDriver:
    return NfsDriver(Mounts(tmp_path / "mounted"))


def config(**changed: str) -> dict[str, str]:
    return {"server": "server.example", "serverpath": "/srv/disks", **changed}


@pytest.mark.parametrize(
    "good", [{}, {"server": "192.0.2.1"}, {"server": "2001:db8::1"}, {"nfsversion": "4.2"},
             {"format": "raw"}]
)  # fmt: skip
def test_a_server_and_a_path_are_enough(driver: NfsDriver, good: dict[str, str]) -> None:
    driver.check(config(**good))


@pytest.mark.parametrize(
    "bad",
    [
        {"server": "-o"},
        {"server": "a,b"},
        {"server": "a:b"},
        {"server": "a" * 300},
        {"server": "a." * 60 + "!"},
        {"serverpath": "srv"},
        {"serverpath": "/srv/../etc"},
        {"serverpath": "/srv/a,b"},
        {"serverpath": "/srv/a b"},
        {"nfsversion": "4.1,suid"},
        {"options": "suid"},
        {"format": "vhd"},
    ],
)
def test_nothing_else_reaches_mount(driver: NfsDriver, bad: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid):
        driver.check(config(**bad))


@pytest.mark.parametrize("key", ["server", "serverpath"])
def test_what_is_missing_is_named(driver: NfsDriver, key: str) -> None:
    with pytest.raises(ConfigMissing, match=key):
        driver.check(config(**{key: ""}))


def test_only_exports_that_an_sr_could_name_are_found() -> None:
    output = "/srv/disks  192.0.2.0/24\n/srv/a\\040b *\n\n/ (everyone)\n../x *\n"

    assert exported(output) == ["/srv/disks", "/"]


@pytest.mark.skipif(shutil.which("showmount") is None, reason="nfs-common is not installed")
async def test_a_server_that_is_not_there_is_told(driver: NfsDriver) -> None:
    with pytest.raises((BackendFailure, StorageTimeout), match="showmount"):
        await driver.probe({"server": "127.0.0.1"})


@pytest.fixture
def export(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A directory of this machine, exported to itself."""
    directory = tmp_path / "exported"
    directory.mkdir()
    share = f"127.0.0.1:{directory}"
    options = "rw,no_root_squash,insecure,fsid=77"
    subprocess.run(["exportfs", "-o", options, share], check=True)
    yield {"server": "127.0.0.1", "serverpath": str(directory)}
    subprocess.run(["exportfs", "-u", share], check=True)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
@needs_qemu_img
async def test_disks_live_on_an_export(driver: NfsDriver, export: dict[str, str]) -> None:
    sr = str(uuids.uuid4())
    await driver.create(sr, export, "shared")
    repository = await driver.attach(sr, export)
    await repository.scan(())
    new = NewVolume(str(uuids.uuid4()), 64 * MIB)
    location = (await repository.create(new)).location
    await repository.publish(location)
    clone = await repository.clone(location, NewVolume(str(uuids.uuid4()), 64 * MIB), no_progress)
    await repository.publish(clone.location)
    (found,) = await driver.probe(export)

    await repository.detach()

    assert found.uuid == sr
    again = await driver.attach(sr, export)
    known = {location, clone.location}
    assert {volume.location for volume in await again.scan(known)} == known
    for each in known:
        await again.retire(each)
        await again.purge(each)
    await again.destroy()
    assert not any(sr in each.point for each in mounted())
