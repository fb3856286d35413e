"""Takes back a change of the management interface that nobody confirms by reaching the API anew."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ...datamodel.enums import IpConfigurationMode
from ...datamodel.pif import PIF
from ...db.store import Store

log = structlog.get_logger(__name__)

WITHIN_S = 60.0
AGAIN_AFTER_S = 5.0
TRIES = 24
KEPT = ("ip_configuration_mode", "IP", "netmask", "gateway", "DNS", "management")
FILE = "management.json"


def since_boot() -> float:
    """Seconds that no setting of the clock changes, and that go on while the host sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Before:
    """How things were: the fields of PIFs by uuid, and whether the network was served."""

    pifs: dict[str, dict[str, Any]]
    served: bool


Restore = Callable[[Before], Awaitable[None]]


@dataclass
class Guard:
    """What is pending stands in a file, so it is taken back although we were killed meanwhile.

    boot: names this boot of the host. arrived: the own address that the current call came in on.
    """

    store: Store
    directory: Path
    boot: str
    arrived: Callable[[], str]
    clock: Callable[[], float] = since_boot
    within_s: float = WITHIN_S
    _state: dict[str, Any] = field(default_factory=dict)
    _restore: Restore | None = None
    _timer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what an earlier instance left."""
        self._state = await asyncio.to_thread(self._read)

    @property
    def served(self) -> bool:
        """Whether the API is served on the network."""
        return bool(self._state.get("served", True))

    @property
    def pending(self) -> str:
        """The address where the API must be reached; "" when nothing is pending."""
        return str(self._state.get("path", ""))

    async def start(self, restore: Restore) -> None:
        """From now on take back what is not confirmed in time, with `restore`."""
        self._restore = restore
        if self._state.get("before"):
            log.warning("a change of the management interface waits for its confirmation")
            self._arm()

    async def close(self) -> None:
        """Stop waiting; what is pending stays so for the next instance."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait((self._timer,))

    async def begin(self) -> None:
        """Before a change: remember how things are, unless an earlier change is still pending."""
        if not self._state.get("before"):
            pifs = self.store.all(PIF)
            fields = {pif.uuid: {name: pif.row[name] for name in KEPT} for pif in pifs}
            self._state["before"] = {"pifs": fields, "served": self.served}
        self._disarm()
        self._state |= {"boot": self.boot, "until": self.clock() + 2 * self.within_s, "path": ""}
        await self._save()
        self._arm()

    async def expect(self, path: str) -> None:
        """After a change: keep it once a client reaches the API at `path`, or has just done so."""
        self._state |= {"path": path, "until": self.clock() + self.within_s}
        if path == self.arrived():  # it is reached there already
            await self.keep()
            return
        await self._save()
        self._arm()
        log.warning("a change of the management interface waits", path=path, within_s=self.within_s)

    async def keep(self) -> None:
        """The change is confirmed, or failed and was taken back by who made it."""
        self._disarm()
        for key in ("before", "until", "path", "boot"):
            self._state.pop(key, None)
        await self._save()

    async def serve(self, *, served: bool) -> None:
        """Remember whether the API is to be served on the network."""
        self._state["served"] = served
        await self._save()

    def reached(self, address: str) -> None:
        """A client with a session has reached the API at this address of the host."""
        if address and address == self.pending:
            log.info("the change of the management interface is confirmed", path=address)
            self._disarm()
            self._state["path"] = ""
            self._timer = asyncio.create_task(self.keep_later(), name="management")

    async def keep_later(self) -> None:
        """`keep`, as a task of its own."""
        self._timer = None
        await self.keep()

    def _arm(self) -> None:
        self._disarm()
        self._timer = asyncio.create_task(self._watch(), name="management")

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _watch(self) -> None:
        same_boot = self._state.get("boot") == self.boot
        left = float(self._state["until"]) - self.clock() if same_boot else 0.0
        await asyncio.sleep(min(max(left, 0.0), 2 * self.within_s))
        self._state["path"] = ""
        await self._take_back()

    async def _take_back(self) -> None:
        before = Before(self._state["before"]["pifs"], bool(self._state["before"]["served"]))
        for fields in before.pifs.values():
            fields["ip_configuration_mode"] = IpConfigurationMode(fields["ip_configuration_mode"])
        log.warning("nobody reached the API anew: the management interface is as it was before")
        for _ in range(TRIES):
            try:
                assert self._restore is not None  # noqa: S101 - start gave it
                await self._restore(before)
                break
            except Exception:
                log.exception("the management interface cannot be put back yet")
                await asyncio.sleep(AGAIN_AFTER_S)
        self._timer = None
        self._state["served"] = before.served
        await self.keep()

    async def _save(self) -> None:
        text = json.dumps(self._state)
        await asyncio.to_thread(self._write, text)

    def _write(self, text: str) -> None:
        path = self.directory / FILE
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _read(self) -> dict[str, Any]:
        with suppress(FileNotFoundError):
            try:
                found = json.loads((self.directory / FILE).read_text())
            except ValueError:
                log.error("what was kept of the management interface cannot be read")
            else:
                return found if isinstance(found, dict) else {}
        return {}
