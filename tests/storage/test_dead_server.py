"""Storage that does not answer: nobody else waits for it, and it is used again once it does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from xapid.storage.blocking import Threads
from xapid.storage.driver import NewVolume, StorageTimeout
from xapid.storage.file import FileDriver
from xapid.storage.homes import Home
from xapid.storage.served import NO_SERVERS

DEAD_SERVER = Path(__file__).with_name("dead_server.py")


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A mounted file system that never answers, and what mounted it."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("root and /dev/fuse are needed")
    point = tmp_path / "dead"
    point.mkdir()
    command = [sys.executable, DEAD_SERVER, point]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        if server.stdout.readline() != "mounted\n":
            pytest.skip("this kernel does not let a FUSE file system be mounted")
        yield point, server
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)


async def test_a_dead_server_keeps_nobody_else_waiting(
    dead: tuple[Path, subprocess.Popen[str]], tmp_path: Path
) -> None:
    point, server = dead
    threads = Threads("the dead server", deadline_s=0.3)
    home = Home("location", PurePosixPath(point), "raw")
    sr, config = str(uuids.uuid4()), {"location": str(tmp_path / "alive")}
    driver = FileDriver()
    await driver.create(sr, config, "")
    alive = await driver.attach(sr, config)

    waiting = asyncio.create_task(threads.run(home.probe, {}))
    volume = await alive.create(NewVolume(str(uuids.uuid4()), 4096))
    await alive.publish(volume.location)
    assert not waiting.done()
    with pytest.raises(StorageTimeout, match="did not end"):
        await waiting
    with pytest.raises(StorageTimeout, match="an earlier request still waits"):
        await threads.run(os.getpid)

    server.kill()
    for _ in range(1000):
        await asyncio.sleep(0.01)
        try:
            assert await threads.run(os.getpid) == os.getpid()
            break
        except StorageTimeout:
            continue
    else:
        pytest.fail("the storage answers, and is not asked")
    await alive.detach()
    await driver.close()
    threads.close()


async def test_a_cancelled_request_to_a_dead_server_ends(
    dead: tuple[Path, subprocess.Popen[str]],
) -> None:
    point, _ = dead
    threads = Threads("the dead server", deadline_s=0.3)
    home = Home("location", PurePosixPath(point), "raw")

    waiting = asyncio.create_task(home.attach(str(uuids.uuid4()), None, threads, NO_SERVERS))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 10)
