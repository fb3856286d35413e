"""Follows what each guest writes into xenstore and keeps its VM_guest_metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from ...datamodel.declare import NULL, Ref
from ...datamodel.errors import ApiError
from ...datamodel.vm import VM
from ...datamodel.vm_guest_metrics import VMGuestMetrics
from ...db.failures import StorageFailure
from ...db.store import Store
from ...xen.guest_tree import GuestTree, ReadsNodes, domain_path
from ...xen.types import Domain
from ...xen.xenstore import Watch
from ...xen.xenstore_wire import XenstoreError
from .fields import guest_fields, tells_something

log = structlog.get_logger(__name__)

SETTLE_S = 0.25
"""How long a guest that began to write may go on before it is read."""

LEAST_PAUSE_S = 1.0
PAUSE_PER_READ = 20
"""A guest is read for at most a twentieth of the time, however much it writes …"""

MOST_PAUSE_S = 5.0
"""… unless the host is so slow that the guest would be heard later than its metrics are sampled."""

READS_AT_ONCE = 4
RECORD_TRIES = 30


class WatchedXenstore(ReadsNodes, Protocol):
    """What is needed of Xenstore."""

    def watch(self, path: str) -> AbstractAsyncContextManager[Watch]: ...
    async def wait_available(self) -> None: ...


class ListsDomains(Protocol):
    """What is needed of XenClient."""

    def on_domains(self, listener: Callable[[list[Domain]], None]) -> Callable[[], None]: ...


def pause_after(took_s: float) -> float:
    """Seconds until a guest may be read again, after a read that took took_s."""
    return min(max(LEAST_PAUSE_S, PAUSE_PER_READ * took_s), MOST_PAUSE_S)


class GuestMetrics:
    """One watch and one task for each domain but the control domain."""

    def __init__(
        self,
        store: Store,
        xenstore: WatchedXenstore,
        xen: ListsDomains,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """pause: waits some seconds."""
        self._store = store
        self._xenstore = xenstore
        self._xen = xen
        self._now = now
        self._pause = pause
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._following: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._stop: Callable[[], None] | None = None

    async def start(self) -> None:
        """Follow the domains that there are and that will be.

        The records of VMs say by now which have none any more.
        """
        for vm in self._store.all(VM):
            if vm.domid < 0:
                await self._forget(vm.uuid)
        self._stop = self._xen.on_domains(self.observe)

    async def close(self) -> None:
        """Stop following; the records stay as they are."""
        if self._stop is not None:
            self._stop()
        tasks = [*self._following.values(), *self._ending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def observe(self, domains: Sequence[Domain]) -> None:
        """Take a new list of domains: begin with the new ones, end with those that are gone."""
        living = {(d.domid, d.uuid) for d in domains if d.domid != 0 and not d.dying}
        for key in self._following.keys() - living:
            end = asyncio.create_task(self._end(self._following.pop(key), key[1]))
            self._ending.add(end)
            end.add_done_callback(self._ending.discard)
        for key in living - self._following.keys():
            self._following[key] = asyncio.create_task(
                self._follow(*key), name=f"guest metrics {key[0]}"
            )

    # One guest

    async def _follow(self, domid: int, uuid: str) -> None:
        try:
            while True:
                try:
                    await self._watch(domid, uuid)
                except XenstoreError as error:
                    log.warning("guest not followed for now", domid=domid, reason=str(error))
                await self._pause(LEAST_PAUSE_S)
                await self._xenstore.wait_available()
        except Exception:
            log.exception("bug while following a guest", domid=domid)

    async def _end(self, following: asyncio.Task[None], uuid: str) -> None:
        following.cancel()
        await asyncio.wait([following])
        # A guest that was restarted has another domain by now, which tells anew.
        if all(uuid != other for _, other in self._following):
            await self._forget(uuid)

    async def _watch(self, domid: int, uuid: str) -> None:
        tree = GuestTree(self._xenstore, domid)
        loop = asyncio.get_running_loop()
        async with self._xenstore.watch(domain_path(domid)) as watch:
            async for changed in watch:
                if not tree.concerned([changed]):
                    continue
                await self._pause(SETTLE_S)
                async with self._turns:
                    began = loop.time()
                    was_truncated = tree.truncated
                    await tree.refresh(tree.concerned([changed, *watch.take()]))
                    took_s = loop.time() - began
                if tree.truncated and not was_truncated:
                    log.warning("guest writes more than is read", domid=domid, uuid=uuid)
                await self._publish(uuid, guest_fields(tree.values))
                await self._pause(pause_after(took_s))

    async def _publish(self, uuid: str, fields: dict[str, Any]) -> None:
        """Write the record; a domain may be older than the record of its VM by a moment."""
        for _ in range(RECORD_TRIES):
            vm = self._store.by_uuid(VM, uuid)
            if vm is not None:
                break
            await self._pause(LEAST_PAUSE_S)
        else:
            return
        try:
            await self._write(vm, fields)
        except (ApiError, StorageFailure) as error:
            log.warning("guest metrics not kept", vm=vm, reason=str(error))

    async def _write(self, vm: Ref[VM], fields: dict[str, Any]) -> None:
        known = self._store.find(VMGuestMetrics, self._store.get(vm).guest_metrics)
        if known is None and not tells_something(fields):
            return
        if known is not None and all(known.row[name] == v for name, v in fields.items()):
            return
        values = fields | {"last_updated": self._now()}
        async with self._store.transaction() as tx:
            if known is not None:
                tx.update(known.ref, values)
            else:
                foreign = self._store.get(vm).is_foreign_domain  # then the VM itself is volatile
                metrics = tx.create(VMGuestMetrics, values, volatile=foreign)
                tx.set(vm, VM.guest_metrics, metrics)

    async def _forget(self, uuid: str) -> None:
        """The domain has gone, and what it told with it."""
        vm = self._store.by_uuid(VM, uuid)
        metrics = NULL if vm is None else self._store.get(vm).guest_metrics
        if vm is None or metrics == NULL:
            return
        try:
            async with self._store.transaction() as tx:
                tx.set(vm, VM.guest_metrics, NULL)
                tx.destroy(metrics)
        except (ApiError, StorageFailure) as error:
            log.warning("guest metrics not removed", vm=vm, reason=str(error))
