from __future__ import annotations

from pathlib import Path

from .store_kill import PARTS, WRITERS, torture


def test_ten_kills_lose_no_acknowledged_write_and_leave_nothing_by_half(tmp_path: Path):
    tally = torture(kills=10, seed=1, path=tmp_path / "state.db")

    assert tally.wrongs == []
    assert tally.kills == 10 and tally.acknowledged > WRITERS * PARTS
