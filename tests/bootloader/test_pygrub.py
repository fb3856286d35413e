"""pygrub's rules, held against a program that plays pygrub on real loop devices."""

from __future__ import annotations

import asyncio
import os
import stat
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from xapid.xen.bootloader import BootloaderError, Pygrub, find_pygrub
from xapid.xen.lend import lend
from xapid.xen.plan import BackendDisk

UID = 163_824

needs_loop_devices = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(),
    reason="making loop devices and device nodes takes root and the loop driver",
)

PLAYS_PYGRUB = """\
    #!/usr/bin/env python3
    import os, sys
    given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:-1])
    place, node, uid = given["output-directory"], sys.argv[-1], int(given["runas"])
    kernel = open(f"{place}/boot_kernel.abc", "wb")
    ramdisk = open(f"{place}/boot_ramdisk.abc", "wb")
    result = os.open(given["output"], os.O_WRONLY)
    disk = os.open(node, os.O_RDONLY)
    facts = os.fstat(disk)
    assert (facts.st_uid, facts.st_mode & 0o777) == (uid, 0o400), facts
"""
FINDS_A_KERNEL = """\
    os.setgroups([uid]); os.setgid(uid); os.setuid(uid)
    content = os.read(disk, 512)
    kernel.write(content.rstrip(bytes(1)))
    ramdisk.write(b"a ramdisk")
    arguments = f"args root=/dev/xvda {given['args']}"
    answer = (f"kernel {place}/boot_kernel.abc", "ramdisk /etc/shadow", arguments, "")
    os.write(result, "\\0".join(answer).encode())
"""
FINDS_NOTHING = """\
    os.unlink(kernel.name); os.unlink(ramdisk.name)
    raise SystemExit("RuntimeError: Unable to find partition containing kernel")
"""


@pytest.fixture
def disk(tmp_path: Path) -> BackendDisk:
    image = tmp_path / "disk.raw"
    image.touch(mode=0o600)
    image.write_bytes(b"the kernel".ljust(1 << 20, b"\0"))
    return BackendDisk(str(image), "raw", "phy")


@pytest.fixture
def pygrub(tmp_path: Path) -> Callable[[str], Pygrub]:
    def make(behaviour: str) -> Pygrub:
        program = tmp_path / "pygrub"
        program.write_text(textwrap.dedent(PLAYS_PYGRUB) + textwrap.dedent(behaviour))
        program.chmod(0o755)
        return Pygrub(tmp_path / "place", program, [UID])

    return make


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def owner_and_mode(path: str) -> tuple[int, int]:
    facts = Path(path).stat()
    return facts.st_uid, stat.S_IMODE(facts.st_mode)


def loops_on(image: str) -> list[str]:
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.append(backing.read_text().strip())
        except OSError:  # it went meanwhile
            continue
    return [path for path in found if path == image]


@needs_loop_devices
async def test_what_it_finds_can_be_booted_until_the_domain_is_built(
    pygrub: Callable[[str], Pygrub], disk: BackendDisk, tmp_path: Path
) -> None:
    async with pygrub(FINDS_A_KERNEL).fetched(disk, ["--entry=1"], "quiet") as found:
        assert content(found.kernel) == b"the kernel"
        assert content(found.ramdisk) == b"a ramdisk"
        assert found.arguments == "root=/dev/xvda quiet"
        assert loops_on(disk.path) == []

    assert list((tmp_path / "place").iterdir()) == []
    assert owner_and_mode(disk.path) == (0, 0o600)


@needs_loop_devices
async def test_a_path_that_it_answers_with_is_not_taken(
    pygrub: Callable[[str], Pygrub], disk: BackendDisk
) -> None:
    async with pygrub(FINDS_A_KERNEL).fetched(disk, [], "") as found:
        assert "shadow" not in found.ramdisk


@needs_loop_devices
async def test_its_last_words_are_the_error(
    pygrub: Callable[[str], Pygrub], disk: BackendDisk, tmp_path: Path
) -> None:
    with pytest.raises(BootloaderError, match="Unable to find partition containing kernel"):
        async with pygrub(FINDS_NOTHING).fetched(disk, [], ""):
            pass

    assert list((tmp_path / "place").iterdir()) == []
    assert loops_on(disk.path) == []


@needs_loop_devices
async def test_cancelling_ends_it_and_leaves_nothing(
    pygrub: Callable[[str], Pygrub], disk: BackendDisk, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    waits = f"os.close(os.open({str(started)!r}, os.O_WRONLY))\nos.read(os.pipe()[0], 1)\n"

    async def fetch() -> None:
        async with bootloader.fetched(disk, [], ""):
            pytest.fail("it never ends by itself")

    bootloader = pygrub(waits)
    fetching = asyncio.create_task(fetch())
    async with asyncio.timeout(60):
        await asyncio.to_thread(started.read_bytes)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching

    assert list((tmp_path / "place").iterdir()) == []
    assert loops_on(disk.path) == []


@needs_loop_devices
def test_a_lent_disk_is_read_only_and_goes_with_whoever_holds_it(
    disk: BackendDisk, tmp_path: Path
) -> None:
    node = tmp_path / "node"

    held = lend(Path(disk.path), node, UID)

    assert loops_on(disk.path) == [disk.path]
    reader = os.open(node, os.O_RDWR)  # root may open anything
    with pytest.raises(PermissionError):
        os.pwrite(reader, bytes(512), 0)
    os.close(held)
    os.close(reader)
    assert loops_on(disk.path) == []


async def test_no_disk_is_not_read_at_all(pygrub: Callable[[str], Pygrub]) -> None:
    with pytest.raises(BootloaderError, match="no disk"):
        async with pygrub(FINDS_A_KERNEL).fetched(None, [], ""):
            pass


def test_the_pygrub_of_the_running_xen_is_found_first(tmp_path: Path) -> None:
    for directory in ("xen-4.17", "xen-4.20", "xen"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "pygrub").touch()
    places = [f"{tmp_path}/xen-{{}}", f"{tmp_path}/xen"]

    assert find_pygrub("4.20", places) == tmp_path / "xen-4.20" / "pygrub"
    assert find_pygrub("4.99", places) == tmp_path / "xen" / "pygrub"
    assert find_pygrub("4.99", places[:1]) is None
