"""Hears the API's events beside what a test does, and says when each came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from testhost.api import ApiError, PlainApi
from testhost.machine import HostError


@dataclass(frozen=True)
class Heard:
    """One event, and when the answer that carried it was here."""

    at: float
    event: dict[str, Any]

    @property
    def snapshot(self) -> dict[str, Any]:
        found: dict[str, Any] = self.event["snapshot"]
        return found


class Listener:
    """A session of its own that calls event.next again and again, in a thread."""

    def __init__(self, port: int, password: str, *classes: str) -> None:
        self._api = PlainApi(port, password)
        self._login = port, password
        self._api.call("event.register", list(classes))
        self._heard: list[Heard] = []
        self._news = threading.Condition()
        self._ended: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # One connection carries one call at a time, and this one's waits.
        other = PlainApi(*self._login)
        with suppress(ApiError):
            other.end_session(self._api.session)
        other.close()
        self._thread.join(40)
        self._api.close()

    def _listen(self) -> None:
        try:
            while True:
                events = self._api.call("event.next")
                with self._news:
                    self._heard += [Heard(time.monotonic(), event) for event in events]
                    self._news.notify_all()
        except (ApiError, OSError) as error:
            with self._news:
                self._ended = error
                self._news.notify_all()

    @property
    def heard(self) -> list[Heard]:
        """Everything so far, oldest first."""
        with self._news:
            return list(self._heard)

    def wait(
        self, what: str, found: Callable[[dict[str, Any]], bool], timeout_s: float, after: int = 0
    ) -> Heard:
        """The first event from number `after` on for which `found` holds. Raises HostError."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                for heard in self._heard[after:]:
                    if found(heard.event):
                        return heard
                left = deadline - time.monotonic()
                if self._ended is not None:
                    raise HostError(f"nobody listens any more: {self._ended}")
                if left <= 0 or not self._news.wait(left):
                    raise HostError(f"not within {timeout_s:.0f} s: {what}")
