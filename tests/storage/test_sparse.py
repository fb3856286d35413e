"""Copies that leave holes, and what is behind them on its way to the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from xapid.storage import sparse
from xapid.storage.blocking import Stop
from xapid.storage.writeback import WINDOW, Writeback

KIB = 1 << 10
MIB = 1 << 20


class Watcher:
    def report(self, _fraction: float) -> None:
        """Nobody watches."""


@pytest.mark.parametrize("tail", [0, 1, 700, 64 * KIB - 1])
def test_zeros_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: int) -> None:
    content = bytes(256 * KIB) + os.urandom(128 * KIB) + bytes(2048 * KIB) + os.urandom(tail)
    (tmp_path / "source").write_bytes(content)
    (tmp_path / "target").touch()
    monkeypatch.setattr(os, "copy_file_range", _between_devices)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR)

    try:
        sparse.copy_image(Watcher(), source, target, len(content))  # type: ignore[arg-type]
        os.fsync(target)
    finally:
        os.close(source)
        os.close(target)

    assert (tmp_path / "target").read_bytes() == content
    assert (tmp_path / "target").stat().st_blocks * 512 <= 256 * KIB


@pytest.mark.parametrize("tail", [0, 512, 700])
def test_a_device_is_filled_up_to_the_end_of_its_source(tmp_path: Path, tail: int) -> None:
    content = os.urandom(4096 * KIB) + bytes(4096 * KIB) + os.urandom(128 * KIB + tail)
    (tmp_path / "source").write_bytes(content)
    size = len(content) + 4096 * KIB
    (tmp_path / "target").touch()
    os.truncate(tmp_path / "target", size)

    sparse.fill_device(
        Watcher(),  # type: ignore[arg-type]
        str(tmp_path / "source"),
        str(tmp_path / "target"),
        size,
    )

    assert (tmp_path / "target").read_bytes() == content.ljust(size, b"\0")


def test_a_device_that_is_told_to_be_left_is_left_at_once(tmp_path: Path) -> None:
    class Stopped:
        def report(self, fraction: float) -> None:
            if fraction > 0:
                raise Stop

    (tmp_path / "source").write_bytes(os.urandom(2 * sparse.DIRECT))
    (tmp_path / "target").touch()

    with pytest.raises(Stop):
        sparse.fill_device(
            Stopped(),  # type: ignore[arg-type]
            str(tmp_path / "source"),
            str(tmp_path / "target"),
            2 * sparse.DIRECT,
        )

    assert (tmp_path / "target").stat().st_size == sparse.DIRECT


def _between_devices(*_: object) -> int:
    raise OSError(22, "Invalid argument")


def test_what_was_written_long_ago_is_waited_for(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    behind = Writeback(fd)
    for at in range(0, WINDOW + 16 * MIB, 16 * MIB):
        os.pwrite(fd, b"x", at)
        behind.wrote(at, 16 * MIB)
    os.close(fd)

    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        behind.wrote(0, MIB)


def test_a_target_that_reaches_no_disk_is_no_error() -> None:
    reading, writing = os.pipe()
    try:
        Writeback(writing).wrote(0, MIB)
    finally:
        os.close(reading)
        os.close(writing)
