"""A short run of `make torture`."""

from __future__ import annotations

from .torture import torture


def test_no_acknowledged_write_is_lost_over_eight_kills() -> None:
    acknowledged, faults = torture(8, seed=20)

    assert not faults
    assert sum(acknowledged.values()) > 100
