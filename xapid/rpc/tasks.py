"""Tasks: the records of calls under way, what became of them, and how they are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from ..datamodel.declare import NULL, Field, Ref
from ..datamodel.enums import TaskAllowedOperations, TaskStatusType
from ..datamodel.errors import (
    ApiError,
    InternalError,
    OperationNotAllowed,
    TaskCancelled,
    TooManyPendingTasks,
)
from ..datamodel.host import Host
from ..datamodel.task import Task
from ..db.failures import StorageFailure, StoreClosed
from ..db.store import Store
from ..db.text import MAX_RESULT, clean_text
from ..log import Bound
from ..services.ports import Call, implements, implements_static
from .call import ApiCall
from .explain import explain
from .failures import RESTARTED, STOPPING, api_error
from .sessions import utc_now

log = structlog.get_logger(__name__)

EXPLANATION: Final = "explanation"  # the key of other_config that says why a task failed
FINISHED_KEPT: Final = timedelta(seconds=3_900)
PENDING_KEPT: Final = timedelta(seconds=86_400)  # of tasks that clients made for themselves
MAX_FINISHED: Final = 10_000
MAX_RESULTS: Final = 64 << 20  # characters in the results of all finished tasks
MAX_RUNNING: Final = 1_000
MAX_OWN: Final = 1_000  # pending ones that clients made for themselves
EXPIRE_EVERY_S: Final = 60.0
_RETRY_S: Final = 5.0
_REF: Final = "OpaqueRef:"
_PROGRESS_STEP: Final = 0.01

_RUNNING = (TaskAllowedOperations.CANCEL,)
_OPEN = (TaskAllowedOperations.CANCEL, TaskAllowedOperations.DESTROY)
_ENDED = (TaskAllowedOperations.DESTROY,)
_UNFINISHED = (TaskStatusType.PENDING, TaskStatusType.CANCELLING)

Outcome = tuple[str, str]
"""What a finished task shows: the class its result refers to, and the result's <value>."""

Work = Callable[[ApiCall], Coroutine[Any, Any, Outcome]]


@dataclass
class _Run:
    """A call that a task of this daemon stands for."""

    call: ApiCall
    volatile: bool
    cancel_asked: bool = False
    made: asyncio.Task[None] | None = None
    runner: asyncio.Task[None] | None = None


