"""The standing connection to xapid-xen: made again whenever the worker has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import structlog

from .errors import XenError, XenUnavailable
from .link import Link, Progress, outlast
from .types import JSON, Domain, Hello, hello_from
from .worker import WorkerCommand, WorkerProcess

log = structlog.get_logger(__name__)

OnDomains = Callable[[list[Domain]], None]

_LIVED_WELL_S = 10.0
_RESTART_PATIENCE_S = 15.0
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 30.0
_NOT_THERE = "xapid-xen is not running"
_LOST = "xapid-xen ended and is being started again"


def _unwatched(op: str) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class Connection:
    """Keeps one link to a worker, which is a child of ours or a service of its own."""

    def __init__(self, command: WorkerCommand, *, spawn: bool) -> None:
        self._command = command
        self._spawn = spawn
        self._link: Link | None = None
        self._ready = asyncio.Event()
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[OnDomains] = []
        self._domains: dict[int, tuple[JSON, Domain]] = {}
        self._latest: list[Domain] | None = None
        self._reason = _NOT_THERE
        self.watch: Callable[[str], AbstractContextManager[None]] = _unwatched
        """Entered around each request, with the operation's name."""
        self.hello: Hello | None = None
        """What the worker said of itself last."""
        self.pid: int | None = None
        """The process id of the worker, when it is our child and runs."""

    @property
    def available(self) -> bool:
        """Whether requests can be made now."""
        return self._ready.is_set()

    async def start(self) -> None:
        """Connect for the first time. Raises XenUnavailable; then nothing is left running."""
        self._first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_connected(), name="xapid-xen")
        try:
            await self._first
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the connection and, when it is our child, the worker, letting it clean up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._task])
            self._task = None
        self._reason = _NOT_THERE

    async def wait_available(self) -> None:
        """Return when requests can be made."""
        await self._ready.wait()

    def on_domains(self, listener: OnDomains) -> Callable[[], None]:
        """Give `listener` each list of domains from now on, the latest at once.

        Returns what stops it.
        """
        self._listeners.append(listener)
        if self._latest is not None:
            _tell(listener, self._latest)
        return lambda: self._listeners.remove(listener)

    async def request(
        self,
        op: str,
        args: JSON,
        progress: Progress | None = None,
        undo: Callable[[Any], Awaitable[object]] | None = None,
    ) -> Any:
        """Do one request on the link of the moment, as Link.request does.

        While the worker is being started again a new request waits for it, within reason.
        """
        if self._link is None and self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RESTART_PATIENCE_S):
                    await self._ready.wait()
        if self._link is None:
            raise XenUnavailable(self._reason)
        with self.watch(op):
            return await self._link.request(op, args, progress, undo)

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        delay = 0.0
        while True:
            began = loop.time()
            try:
                async with self._worker(), self._linked() as link:
                    if self._first is not None and not self._first.done():
                        self._first.set_result(None)
                    await link.wait_lost()
                    log.warning("the connection to xapid-xen was lost")
            except (XenError, OSError) as error:
                reason = error if isinstance(error, XenUnavailable) else _unreachable(error)
                if self._first is not None and not self._first.done():
                    self._first.set_exception(reason)
                    return
                self._reason = str(reason)
                log.warning("xapid-xen is not available", reason=self._reason)
            if loop.time() - began > _LIVED_WELL_S:
                delay = 0.0
            if delay:
                await asyncio.sleep(delay)
            delay = min(max(_FIRST_DELAY_S, delay * 2), _LONGEST_DELAY_S)

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[None]:
        if not self._spawn:
            yield
            return
        worker = await WorkerProcess.spawn(self._command)
        try:
            await worker.wait_ready()
            self.pid = worker.process.pid
            yield
        finally:
            self.pid = None
            stopping = asyncio.ensure_future(worker.stop(self._command.stop_within_s))
            try:
                await asyncio.shield(stopping)
            finally:
                await outlast(stopping)

    @contextlib.asynccontextmanager
    async def _linked(self) -> AsyncIterator[Link]:
        link = await Link.open(self._command.socket_path, self._take_domains)
        try:
            self.hello = hello_from(await link.request("hello", {}))
            self._link = link
            self._ready.set()
            yield link
        finally:
            self._link = None
            self._ready.clear()
            self._reason = _LOST
            await link.close()

    def _take_domains(self, raw_domains: list[JSON]) -> None:
        known, self._domains = self._domains, {}
        domains = []
        for raw in raw_domains:
            before = known.get(raw["domid"])
            # Most have not changed since the last time, and making 6,000 values anew takes long.
            domain = before[1] if before and before[0] == raw else Domain(**raw)
            self._domains[raw["domid"]] = (raw, domain)
            domains.append(domain)
        self._latest = domains
        for listener in tuple(self._listeners):
            _tell(listener, domains)


def _tell(listener: OnDomains, domains: list[Domain]) -> None:
    try:
        listener(domains)
    except Exception:
        log.exception("a listener for domains failed")


def _unreachable(error: BaseException) -> XenUnavailable:
    return XenUnavailable(f"xapid-xen cannot be reached: {error}")
