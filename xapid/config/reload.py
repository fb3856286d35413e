"""SIGHUP: the settings read again, and what changed given to whoever uses it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

import structlog

from . import Config, ConfigError, changes

log = structlog.get_logger(__name__)

Apply = Callable[[Config], Awaitable[None] | None]


class Reload:
    """Reads the settings again when asked; with a mistake in them the old ones stay in force.

    read: gives the settings as they are now, or raises ConfigError. begin, done: told around a
    reload (systemd wants to know).
    """

    def __init__(
        self,
        current: Config,
        read: Callable[[], Config],
        *,
        begin: Callable[[], None] = lambda: None,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._current = current
        self._read = read
        self._begin = begin
        self._done = done
        self._appliers: list[Apply] = []
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def on_change(self, apply: Apply) -> None:
        """Give `apply` the settings at each reload."""
        self._appliers.append(apply)

    def start(self) -> None:
        """Reload at each SIGHUP from now on."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        self._task = asyncio.create_task(self._serve(), name="reload")

    async def close(self) -> None:
        """Ignore SIGHUP: it must not end a daemon that is stopping."""
        if self._task is not None:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _serve(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._begin()
            try:
                await self.again()
            finally:
                self._done()

    async def again(self) -> None:
        """Read and apply once; never raises for what the files say."""
        try:
            wanted = await asyncio.to_thread(self._read)
        except ConfigError as error:
            for mistake in error.mistakes:
                log.error("the configuration is wrong", mistake=mistake)
            log.error("the settings stay as they were; correct them and reload again")
            return
        found = changes(self._current, wanted)
        self._current = wanted
        for apply in self._appliers:
            try:
                applied = apply(wanted)
                if applied is not None:
                    await applied
            except Exception:
                log.exception("a part of xapid did not take the new settings")
        later = sorted(name for name, live in found.items() if not live)
        log.info("configuration read again", changed=sorted(found) or "nothing")
        if later:
            log.warning("these settings change when xapid starts again", settings=later)
