"""A fair share for each caller: a token bucket, and a turn for the calls of one that emptied it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from ..datamodel.errors import TooBusy

RATE: Final = 2_000
BURST: Final = 4_000
MAX_WAITING: Final = 2_048  # calls of all callers together
MAX_CALLERS: Final = 10_000  # remembered at the same time
ALONE_S: Final = 0.2
BLOCK: Final = 64 * 1024  # bytes of an answer that cost as much as a call


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """Lets calls in: at once as long as their caller has tokens, else in turn.

    A caller gets `rate` tokens a second and holds at most `burst`. A call costs one, and one more
    for each 64 kB of its answer. Calls beyond that wait, in the order in which they came; callers
    that have some waiting take turns, one call in each round of the event loop, so that others
    are never behind more than one. A caller that is alone waits for no tokens, as nobody would
    gain by it, unless `spare` is False. total: rate and burst of all callers together.
    """

    def __init__(
        self,
        *,
        rate: float = RATE,
        burst: float = BURST,
        spare: bool = True,
        total: tuple[float, float] | None = None,
        time: Callable[[], float] = monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._spare = spare
        self._total = total
        self._shared = _Bucket(total[1], time()) if total else None
        self._time = time
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()  # used longest ago first
        self._queues: OrderedDict[str, _Bucket] = OrderedDict()  # whose turn it is first
        self._serving: asyncio.Task[None] | None = None
        self.waiting = 0
        self.delayed = 0
        self.refused = 0

    def limit(self, *, rate: float, burst: float) -> None:
        """Give all callers another share, from the next call on."""
        self._rate = rate
        self._burst = burst

    @property
    def callers(self) -> int:
        """How many callers are remembered."""
        return len(self._buckets)

    async def enter(self, caller: str) -> None:
        """Return when it is the caller's turn. Raises TooBusy when too many calls wait."""
        if self.admit(caller):
            return
        if self.waiting >= MAX_WAITING:
            self.refused += 1
            raise TooBusy
        self.waiting += 1
        self.delayed += 1
        bucket = self._buckets[caller]
        turn = asyncio.get_running_loop().create_future()
        bucket.waiting.append(turn)
        self._queues.setdefault(caller, bucket)
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="callers in turn")
        try:
            await turn
        finally:
            self.waiting -= 1

    def admit(self, caller: str) -> bool:
        """Let a call in that may go on without waiting; False: it must `enter`."""
        bucket = self._filled(caller)
        if bucket.waiting or not (bucket.tokens >= 1.0 or self._alone(caller)):
            return False
        if self._missing_together() > 0.0:
            return False
        self._pay(bucket)
        return True

    def charge(self, caller: str, answer: int) -> None:
        """Let the caller pay for the bytes of a long answer; its debt has an end."""
        cost = answer // BLOCK
        bucket = self._buckets.get(caller)
        if cost and bucket is not None:
            bucket.tokens = max(bucket.tokens - cost, -self._burst)

    def close(self) -> None:
        """Let all who wait in."""
        for bucket in self._queues.values():
            for turn in bucket.waiting:
                if not turn.done():
                    turn.set_result(None)
            bucket.waiting.clear()
        self._queues.clear()
        if self._serving is not None:
            self._serving.cancel()
            self._serving = None

    def _filled(self, caller: str) -> _Bucket:
        """The caller's bucket as it is now, marked as used."""
        now = self._time()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._burst, now)
            if len(self._buckets) > MAX_CALLERS:
                self._forget_one()
            return bucket
        _refill(bucket, now, self._rate, self._burst)
        self._buckets.move_to_end(caller)
        return bucket

    def _missing_together(self) -> float:
        """Seconds until there is a token of those that all callers share."""
        if self._total is None or self._shared is None:
            return 0.0
        _refill(self._shared, self._time(), *self._total)
        return max(1.0 - self._shared.tokens, 0.0) / self._total[0]

    def _pay(self, bucket: _Bucket) -> None:
        """Take a token; a caller that goes on without any, as it is alone, gets no deeper."""
        bucket.tokens = max(bucket.tokens - 1.0, min(bucket.tokens, 0.0))
        if self._shared is not None:
            self._shared.tokens -= 1.0

    def _forget_one(self) -> None:
        for caller, bucket in self._buckets.items():
            if not bucket.waiting:
                del self._buckets[caller]
                return

    def _alone(self, caller: str) -> bool:
        """Whether nobody else has called of late."""
        if not self._spare or (self._queues and any(name != caller for name in self._queues)):
            return False
        for name, bucket in reversed(self._buckets.items()):
            if name != caller:
                return self._time() - bucket.filled_at >= ALONE_S
        return True

    async def _serve(self) -> None:
        """Call those who wait, one in each round of the event loop."""
        while self._queues:
            pause_s = 0.0 if self._call_next() else self._until_next_s()
            await asyncio.sleep(pause_s)
        self._serving = None

    def _call_next(self) -> bool:
        """Let the first call in whose caller may go on; whether there was one."""
        if self._missing_together() > 0.0:
            return False
        for caller, bucket in list(self._queues.items()):
            _refill(bucket, self._time(), self._rate, self._burst)
            if bucket.tokens < 1.0 and not self._alone(caller):
                continue
            self._queues.move_to_end(caller)
            while bucket.waiting:
                turn = bucket.waiting.popleft()
                if not turn.done():  # its client did not go away meanwhile
                    self._pay(bucket)
                    turn.set_result(None)
                    break
            if not bucket.waiting:
                del self._queues[caller]
            return True
        return False

    def _until_next_s(self) -> float:
        """Seconds until one of those who wait has a token."""
        missing = min(1.0 - bucket.tokens for bucket in self._queues.values())
        wait_s = max(missing / self._rate, self._missing_together(), 0.0)
        return min(wait_s, ALONE_S)


def _refill(bucket: _Bucket, now: float, rate: float, burst: float) -> None:
    bucket.tokens = min(bucket.tokens + (now - bucket.filled_at) * rate, burst)
    bucket.filled_at = now
