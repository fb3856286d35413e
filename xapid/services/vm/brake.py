"""A brake on guests that reboot or crash in a loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WINDOW_S = 120.0
FREE_RESTARTS = 3
LONGEST_DELAY_S = 60.0
CRASHES_TOLERATED = 5


@dataclass
class RestartBrake:
    """Counts the restarts of each VM that nobody asked for.

    The first three within two minutes are free; each further one waits twice as long as the one
    before, up to a minute. A VM that crashed five times within two minutes is left halted.
    """

    monotonic: Callable[[], float]
    _restarts: dict[str, deque[float]] = field(default_factory=dict)

    def delay_s(self, vm: str) -> float:
        """Seconds to wait before the next restart of this VM."""
        recent = len(self._recent(vm))
        if recent < FREE_RESTARTS:
            return 0.0
        return min(LONGEST_DELAY_S, 2.0 ** (recent - FREE_RESTARTS))

    def gives_up(self, vm: str) -> bool:
        """Whether a crashed VM has been restarted too often to try again."""
        return len(self._recent(vm)) >= CRASHES_TOLERATED

    def count(self, vm: str) -> None:
        """Note one restart."""
        self._recent(vm).append(self.monotonic())

    def forget(self, vm: str) -> None:
        """The VM was halted or destroyed: its next restart is its first."""
        self._restarts.pop(vm, None)

    def _recent(self, vm: str) -> deque[float]:
        restarts = self._restarts.setdefault(vm, deque())
        while restarts and restarts[0] < self.monotonic() - WINDOW_S:
            restarts.popleft()
        return restarts
