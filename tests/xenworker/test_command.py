"""The command xapid-xen: its exit codes and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xapid.xen.client import XenClient
from xapid.xen.errors import XenUnavailable

ON_XEN = Path("/proc/xen/capabilities").exists()


def run(tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "xapid.xenworker"),
            *("--socket", str(tmp_path / "socket"), "--lock", str(tmp_path / "lock")),
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.skipif(ON_XEN, reason="this is a Xen host")
def test_without_xen_it_says_so_in_one_line_and_exits_with_69(tmp_path: Path) -> None:
    ended = run(tmp_path, "--xen", "libxl")

    assert ended.returncode == 69
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("error Xen is not available: ")
    assert not (tmp_path / "socket").exists()


@pytest.mark.skipif(ON_XEN, reason="this is a Xen host")
async def test_without_xen_the_client_raises_the_workers_sentence(tmp_path: Path) -> None:
    with pytest.raises(XenUnavailable, match=r"^Xen is not available: .+"):
        await XenClient.start(
            socket_path=tmp_path / "socket", lock_path=tmp_path / "lock", xen="libxl"
        )


@pytest.mark.parametrize(
    "arguments",
    [(), ("--xen", "kvm"), ("--xen", "mock", "--contexts", "4"), ("--xen", "mock", "--what")],
)
def test_a_bad_command_line_exits_with_64(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = run(tmp_path, *arguments)

    assert ended.returncode == 64
    assert ended.stderr.startswith("error ")


def test_a_socket_it_cannot_make_is_one_line_of_complaint(tmp_path: Path) -> None:
    ended = run(tmp_path, "--xen", "mock", "--socket", str(tmp_path / "absent" / "socket"))

    assert ended.returncode == 70
    assert len(ended.stderr.splitlines()) == 1


async def test_what_the_worker_prints_never_stops_it(tmp_path: Path) -> None:
    """Its log goes to a pipe nobody reads, and it works on."""
    read_end, write_end = os.pipe()
    socket_path = tmp_path / "socket"
    worker = subprocess.Popen(  # noqa: ASYNC220
        [
            *(sys.executable, "-m", "xapid.xenworker", "--xen", "mock"),
            *("--socket", str(socket_path), "--lock", str(tmp_path / "lock")),
        ],
        stderr=write_end,
    )
    os.close(write_end)
    try:
        client = await connect(socket_path, worker)
        for _ in range(1500):
            with pytest.raises(Exception, match="libxl_domain_unpause"):
                await client.domain_unpause(4000)
        await client.close()
    finally:
        worker.terminate()
        worker.wait(10)
        os.close(read_end)

    assert worker.returncode == 0


async def connect(socket_path: Path, worker: subprocess.Popen[bytes]) -> XenClient:
    while worker.poll() is None:
        try:
            return await XenClient.start(
                socket_path=socket_path, lock_path=socket_path, xen="mock", spawn=False
            )
        except XenUnavailable:
            continue
    raise AssertionError("the worker ended")
