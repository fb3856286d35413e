"""Space that disks which are gone left behind in their SR, given back by a task of its own."""

from __future__ import annotations

import asyncio

import structlog

from ...datamodel.declare import Ref
from ...datamodel.errors import ApiError, TaskCancelled
from ...datamodel.sr import SR
from ...db.store import Store
from ...storage.driver import Repository, StorageError
from ..ports import Calls
from .failures import storage_errors
from .repositories import Repositories

log = structlog.get_logger(__name__)


class Reclaimer:
    """Looks at an SR whenever something there was let go; at most one task works on each SR.

    It must not work before the disks of running guests are held.
    """

    def __init__(self, store: Store, repositories: Repositories, calls: Calls) -> None:
        self._store = store
        self._repositories = repositories
        self._calls = calls
        self._working: dict[Ref[SR], asyncio.Task[None]] = {}
        self._again: set[Ref[SR]] = set()
        repositories.on_loosened(self.look)

    def look(self, sr: Ref[SR]) -> None:
        """Something of the SR was let go: see whether space can be given back."""
        if sr in self._working:
            self._again.add(sr)
            return
        task = asyncio.create_task(self._work(sr), name=f"reclaim {sr}")
        self._working[sr] = task
        task.add_done_callback(lambda _: self._ended(sr))

    def look_everywhere(self) -> None:
        """Look at all SRs that are attached."""
        for sr in self._repositories.attached():
            self.look(sr)

    def _ended(self, sr: Ref[SR]) -> None:
        self._working.pop(sr, None)
        if sr in self._again:
            self._again.discard(sr)
            self.look(sr)

    async def close(self) -> None:
        """Stop what runs; it goes on after the next start."""
        self._again.clear()
        running = list(self._working.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _work(self, sr: Ref[SR]) -> None:
        repository = self._repositories.find(sr)
        if repository is None:
            return
        try:
            if await repository.reclaimable():
                await self._reclaim(sr, repository)
        except TaskCancelled:
            log.info("giving back space was cancelled; the next look goes on", sr=sr)
        except (ApiError, StorageError) as error:
            log.warning("space not given back", sr=sr, error=str(error))

    async def _reclaim(self, sr: Ref[SR], repository: Repository) -> None:
        name = self._store.get(sr).name_label
        async with self._calls.background(f"Merging the disks of {name}") as call:
            with storage_errors(sr):
                await repository.reclaim(call.progress)
        await self._repositories.measure(sr)
