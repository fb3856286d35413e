"""The program that libxl runs for each disk of a guest that the kernel serves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from xapid.xen.plan import BLOCK_SCRIPT

from .devices import MIB, loop_device, needs_loop_devices

PATH = "backend/vbd/7/51712"
XENSTORE = """#!/bin/sh
cd "$(dirname "$0")/keys" || exit 2
case ${0##*/} in
xenstore-exists) test -e "${1##*/}" ;;
xenstore-read) for key; do cat "${key##*/}" && echo || exit 1; done ;;
xenstore-write) while [ $# -gt 0 ]; do printf %s "$2" >"${1##*/}" || exit 1; shift 2; done ;;
esac
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory with a file for each key of a writable disk in xenstore."""
    for name in ("read", "write", "exists"):
        program = tmp_path / f"xenstore-{name}"
        program.write_text(XENSTORE)
        program.chmod(0o755)
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "mode").write_text("w")
    (keys / "state").write_text("2")
    return keys


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a disk.raw"
    with path.open("wb") as file:
        file.truncate(MIB)
    return path


def hotplug(keys: Path, what: str) -> int:
    """Run the script as libxl does: its exit status."""
    environment = {"PATH": f"{keys.parent}:{os.environ['PATH']}", "XENBUS_PATH": PATH}
    return subprocess.run([BLOCK_SCRIPT, what], env=environment, timeout=30).returncode


def loops(image: Path) -> list[tuple[str, bool]]:
    """The loop devices on an image, and whether each is read-only."""
    command = ["losetup", "-j", image, "-n", "-O", "NAME,RO"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [(name, flag == "1") for name, flag in map(str.split, listed.splitlines())]


@pytest.fixture
def no_loop_left(image: Path) -> Iterator[None]:
    yield
    left = [name for name, _ in loops(image)]
    for name in left:
        subprocess.run(["losetup", "-d", name], check=True)
    assert not left


@needs_loop_devices
@pytest.mark.usefixtures("no_loop_left")
@pytest.mark.parametrize("mode", ["w", "r"])
def test_an_image_gets_a_loop_device_that_goes_with_the_disk(
    keys: Path, image: Path, mode: str
) -> None:
    (keys / "params").write_text(str(image))
    (keys / "mode").write_text(mode)

    assert hotplug(keys, "add") == 0

    [(device, read_only)] = loops(image)
    facts = Path(device).stat()
    number = f"{os.major(facts.st_rdev):x}:{os.minor(facts.st_rdev):x}"
    assert read_only == (mode == "r")
    assert (keys / "physical-device").read_text() == number
    assert (keys / "physical-device-path").read_text() == device
    assert (keys / "hotplug-status").read_text() == "connected"

    assert hotplug(keys, "remove") == 0
    assert not loops(image)


@needs_loop_devices
def test_a_device_is_handed_on_as_it_is_and_stays(keys: Path, tmp_path: Path) -> None:
    with loop_device(tmp_path / "device", MIB) as device:
        link = tmp_path / "link"
        link.symlink_to(device)
        (keys / "params").write_text(str(link))

        assert hotplug(keys, "add") == 0
        assert (keys / "physical-device-path").read_text() == str(device)
        assert not (keys / "node").exists()

        assert hotplug(keys, "remove") == 0
        assert loops(tmp_path / "device") == [(str(device), False)]


@needs_loop_devices
@pytest.mark.usefixtures("no_loop_left")
def test_a_disk_that_is_taken_away_meanwhile_leaves_no_loop_device(keys: Path, image: Path) -> None:
    (keys / "params").write_text(str(image))
    (keys / "state").unlink()

    assert hotplug(keys, "add") != 0

    assert not (keys / "physical-device").exists()


def test_what_is_no_disk_is_refused_with_the_reason(keys: Path, tmp_path: Path) -> None:
    (keys / "params").write_text(str(tmp_path))

    assert hotplug(keys, "add") != 0

    assert (keys / "hotplug-status").read_text() == "error"
    assert "neither an image nor a block device" in (keys / "hotplug-error").read_text()
    assert hotplug(keys, "remove") == 0


def test_a_qcow2_image_is_not_served_for_writing(keys: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    image.write_bytes(b"QFI\xfb")
    (keys / "params").write_text(str(image))

    assert hotplug(keys, "add") == 1

    assert "device model" in (keys / "hotplug-error").read_text()
    assert not (keys / "physical-device").exists()


@pytest.mark.skipif(not Path("/sys/block/nbd0").exists(), reason="this kernel has no nbd loaded")
def test_a_qcow2_image_that_is_only_read_gets_an_nbd_device(keys: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    (keys / "params").write_text(str(image))
    (keys / "mode").write_text("r")

    assert hotplug(keys, "add") == 0

    device = Path((keys / "physical-device-path").read_text())
    held = Path("/sys/block") / device.name
    assert (held / "pid").exists() and (held / "ro").read_text() == "1\n"
    assert (keys / "node").read_text() == str(device)
    assert hotplug(keys, "remove") == 0
    assert not (held / "pid").exists()
