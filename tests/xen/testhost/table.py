"""How long each step took for each type of guest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Table:
    """Seconds by column (a type of guest) and row (a step), in the order of their coming."""

    seconds: dict[str, dict[str, float]] = field(default_factory=dict)

    @contextmanager
    def step(self, column: str, row: str) -> Iterator[None]:
        """Measure the block; a block that fails is not entered."""
        started = time.monotonic()
        yield
        self.put(column, row, time.monotonic() - started)

    def put(self, column: str, row: str, value: float) -> None:
        """Enter what was measured otherwise."""
        self.seconds.setdefault(row, {})[column] = value

    def take_over(self, seconds: dict[str, dict[str, float]]) -> None:
        """Add what was measured on another host; of two times for one step the longer counts."""
        for row, taken in seconds.items():
            mine = self.seconds.setdefault(row, {})
            for column, time_taken in taken.items():
                mine[column] = max(time_taken, mine.get(column, 0.0))

    def lines(self) -> list[str]:
        """The table as text, one line a step."""
        columns = list(dict.fromkeys(column for row in self.seconds.values() for column in row))
        if not columns:
            return []
        width = max(len(row) for row in self.seconds) + 1
        head = f"{'seconds':<{width}}" + "".join(f"{column:>8}" for column in columns)
        lines = ["", head, "-" * len(head)]
        for row, taken in self.seconds.items():
            cells = (
                f"{taken[column]:8.1f}" if column in taken else f"{'':8}" for column in columns
            )
            lines.append(f"{row:<{width}}" + "".join(cells))
        return lines
