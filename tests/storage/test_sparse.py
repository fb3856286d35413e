from __future__ import annotations

import os
from pathlib import Path

import pytest

from xapid.storage import sparse

KIB = 1 << 10


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


def _between_devices(*_: object) -> int:
    raise OSError(22, "Invalid argument")
