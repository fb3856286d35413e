"""Tasks: what an asynchronous call shows from its beginning to long after its end."""

from __future__ import annotations

import asyncio
import shutil
import threading
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import TaskStatusType
from xapid.datamodel.errors import (
    OperationNotAllowed,
    TaskCancelled,
    TooManyPendingTasks,
    VMIsTemplate,
)
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.sr import SR
from xapid.datamodel.task import Task
from xapid.datamodel.vm import VM
from xapid.db.failures import StorageFailure
from xapid.db.store import Store
from xapid.db.text import MAX_RESULT
from xapid.rpc.call import ApiCall
from xapid.rpc.tasks import FINISHED_KEPT, MAX_OWN, MAX_RESULTS, PENDING_KEPT, Tasks
from xapid.services.ports import Call, implements


class Gate:
    """A service whose calls wait until a test lets them go on."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.entered = threading.Event()
        self.undone = threading.Event()
        self._go_on = asyncio.Event()
        self.error: Exception | None = None

    def open(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._go_on.set)

    @implements(VM.clone)
    async def clone(self, call: Call, vm: Ref[VM], new_name: str) -> Ref[VM]:
        self.loop = asyncio.get_running_loop()
        call.progress(0.25)
        self.task = str(call.task)
        self.entered.set()
        try:
            await self._go_on.wait()
        except asyncio.CancelledError:
            self.undone.set()
            raise
        if self.error is not None:
            raise self.error
        return vm

    @implements(VM.copy)
    async def copy(self, call: Call, vm: Ref[VM], new_name: str, sr: Ref[SR]) -> Ref[VM]:
        with call.unbroken():
            return await self.clone(call, vm, new_name)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def front(make_front: Any, gate: Gate) -> Any:
    return make_front(gate)


@pytest.fixture
def vm(front: Any) -> str:
    return str(front.transact(lambda tx: tx.create(VM)))


def asynchronous(api: Any, vm: str) -> str:
    answer = getattr(api.proxy, "Async.VM.clone")(api.me, vm, "copy")
    assert answer["Status"] == "Success"
    return str(answer["Value"])


def ended(front: Any, api: Any, task: str) -> dict[str, Any]:
    """The record of the task once it has ended."""
    front.run(asyncio.wait_for(until_ended(front.store, Ref(task)), 10))
    record: dict[str, Any] = api.task.get_record(task)
    return record


async def until_ended(store: Store, task: Ref[Task]) -> None:
    position = store.feed.current_id
    running = (TaskStatusType.PENDING, TaskStatusType.CANCELLING)
    while (found := store.find(Task, task)) is not None and found.status in running:
        await store.feed.wait(position)
        position = store.feed.current_id


def test_a_task_is_there_at_once_and_pending(front: Any, api: Any, gate: Gate, vm: str) -> None:
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)

    record = api.task.get_record(task)

    assert record["status"] == "pending"
    assert record["name_label"] == "Async.VM.clone"
    assert record["allowed_operations"] == ["cancel"]
    assert record["result"] == ""
    assert record["finished"] == "19700101T00:00:00Z"
    assert gate.task == task
    gate.open()
    ended(front, api, task)


def test_a_success_shows_its_result(front: Any, api: Any, gate: Gate, vm: str) -> None:
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)
    gate.open()

    record = ended(front, api, task)

    assert record["status"] == "success"
    assert record["result"] == f"<value>{vm}</value>"
    assert record["type"] == "VM"
    assert record["progress"] == 1.0
    assert record["error_info"] == []
    assert record["finished"] == "20300101T00:00:00Z"
    assert record["allowed_operations"] == ["destroy"]
    api.task.destroy(task)
    assert task not in api.task.get_all()


def test_a_failure_shows_its_error(front: Any, api: Any, gate: Gate, vm: str) -> None:
    gate.error = VMIsTemplate(Ref(vm))
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)
    gate.open()

    record = ended(front, api, task)

    assert record["status"] == "failure"
    assert record["error_info"] == ["VM_IS_TEMPLATE", vm]


def test_progress_is_shown_and_rises_only(front: Any, api: Any, gate: Gate, vm: str) -> None:
    api.event.register(["task"])
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)

    seen: list[float] = []
    while 0.25 not in seen:
        seen += [event["snapshot"]["progress"] for event in api.event.next()]

    assert api.task.get_progress(task) == 0.25
    gate.open()
    assert ended(front, api, task)["progress"] == 1.0


def test_a_cancelled_task_undoes_and_says_so(
    front: Any, api: Any, gate: Gate, vm: str, failure: Any
) -> None:
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)

    assert api.task.cancel(task) == ""

    assert gate.undone.wait(10)
    record = ended(front, api, task)
    assert record["status"] == "cancelled"
    assert record["error_info"] == ["TASK_CANCELLED", task]
    with pytest.raises(failure, match="OPERATION_NOT_ALLOWED"):
        api.task.cancel(task)


def test_a_step_that_cannot_be_cut_short_says_so_at_once(
    front: Any, api: Any, gate: Gate, vm: str, failure: type[Exception]
) -> None:
    answer = getattr(api.proxy, "Async.VM.copy")(api.me, vm, "copy", "")
    task = str(answer["Value"])
    assert gate.entered.wait(10)
    assert api.task.get_allowed_operations(task) == []

    with pytest.raises(failure) as refused:
        api.task.cancel(task)
    gate.open()

    assert refused.value.error[0] == "OPERATION_NOT_ALLOWED"  # type: ignore[attr-defined]
    assert ended(front, api, task)["status"] == "success"


def test_a_running_task_is_not_destroyed(
    front: Any, api: Any, gate: Gate, vm: str, failure: Any
) -> None:
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)

    with pytest.raises(failure, match="OPERATION_NOT_ALLOWED"):
        api.task.destroy(task)

    gate.open()
    ended(front, api, task)


def test_a_call_that_cannot_begin_makes_no_task(api: Any, vm: str) -> None:
    answer = getattr(api.proxy, "Async.VM.clone")(api.me, vm)

    assert answer["ErrorDescription"][0] == "MESSAGE_PARAMETER_COUNT_MISMATCH"
    assert api.task.get_all() == []


def test_a_synchronous_call_has_a_task_while_it_runs(front: Any, gate: Gate, vm: str) -> None:
    caller, watcher = front.login(), front.login()
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(caller.VM.clone(vm, "copy")))
    thread.start()
    assert gate.entered.wait(10)

    assert watcher.task.get_name_label(gate.task) == "VM.clone"
    gate.open()
    thread.join(10)

    assert result == [vm]
    assert watcher.task.get_all() == []


def test_a_synchronous_call_is_cancelled_through_its_task(front: Any, gate: Gate, vm: str) -> None:
    caller, watcher = front.login(), front.login()
    answers: list[Any] = []
    thread = threading.Thread(
        target=lambda: answers.append(caller.proxy.VM.clone(caller.me, vm, "copy"))
    )
    thread.start()
    assert gate.entered.wait(10)

    watcher.task.cancel(gate.task)
    thread.join(10)

    assert gate.undone.is_set()
    assert answers[0]["ErrorDescription"] == ["TASK_CANCELLED", gate.task]
    assert watcher.task.get_all() == []


def test_a_client_that_goes_away_cancels_nothing(front: Any, gate: Gate, vm: str) -> None:
    caller, watcher = front.login(), front.login()
    connection = caller.proxy("transport").make_connection("local")
    body = xmlrpc.client.dumps((caller.me, vm, "copy"), "VM.clone")
    connection.request("POST", "/", body)
    assert gate.entered.wait(10)

    connection.close()

    assert watcher.task.get_status(gate.task) == "pending"
    assert not gate.undone.is_set()
    gate.open()


def test_a_clients_own_task_is_cancelled_or_destroyed(api: Any) -> None:
    task = api.task.create("mine", "a thing of mine")
    assert api.task.get_record(task)["allowed_operations"] == ["cancel", "destroy"]

    api.task.cancel(task)

    assert api.task.get_record(task)["status"] == "cancelled"
    assert api.task.get_error_info(task) == ["TASK_CANCELLED", task]
    api.task.destroy(task)
    api.task.destroy(api.task.create("other", ""))


def test_stopping_ends_what_runs_with_a_reason(make_front: Any, gate: Gate) -> None:
    front = make_front(gate)
    api = front.login()
    vm = str(front.transact(lambda tx: tx.create(VM)))
    task = asynchronous(api, vm)
    assert gate.entered.wait(10)

    front.run(front.dispatcher.stop(0.01))

    record = front.store.get(Ref(task))
    assert gate.undone.is_set()
    assert record.status is TaskStatusType.FAILURE
    assert record.error_info[0] == "INTERNAL_ERROR"
    assert "told to stop" in record.error_info[1]


STORED = {name: cls for name, cls in CLASSES.items() if name != "event"}


def copy_database(path: Path, to: Path) -> None:
    """Take the database as a sudden death would leave it."""
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{to}{suffix}")


async def test_what_a_dead_daemon_left_pending_is_ended_with_a_reason(
    tmp_path: Path, clock: Any
) -> None:
    path = tmp_path / "tasks.db"
    store = await Store.open(path, STORED, clock=clock)
    started = asyncio.Event()

    async def work(call: ApiCall) -> tuple[str, str]:
        started.set()
        await asyncio.Event().wait()
        return "", ""

    dead = Tasks(store, clock=clock)
    left = await dead.begin(ApiCall(dead, "VM.start"), "Async.VM.start", work)
    await started.wait()
    revived = tmp_path / "revived.db"
    await asyncio.to_thread(copy_database, path, revived)
    await dead.stop()
    await store.close()

    store = await Store.open(revived, STORED, clock=clock)
    assert store.get(left).status is TaskStatusType.PENDING
    await Tasks(store, clock=clock).recover()

    record = store.get(left)
    await store.close()
    assert record.status is TaskStatusType.FAILURE
    assert record.error_info[0] == "INTERNAL_ERROR"
    assert "xapid ended while this task ran" in record.error_info[1]
    assert record.finished == clock.now


class TestKeeping:
    @pytest.fixture
    def tasks(self, store: Store, clock: Any) -> Tasks:
        return Tasks(store, clock=clock)

    async def finished(self, tasks: Tasks, store: Store) -> Ref[Task]:
        async def work(call: ApiCall) -> tuple[str, str]:
            return "", "<value></value>"

        ref = await tasks.begin(ApiCall(tasks, "x"), "x", work)
        await tasks.wait_idle()
        await until_ended(store, ref)
        return ref

    async def test_a_finished_task_is_kept_65_minutes(
        self, tasks: Tasks, store: Store, clock: Any
    ) -> None:
        ref = await self.finished(tasks, store)

        clock.pass_seconds(FINISHED_KEPT.total_seconds() - 1)
        await tasks.expire()
        assert store.find(Task, ref) is not None
        clock.pass_seconds(1)
        await tasks.expire()

        assert store.find(Task, ref) is None

    async def test_a_clients_own_is_dropped_after_a_day(
        self, tasks: Tasks, store: Store, clock: Any
    ) -> None:
        ref = await tasks.create(ApiCall(tasks, "task.create"), "mine", "")

        clock.pass_seconds(PENDING_KEPT.total_seconds() - 1)
        await tasks.expire()
        assert store.find(Task, ref) is not None
        clock.pass_seconds(1)
        await tasks.expire()

        assert store.find(Task, ref) is None

    async def test_a_result_too_long_for_a_task_is_a_failure(
        self, tasks: Tasks, store: Store
    ) -> None:
        async def work(call: ApiCall) -> tuple[str, str]:
            return "", "x" * (MAX_RESULT + 1)

        ref = await tasks.begin(ApiCall(tasks, "x"), "x", work)
        await until_ended(store, ref)

        assert store.get(ref).status is TaskStatusType.FAILURE
        assert store.get(ref).error_info[0] == "OPERATION_NOT_ALLOWED"
        assert "without Async" in store.get(ref).error_info[1]

    async def test_the_newest_results_are_kept_as_long_as_there_is_room(
        self, tasks: Tasks, store: Store, clock: Any
    ) -> None:
        async def work(call: ApiCall) -> tuple[str, str]:
            return "", "x" * MAX_RESULT

        refs = []
        for _ in range(MAX_RESULTS // MAX_RESULT + 2):
            clock.pass_seconds(1)
            refs.append(await tasks.begin(ApiCall(tasks, "x"), "x", work))
            await until_ended(store, refs[-1])

        await tasks.wait_idle()
        await tasks.expire()

        assert [store.find(Task, ref) is None for ref in refs[:3]] == [True, True, False]


class TestBackground:
    @pytest.fixture
    def tasks(self, store: Store, clock: Any) -> Tasks:
        return Tasks(store, clock=clock)

    async def test_work_of_the_daemon_has_a_task_too(self, tasks: Tasks, store: Store) -> None:
        async with tasks.background("restart after crash") as call:
            running = store.get(call.task)
            assert running.status is TaskStatusType.PENDING
            assert running.name_label == "restart after crash"
            assert call.user == ""

        assert store.get(call.task).status is TaskStatusType.SUCCESS

    async def test_work_that_raises_has_failed(self, tasks: Tasks, store: Store) -> None:
        with pytest.raises(OperationNotAllowed):
            async with tasks.background("x") as call:
                raise OperationNotAllowed("no")

        record = store.get(call.task)
        assert record.status is TaskStatusType.FAILURE
        assert record.error_info == ("OPERATION_NOT_ALLOWED", "no")

    async def test_a_client_cancels_the_work_and_not_who_does_it(
        self, tasks: Tasks, store: Store
    ) -> None:
        async def worker() -> str:
            with pytest.raises(TaskCancelled):
                async with tasks.background("x") as call:
                    refs.append(call.task)
                    began.set()
                    await asyncio.Event().wait()
            await asyncio.sleep(0)
            return "goes on"

        refs: list[Ref[Task]] = []
        began = asyncio.Event()
        working = asyncio.create_task(worker())
        await began.wait()

        await tasks.cancel(ApiCall(tasks, "task.cancel"), refs[0])

        assert await working == "goes on"
        assert store.get(refs[0]).status is TaskStatusType.CANCELLED

    async def test_only_so_many_tasks_of_clients_may_be_open(
        self, tasks: Tasks, store: Store
    ) -> None:
        call = ApiCall(tasks, "task.create")
        async with store.transaction() as tx:
            for _ in range(MAX_OWN - 1):
                tx.create(Task, {Task.status: TaskStatusType.PENDING})
        last = await tasks.create(call, "last", "")

        with pytest.raises(TooManyPendingTasks):
            await tasks.create(call, "one too many", "")
        await tasks.cancel(call, last)
        await tasks.create(call, "another", "")

    async def test_its_own_cancellation_goes_on(self, tasks: Tasks, store: Store) -> None:
        began = asyncio.Event()
        refs: list[Ref[Task]] = []

        async def worker() -> None:
            async with tasks.background("x") as call:
                refs.append(call.task)
                began.set()
                await asyncio.Event().wait()

        working = asyncio.create_task(worker())
        await began.wait()
        working.cancel()

        with pytest.raises(asyncio.CancelledError):
            await working
        assert store.get(refs[0]).status is TaskStatusType.FAILURE


async def test_an_end_that_cannot_be_written_is_written_later(
    store: Store, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xapid.rpc.tasks._RETRY_S", 0.0)
    tasks = Tasks(store, clock=clock)
    broken = True

    def refuse(tx: Any, ref: Ref[Task]) -> None:
        nonlocal broken
        if broken and tx.get(ref).status is not TaskStatusType.PENDING:
            broken = False
            raise StorageFailure("disk full")

    store.on_change(Task, refuse)

    async def work(call: ApiCall) -> tuple[str, str]:
        return "", "<value></value>"

    ref = await tasks.begin(ApiCall(tasks, "x"), "x", work)
    await until_ended(store, ref)

    assert not broken
    assert store.get(ref).status is TaskStatusType.SUCCESS
