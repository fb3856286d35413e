"""Storage that could not be attached when the daemon started, tried again until it can."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import structlog

from ...datamodel.declare import Ref
from ...datamodel.errors import ApiError, TaskCancelled
from ...datamodel.host import Host
from ...datamodel.pbd import PBD
from ...datamodel.sr import SR
from ...db.store import Store
from ..ports import Calls
from .pbd import PBDService

log = structlog.get_logger(__name__)

PAUSES_S = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Between the attempts; the last one for ever."""


class Replugger:
    """One task, which clients see and can cancel, for each PBD that waits for its storage."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        pbds: PBDService,
        host: Ref[Host],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._calls = calls
        self._pbds = pbds
        self._host = host
        self._sleep = sleep
        self._working: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to try again what is wanted and not attached."""
        for pbd in self._store.all(PBD):
            if pbd.host == self._host and _waits(pbd):
                work = self._work(pbd.ref, self._store.get(pbd.SR))
                self._working.append(asyncio.create_task(work, name=f"replug {pbd.ref}"))

    async def close(self) -> None:
        """Stop trying; the next start goes on."""
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    async def _work(self, pbd: Ref[PBD], sr: SR) -> None:
        try:
            async with self._calls.background(f"Waiting for the storage {sr.name_label}") as call:
                for pause_s in itertools.chain(PAUSES_S, itertools.repeat(PAUSES_S[-1])):
                    await self._sleep(pause_s)
                    record = self._store.find(PBD, pbd)
                    if record is None or not _waits(record):
                        return
                    try:
                        return await self._pbds.plug(call, pbd)
                    except ApiError as error:
                        log.info("storage still not attached", sr=sr.name_label, error=str(error))
        except TaskCancelled:
            log.warning("nobody waits for storage any more: plug its PBD", sr=sr.name_label)


def _waits(pbd: PBD) -> bool:
    return pbd.attach_wanted and not pbd.currently_attached
