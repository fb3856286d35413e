"""The event loop's lag, as the daemon itself tells of it."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .processes import PATIENCE_S, Xapid

PAGE_KEPT_S: Final = 1.05
"""How long the daemon answers with the same page of figures."""

_BUCKET: Final = re.compile(r'xapid_loop_lag_seconds_bucket\{le="([^"]+)"\} (\d+)')


def lag_buckets(x: Xapid) -> dict[float, int]:
    """How many ticks of the loop came no later than so many seconds; inf: all of them."""
    text = page(x, "/metrics")
    return {float(bound.replace("+Inf", "inf")): int(n) for bound, n in _BUCKET.findall(text)}


def page(x: Xapid, path: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(x.socket))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(1 << 20), b"")).decode()


class Lag:
    """The loop's lag while it is watched."""

    def __init__(self, x: Xapid) -> None:
        self._x = x
        self._seen: Counter[float] = Counter()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Let what happens meanwhile count, and at most a second of what follows."""
        time.sleep(PAGE_KEPT_S)
        before, began = lag_buckets(self._x), time.monotonic()
        yield
        time.sleep(max(began + PAGE_KEPT_S - time.monotonic(), 0.0))
        self._seen.update(lag_buckets(self._x))
        self._seen.subtract(before)

    def quantile(self, q: float) -> float:
        """The least bound, in seconds, that so much of the ticks stayed below."""
        ticks = self._seen[float("inf")]
        assert ticks
        return min(bound for bound, count in self._seen.items() if count >= q * ticks)