class Tasks:
    """Keeps a record for each asynchronous call, and for others while somebody wants to see one.

    clock: gives the time in UTC. host: where tasks say they run.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime] = utc_now,
        host: Ref[Host] = NULL,
    ) -> None:
        self.host = host
        self._store = store
        self._clock = clock
        self._runs: dict[Ref[Task], _Run] = {}
        self._progress: dict[Ref[Task], float] = {}
        self._shown: dict[Ref[Task], float] = {}
        self._side: set[asyncio.Task[None]] = set()
        self._expiring: asyncio.Task[None] | None = None
        self._stopping = False

    # The life of the daemon

    async def start(self) -> None:
        """End what an earlier daemon left pending, and drop old tasks from time to time."""
        await self.recover()
        self._expiring = asyncio.create_task(self._expire_often(), name="drop old tasks")

    async def stop(self) -> None:
        """Cancel what still runs and wait until it has been undone and written down."""
        self._stopping = True
        runners = [run.runner for run in self._runs.values() if run.runner is not None]
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)
        await asyncio.gather(*self._side, return_exceptions=True)

    async def wait_idle(self) -> None:
        """Return when no asynchronous call runs."""
        while runners := [run.runner for run in self._runs.values() if run.runner is not None]:
            await asyncio.wait(runners)

    async def recover(self) -> None:
        """End as failed all tasks that no call of this daemon stands behind."""
        async with self._store.transaction() as tx:
            for task in self._store.all(Task):
                if task.ref not in self._runs and task.status in _UNFINISHED:
                    tx.update(task.ref, self._failed(InternalError(RESTARTED)))
                elif task.ref not in self._runs and not task.allowed_operations:
                    tx.set(task.ref, Task.allowed_operations, _ENDED)

    async def expire(self) -> None:
        """Drop tasks that ended 65 minutes ago, and clients' own that are a day old."""
        now, gone, ended = self._clock(), [], []
        for task in self._store.all(Task):
            if task.ref in self._runs:
                continue
            if task.status not in _UNFINISHED:
                ended.append(task)
            elif now - task.created >= PENDING_KEPT:
                gone.append(task.ref)
        ended.sort(key=lambda task: task.finished, reverse=True)
        kept_size = 0
        for place, task in enumerate(ended):
            kept_size += len(task.result)
            is_old = now - task.finished >= FINISHED_KEPT
            if is_old or place >= MAX_FINISHED or kept_size > MAX_RESULTS:
                gone.append(task.ref)
        for start in range(0, len(gone), 500):
            async with self._store.transaction() as tx:
                for ref in gone[start : start + 500]:
                    if tx.exists(ref):
                        tx.destroy(ref)

    async def _expire_often(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            try:
                await self.expire()
            except (StorageFailure, ApiError) as error:
                log.warning("old tasks could not be dropped", reason=str(error))

    # Asynchronous calls

    async def begin(self, call: ApiCall, label: str, work: Work) -> Ref[Task]:
        """Run `work` under a task that is on disk when this returns.

        Raises TooManyPendingTasks, StorageFailure.
        """
        if self._stopping or len(self._runs) >= MAX_RUNNING:
            raise TooManyPendingTasks
        ref = _ref_of(call)
        run = self._runs[ref] = _Run(call, volatile=False)
        call.adopt(ref)
        try:
            async with self._store.transaction() as tx:
                tx.create(Task, self._first(label), ref=ref, uuid=_uuid_of(ref))
        except BaseException:
            del self._runs[ref]
            raise
        run.runner = call.runner = asyncio.create_task(self._run(ref, run, work), name=label)
        return ref

    async def take_over(self, call: ApiCall, task: Ref[Task], work: Work) -> None:
        """Run `work` under a task that a client made for it, which ends with the work.

        Raises OperationNotAllowed unless the task is a client's own and still pending.
        """
        record = self._store.get(task)
        if task in self._runs or record.status is not TaskStatusType.PENDING:
            raise OperationNotAllowed("the task is not a pending one that a client made")
        if self._stopping or len(self._runs) >= MAX_RUNNING:
            raise TooManyPendingTasks
        run = self._runs[task] = _Run(call, volatile=False)
        call.id = call_id(task)
        call.adopt(task)
        try:
            async with self._store.transaction() as tx:
                tx.set(task, Task.allowed_operations, _RUNNING)
        except BaseException:
            del self._runs[task]
            raise
        run.runner = call.runner = asyncio.create_task(self._run(task, run, work), name=call.method)

    async def _run(self, ref: Ref[Task], run: _Run, work: Work) -> None:
        ended: Mapping[Field[Any], Any]
        try:
            with Bound(call=run.call.id, method=run.call.method, user=run.call.user):
                ended = self._succeeded(await work(run.call))
        except asyncio.CancelledError:
            ended = self._cancelled(ref) if run.cancel_asked else self._stopped()
        except Exception as error:
            ended = self._failed(api_error(error), run.call.method)
        await self._finish(ref, run, ended)

    async def _finish(self, ref: Ref[Task], run: _Run, ended: Mapping[Field[Any], Any]) -> None:
        """Write down how a task ended, again and again while the disk refuses."""
        run.runner = None  # from here on nothing is left to cancel
        self._progress.pop(ref, None)
        self._shown.pop(ref, None)
        while True:
            try:
                async with self._store.transaction() as tx:
                    if tx.exists(ref):
                        tx.update(ref, ended)
                break
            except StorageFailure as error:
                log.error("a task's end could not be written", task=ref, reason=str(error))
                if self._stopping or isinstance(error, StoreClosed):
                    break
                await asyncio.sleep(_RETRY_S)
        self._runs.pop(ref, None)

    @contextlib.asynccontextmanager
    async def background(self, label: str) -> AsyncIterator[ApiCall]:
        """A call of the daemon itself with a task of its own, ended with the block.

        A client's cancel leaves the block as TaskCancelled.
        """
        call = ApiCall(self, label)
        ref = _ref_of(call)
        run = self._runs[ref] = _Run(call, volatile=False)
        call.adopt(ref)
        call.runner = asyncio.current_task()
        try:
            async with self._store.transaction() as tx:
                tx.create(Task, self._first(label), ref=ref, uuid=_uuid_of(ref))
        except BaseException:
            del self._runs[ref]
            raise
        try:
            with Bound(call=call.id, method=label):
                yield call
        except asyncio.CancelledError:
            call.runner = None
            if not run.cancel_asked:
                await self._finish(ref, run, self._stopped())
                raise
            this_task = asyncio.current_task()
            if this_task is not None:
                this_task.uncancel()  # the client cancelled the work, not who did it
            await self._finish(ref, run, self._cancelled(ref))
            raise TaskCancelled(ref) from None
        except BaseException as error:
            call.runner = None
            await self._finish(ref, run, self._failed(api_error(error), call.method))
            raise
        call.runner = None
        await self._finish(ref, run, self._succeeded(("", "")))

    # Synchronous calls

    def open_volatile(self, call: ApiCall) -> Ref[Task]:
        """A task in memory for a call that has none; it appears as soon as nothing is open."""
        ref = _ref_of(call)
        run = self._runs[ref] = _Run(call, volatile=True)
        run.made = self._beside(self._make(ref, call.method))
        return ref

    async def _make(self, ref: Ref[Task], label: str) -> None:
        async with self._store.transaction() as tx:
            first = self._first(label)
            tx.create(Task, first, ref=ref, uuid=_uuid_of(ref), volatile=True)

    async def close_volatile(self, call: ApiCall) -> None:
        """Remove the task of a synchronous call that has ended."""
        ref = call.known_task
        run = self._runs.get(ref) if ref is not None else None
        if ref is None or run is None or not run.volatile:
            return
        if run.made is not None:
            await asyncio.gather(run.made, return_exceptions=True)
        self._progress.pop(ref, None)
        self._shown.pop(ref, None)
        del self._runs[ref]
        async with self._store.transaction() as tx:
            if tx.exists(ref):
                tx.destroy(ref)

    def cancel_asked(self, call: ApiCall) -> bool:
        """Whether a client cancelled the call."""
        ref = call.known_task
        run = self._runs.get(ref) if ref is not None else None
        return run is not None and run.cancel_asked

    def report_progress(self, task: Ref[Task], fraction: float) -> None:
        """Show a task's progress soon; many reports at once are one change."""
        if fraction < 1.0 and fraction - self._shown.get(task, 0.0) < _PROGRESS_STEP:
            return
        self._shown[task] = fraction
        if not self._progress:
            self._beside(self._show_progress())
        self._progress[task] = fraction

    async def _show_progress(self) -> None:
        reports, self._progress = self._progress, {}
        async with self._store.transaction() as tx:
            for ref, fraction in reports.items():
                if tx.exists(ref):
                    tx.set(ref, Task.progress, fraction)

    def show_cancellable(self, task: Ref[Task], *, cancellable: bool) -> None:
        """Show soon whether a task that runs may be cancelled now."""
        self._beside(self._show_cancellable(task, _RUNNING if cancellable else ()))

    async def _show_cancellable(
        self, task: Ref[Task], allowed: tuple[TaskAllowedOperations, ...]
    ) -> None:
        async with self._store.transaction() as tx:
            if tx.exists(task) and tx.get(task).status is TaskStatusType.PENDING:
                tx.set(task, Task.allowed_operations, allowed)

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)
        return task

    # What a task shows

    def _first(self, label: str, description: str = "", *, own: bool = False) -> dict[Any, Any]:
        return {
            Task.name_label: clean_text(label),
            Task.name_description: description,
            Task.allowed_operations: _OPEN if own else _RUNNING,
            Task.created: self._clock(),
            Task.status: TaskStatusType.PENDING,
            Task.resident_on: self.host,
        }

    def _ended(self, status: TaskStatusType, error: Iterable[str] = ()) -> dict[Any, Any]:
        return {
            Task.status: status,
            Task.finished: self._clock(),
            Task.progress: 1.0,
            Task.allowed_operations: _ENDED,
            Task.error_info: tuple(clean_text(text) for text in error),
        }

    def _succeeded(self, outcome: Outcome) -> dict[Any, Any]:
        kind, result = outcome
        if len(result) * 4 > MAX_RESULT and len(result.encode()) > MAX_RESULT:
            return self._failed(
                OperationNotAllowed("the result is too long for a task: call without Async")
            )
        return self._ended(TaskStatusType.SUCCESS) | {Task.type: kind, Task.result: result}

    def _failed(self, error: ApiError, method: str = "") -> dict[Any, Any]:
        ended = self._ended(TaskStatusType.FAILURE, error.wire())
        if method:
            ended[Task.other_config] = {EXPLANATION: explain(error, method, self._store)}
        return ended

    def _stopped(self) -> dict[Any, Any]:
        return self._failed(InternalError(STOPPING))

    def _cancelled(self, ref: Ref[Task]) -> dict[Any, Any]:
        return self._ended(TaskStatusType.CANCELLED, TaskCancelled(ref).wire())

    # The messages of class task

    @implements_static(Task.create)
    async def create(self, call: Call, label: str, description: str) -> Ref[Task]:
        own = (task for task in self._store.all(Task) if task.ref not in self._runs)
        if sum(task.status in _UNFINISHED for task in own) >= MAX_OWN:
            raise TooManyPendingTasks
        ref: Ref[Task] = Ref(f"{_REF}{uuid.uuid4()}")
        first = self._first(label, description, own=True)
        async with self._store.transaction() as tx:
            return tx.create(Task, first, ref=ref, uuid=_uuid_of(ref))
        raise AssertionError  # the block above returns or raises

    @implements(Task.cancel)
    async def cancel(self, call: Call, task: Ref[Task]) -> None:
        status = self._store.get(task).status
        if status not in _UNFINISHED:
            raise OperationNotAllowed(f"the task has ended already: {status}")
        run = self._runs.get(task)
        if run is None:  # a client's own: nothing runs behind it
            async with self._store.transaction() as tx:
                tx.update(task, self._cancelled(task))
            return
        runner = run.call.runner
        if runner is None or runner.done():
            raise OperationNotAllowed("the task is ending and can no longer be cancelled")
        if run.call.in_one_piece:
            raise OperationNotAllowed("the task is in a step that cannot be cut short; wait for it")
        if not run.cancel_asked:
            run.cancel_asked = True
            runner.cancel()
            async with self._store.transaction() as tx:
                if tx.exists(task) and tx.get(task).status is TaskStatusType.PENDING:
                    tx.set(task, Task.status, TaskStatusType.CANCELLING)
                    tx.set(task, Task.allowed_operations, ())

    @implements(Task.destroy)
    async def destroy(self, call: Call, task: Ref[Task]) -> None:
        if task in self._runs and self._store.get(task).status in _UNFINISHED:
            raise OperationNotAllowed("the task is not finished; cancel it or wait for its end")
        async with self._store.transaction() as tx:
            tx.destroy(task)


def call_id(task: Ref[Task]) -> str:
    """The id of the call that a task stands for: its log lines are found by it."""
    return _uuid_of(task)[:8]


def _ref_of(call: ApiCall) -> Ref[Task]:
    """A new reference for the task of a call: whoever has it has the call's id, too."""
    return Ref(f"{_REF}{call.id}{str(uuid.uuid4())[8:]}")


def _uuid_of(task: Ref[Task]) -> str:
    return task.removeprefix(_REF)
