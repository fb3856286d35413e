from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from xapid import programs
from xapid.storage import udev_rules


class Played:
    def __init__(self) -> None:
        self.calls: list[Sequence[str]] = []

    async def __call__(self, words: Sequence[str], **_: Any) -> programs.Finished:
        self.calls.append(words)
        return programs.Finished(0, "")


async def test_udev_is_told_once(tmp_path: Path) -> None:
    run = Played()

    await udev_rules.ensure(tmp_path / "rules.d", run)
    await udev_rules.ensure(tmp_path / "rules.d", run)

    assert run.calls == [("udevadm", "control", "--reload")]
    written = {file.name: file.read_text() for file in (tmp_path / "rules.d").iterdir()}
    assert written == dict.fromkeys(udev_rules.NAMES, udev_rules.TEXT)


async def test_nothing_is_written_where_there_is_no_udev(tmp_path: Path) -> None:
    await udev_rules.ensure(tmp_path / "udev" / "rules.d", Played())

    assert not (tmp_path / "udev").exists()


async def test_a_host_without_the_program_goes_on(tmp_path: Path) -> None:
    async def missing(words: Sequence[str], **_: Any) -> programs.Finished:
        raise programs.ProgramMissing("udevadm cannot be run")

    with structlog.testing.capture_logs() as logged:
        await udev_rules.ensure(tmp_path / "rules.d", missing)

    assert [line["log_level"] for line in logged] == ["warning"]
