"""How many calls there were, how they ended, and how long they took."""

from __future__ import annotations

from typing import Final

from ..datamodel.registry import Method
from ..prometheus import Counter, Histogram, Registry
from .turns import Turns

UNKNOWN: Final = "unknown"


class CallFigures:
    """Counts calls by class and method; a client's words never become a label."""

    def __init__(self, registry: Registry) -> None:
        self._calls = Counter(
            "xapid_calls_total",
            "Calls that have ended, by class, method and result.",
            ("class", "method", "result"),
        )
        self._failures = Counter(
            "xapid_call_failures_total", "Calls that failed, by the error's code.", ("code",)
        )
        self._seconds = Histogram(
            "xapid_call_duration_seconds",
            "From a call's arrival to its answer, or to the end of its task.",
            ("class",),
        )
        registry.add(self._calls, self._failures, self._seconds)

    def answered(self, method: Method | None, code: str, seconds: float) -> None:
        """Count a call that ended: with an error's code, or "" when it went well.

        method: None for one that does not exist.
        """
        owner, _, name = method.name.partition(".") if method else (UNKNOWN, "", UNKNOWN)
        self._calls.add(owner, name, "failure" if code else "success")
        self._seconds.observe(seconds, owner)
        if code:
            self._failures.add(code)


def show_turns(registry: Registry, turns: Turns) -> None:
    """Show how callers share the daemon."""
    registry.gauge("xapid_callers", "Callers that have a token bucket.", lambda: turns.callers)
    registry.gauge(
        "xapid_calls_waiting", "Calls that wait for their caller's turn.", lambda: turns.waiting
    )
    registry.counter(
        "xapid_calls_delayed_total",
        "Calls that waited because their caller's tokens were used up.",
        lambda: turns.delayed,
    )
    registry.counter(
        "xapid_calls_refused_total",
        "Calls refused because too many waited.",
        lambda: turns.refused,
    )
