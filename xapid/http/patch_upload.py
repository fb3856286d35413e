"""PUT /pool_patch_upload: a patch's bytes on their way to whoever takes patches in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ..datamodel.declare import NULL, Ref, RefTo
from ..datamodel.enums import TaskStatusType
from ..datamodel.errors import (
    ApiError,
    HandleInvalid,
    InvalidPatch,
    RBACPermissionDenied,
)
from ..datamodel.pool_patch import PoolPatch
from ..datamodel.task import Task
from ..db.store import Store
from ..db.text import shown
from ..rpc import answers
from ..rpc.audit import Told
from ..rpc.call import ApiCall
from ..rpc.dispatch import ROLES
from ..rpc.failures import api_error
from ..rpc.sessions import LiveSession, Sessions
from ..rpc.tasks import Outcome, Tasks
from ..services.ports import Call
from .connection import HEADERS, ClientBytes, plain

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

PATH: Final = "/pool_patch_upload"
METHOD: Final = "pool_patch_upload"
LEAST_ROLE: Final = "pool-operator"
PARAMETERS: Final = frozenset({"session_id", "task_id", "sr_id"})

Receive = Callable[[Call, AsyncIterator[bytes]], Awaitable[Ref[PoolPatch]]]
"""Takes a patch in; raises ApiError."""


@dataclass(frozen=True)
class Limits:
    """block_s: how long a client may take to send something. uploads: at the same time."""

    block_s: float = 60.0
    uploads: int = 2


class PatchUpload:
    """Answers the upload with the new patch's reference, or an HTTP error and the API's error.

    The query names the session, and may name a task that the client made (task.create): it then
    shows the progress and ends with the upload; else the upload gets a task of its own.
    """

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        tasks: Tasks,
        receive: Receive,
        limits: Limits = Limits(),
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._tasks = tasks
        self._receive = receive
        self._limits = limits
        self._turn = asyncio.Semaphore(limits.uploads)

    async def handle(self, request: BaseRequest, peer: str) -> web.Response:
        """Answer one request; never raises for what a client did."""
        try:
            if request.query.keys() - PARAMETERS or request.headers.get("Content-Encoding"):
                return plain(400, "the query may hold session_id and task_id, the body is a patch")
            live = self._sessions.check(_session_of(request))
            call = ApiCall(self._tasks, METHOD, user=live.user, session=live.ref, peer=peer)
            async with self._told(call):
                _check_role(live)
                async with self._turn:
                    task = await self._begin(request, call)
                    await self._end(call)
        except ApiError as error:
            return _refusal(error.wire())
        except Exception as error:
            return _refusal(api_error(error).wire())
        return self._answer(task)

    @asynccontextmanager
    async def _told(self, call: ApiCall) -> AsyncIterator[None]:
        """Say in the log who sent what, and how it ended."""
        line, outcome = Told(self._store), "failed"
        try:
            yield
            record = self._store.find(Task, call.task)
            done = record is not None and record.status is TaskStatusType.SUCCESS
            outcome = "done" if done else next(iter(record.error_info if record else ()), outcome)
        except ApiError as error:
            outcome = error.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            line.ended(call, outcome)

    async def _begin(self, request: BaseRequest, call: ApiCall) -> Ref[Task]:
        """Start the work under its task. Raises HANDLE_INVALID, OPERATION_NOT_ALLOWED."""
        raw_task = request.query.get("task_id", "")

        async def work(call: ApiCall) -> Outcome:
            patch = await self._receive(call, self._chunks(request, call))
            return PoolPatch.wire, answers.encode(RefTo(PoolPatch.wire), patch)

        if raw_task in ("", NULL):
            return await self._tasks.begin(call, METHOD, work)
        record = self._store.find(Task, raw_task)
        if record is None:
            raise HandleInvalid("task", shown(raw_task))
        await self._tasks.take_over(call, record.ref, work)
        return record.ref

    async def _end(self, call: ApiCall) -> None:
        """Wait for the work; a client that goes away takes its upload along."""
        runner = call.runner
        assert runner is not None  # noqa: S101 - it was begun
        try:
            await asyncio.wait((runner,))
        except asyncio.CancelledError:
            runner.cancel()
            await asyncio.wait((runner,))
            raise

    async def _chunks(self, request: BaseRequest, call: ApiCall) -> AsyncIterator[bytes]:
        expected = request.content_length or 0
        if "100-continue" in request.headers.get("Expect", "").lower() and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content, came = ClientBytes(request), 0
        try:
            while True:
                async with asyncio.timeout(self._limits.block_s):
                    chunk = await content.read()
                if not chunk:
                    break
                yield chunk
                came += len(chunk)
                call.progress(0.95 * came / max(expected, came, 1))
        except (TimeoutError, web.RequestPayloadError, ConnectionError) as error:
            raise InvalidPatch() from error

    def _answer(self, task: Ref[Task]) -> web.Response:
        record = self._store.find(Task, task)
        if record is None:
            return plain(500, "the task of the upload is gone")
        if record.status is not TaskStatusType.SUCCESS:
            return _refusal(list(record.error_info))
        reference = record.result.removeprefix("<value>").removesuffix("</value>")
        return web.Response(text=reference + "\n", headers=HEADERS)


def _session_of(request: BaseRequest) -> str:
    given = request.query.getall("session_id", [])
    return given[0] if len(given) == 1 else ""


def _check_role(live: LiveSession) -> None:
    if ROLES[live.role] < ROLES[LEAST_ROLE]:
        raise RBACPermissionDenied(METHOD, f"the role {LEAST_ROLE} is needed")


def _refusal(error: list[str]) -> web.Response:
    """The API's error as text: its code and parameters, one a line."""
    statuses = {"SESSION_INVALID": 401, "RBAC_PERMISSION_DENIED": 403, "PATCH_ALREADY_EXISTS": 409}
    statuses |= {"INTERNAL_ERROR": 500, "OUT_OF_SPACE": 507, "TOO_MANY_PENDING_TASKS": 503}
    lines = [" ".join(line.split()) for line in error]
    return plain(statuses.get(error[0] if error else "", 400), "\n".join(lines))
