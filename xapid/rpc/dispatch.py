"""From a call's name to the one method that answers it, and from its result to the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog

from ..datamodel.coverage import NOT_YET
from ..datamodel.declare import RefTo, RefType
from ..datamodel.errors import (
    ApiError,
    FieldTypeError,
    InternalError,
    MessageMethodUnknown,
    MessageParameterCountMismatch,
    NotImplementedYet,
    RBACPermissionDenied,
    SessionInvalid,
    TaskCancelled,
    TooBusy,
)
from ..datamodel.raises import GENERIC
from ..datamodel.registry import METHODS, Kind, Method
from ..datamodel.session import Session
from ..db.store import Store
from ..db.text import clean_text
from ..log import Bound
from . import answers
from .addresses import one_client
from .answers import Answer, Later
from .arrivals import ARRIVED_AT
from .audit import told
from .call import ApiCall
from .changes import Changes
from .derived import Derived, References, SessionAccessors
from .events import Events
from .explain import explain
from .failures import STOPPING, api_error
from .figures import CallFigures
from .parameters import Check, checker
from .sessions import SHOWN, LiveSession, Sessions
from .tasks import Tasks
from .turns import Turns
from .wiring import Found
from .xmlrpc import Request

log = structlog.get_logger(__name__)

ROLES: Final = {
    "read-only": 0,
    "vm-operator": 1,
    "vm-admin": 2,
    "vm-power-admin": 3,
    "pool-operator": 4,
    "client-cert": 4,  # a host that shows its certificate; no account has this role
    "pool-admin": 5,
}
ASYNC: Final = "Async."
_TASK: Final = RefTo("task")
_ON_OBJECT: Final = {
    Kind.GET,
    Kind.SET,
    Kind.ADD,
    Kind.REMOVE,
    Kind.GET_RECORD,
    Kind.DESTROY,
}


@dataclass(slots=True)
class Route:
    """How one method is answered.

    run: the handler that may wait; inline: the one that never does; whole: the one whose result
    is already an answer. Exactly one of them is there, unless the method is not implemented.
    at_once: the answer of a method that needs no asyncio task, now or later; None from it: this
    call needs one.
    """

    method: Method
    checks: tuple[Check, ...]
    required: int
    run: Callable[..., Awaitable[Any]] | None = None
    inline: Callable[..., Any] | None = None
    whole: Callable[..., Awaitable[Answer]] | None = None
    at_once: Callable[..., Answer | Later | None] | None = None

    def values(self, raw_params: Sequence[Any], call: ApiCall) -> list[Any]:
        """The parameters checked, those left out at their defaults. Raises ApiError."""
        given, params = len(raw_params), self.method.params
        if given == 1 and len(self.checks) == 1:  # nearly all getters
            return [self.checks[0](raw_params[0], call)]
        if not self.required <= given <= len(params):
            raise MessageParameterCountMismatch(self.method.name, self.required, given)
        values = [check(raw, call) for check, raw in zip(self.checks, raw_params, strict=False)]
        values += [param.default for param in params[given:]]
        return values


class Dispatcher:
    """Answers calls: looks up the method, the session, the parameters, and runs the handler.

    implementations: the objects whose methods say with `implements`, `overrides` and `checks`
    what they are for. not_yet: the messages that have none and answer NOT_IMPLEMENTED. reached:
    told at which address of the host each call with a session came in. turns: lets calls in.
    observer: told of each call. Raises Miswired unless every other message has exactly one.
    """

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        tasks: Tasks,
        implementations: Iterable[object],
        *,
        not_yet: Collection[str] = NOT_YET,
        reached: Callable[[str], None] = lambda address: None,
        turns: Turns | None = None,
        observer: CallFigures | None = None,
    ) -> None:
        self._reached = reached
        self._turns = turns or Turns()
        self._observer = observer
        self._sessions = sessions
        self._tasks = tasks
        found = Found([*implementations, tasks], not_yet)
        self._derived = Derived(store, found.checks)
        self._own = SessionAccessors(sessions)
        self._references = References(store)
        self._store = store
        self._changes = Changes(store, self._explain)
        self._events = [service for service in found.services if isinstance(service, Events)]
        self._routes = {name: self._route(method, found) for name, method in METHODS.items()}
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False

    # Wiring

    def _route(self, method: Method, found: Found) -> Route:
        checks = tuple(
            checker(
                param.name, param.type, self._references, null=place > 0 or not _on_object(method)
            )
            for place, param in enumerate(method.params)
        )
        route = Route(method, checks, sum(param.required for param in method.params))
        route.run = found.handlers.get(method.name)
        if method.name == "event.next" and self._events:
            route.at_once = self._events[0].next_at_once
        if route.run is not None or method.kind is Kind.MESSAGE:
            return route
        accessors = self._own if method.owner is Session else self._derived
        if method.kind is Kind.GET_RECORD:
            record = accessors.record

            async def get_record(call: ApiCall, ref: Any) -> Answer:
                return record(ref)

            route.whole = get_record
            route.at_once = lambda call, ref: record(ref)
        elif method.kind is Kind.GET_ALL_RECORDS:

            async def get_all_records(call: ApiCall) -> Answer:
                return await self._derived.records(method.owner)

            route.whole = get_all_records
        else:
            route.inline = accessors.inline(method)
            if route.inline is None:
                route.run = self._derived.handler(method)
                route.at_once = self._changing(method)
            else:
                route.at_once = answers.answering(method.result, route.inline)
        return route

    def _changing(self, method: Method) -> Callable[..., Answer | Later] | None:
        change, begin = self._derived.change(method), self._changes.begin
        if change is None:
            return None
        return lambda call, *values: begin(method, change, call, values)

    # Answering

    async def answer(self, request: Request, peer: str) -> Answer:
        """Answer one call; never raises for what a client did.

        peer: where it came from; "" is the daemon itself, which needs no turn.
        """
        name, raw_params = request
        asynchronous = name.startswith(ASYNC)
        route = self._routes.get(name[len(ASYNC) :] if asynchronous else name)
        if route is not None and asynchronous and not route.method.asynchronous:
            route = None
        began, code = monotonic(), ""
        try:
            if route is None:
                await self._turn(one_client(peer))
                raise MessageMethodUnknown(clean_text(name, SHOWN))
            return await self._answer(route, raw_params, peer, asynchronous=asynchronous)
        except Exception as error:
            found = api_error(error)
            code = found.code
            return answers.failure(found.wire())
        finally:
            if code or not asynchronous:  # an asynchronous call that began ends later
                self._observe(route, code, began)

    def answer_at_once(self, request: Request, peer: str) -> Answer | Later | None:
        """Answer a call that needs no asyncio task, if it is its caller's turn.

        None: nothing was done, and `answer` must do it. Never raises for what a client did.
        """
        name, raw_params = request
        route = self._routes.get(name)
        if route is None or route.at_once is None or not raw_params or self._stopping:
            return None
        if type(raw_params[0]) is not str:
            return None
        began = monotonic()
        try:
            live = self._sessions.check(raw_params[0])
        except ApiError:
            return None
        caller = _caller(live, peer)
        if not self._turns.admit(caller):
            return None
        try:
            self._reached(ARRIVED_AT.get())
            call = ApiCall(self._tasks, name, user=live.user, session=live.ref, peer=peer)
            answer = route.at_once(call, *self._checked(route, raw_params[1:], call, live))
        except Exception as error:
            return self._failure(route, began, error)
        if isinstance(answer, Later):
            return self._finished_later(route, caller, began, answer)
        if answer is not None:
            self._observe(route, "", began)
            self._turns.charge(caller, answer.length)
        return answer

    def _finished_later(self, route: Route, caller: str, began: float, later: Later) -> Later:
        later.finish = partial(self._finish, route, caller, began, later.finish)
        return later

    def _finish(
        self, route: Route, caller: str, began: float, finish: Callable[[], Answer | Later]
    ) -> Answer | Later:
        try:
            answer = finish()
        except Exception as error:
            return self._failure(route, began, error)
        if isinstance(answer, Later):
            return self._finished_later(route, caller, began, answer)
        self._observe(route, "", began)
        self._turns.charge(caller, answer.length)
        return answer

    def _failure(self, route: Route, began: float, error: Exception) -> Answer:
        found = api_error(error)
        self._observe(route, found.code, began)
        return answers.failure(found.wire())

    async def _answer(
        self, route: Route, raw_params: Sequence[Any], peer: str, *, asynchronous: bool
    ) -> Answer:
        method, live = route.method, None
        if method.session:
            if not raw_params:
                raise MessageParameterCountMismatch(method.name, route.required, 0)
            live, raw_params = await self._session(raw_params[0], peer), raw_params[1:]
            call = ApiCall(self._tasks, method.name, user=live.user, session=live.ref, peer=peer)
        else:
            await self._turn(one_client(peer))
            call = ApiCall(self._tasks, method.name, peer=peer)
        values = self._checked(route, raw_params, call, live)
        if asynchronous:
            return await self._begin(route, call, values)
        if route.inline is not None:
            answer = answers.success(method.result, route.inline(call, *values))
        elif route.whole is not None:
            answer = await route.whole(call, *values)
        else:
            answer = answers.success(method.result, await self._run(route, call, values))
        if live is not None:
            self._turns.charge(_caller(live, peer), answer.length)
        return answer

    async def _turn(self, caller: str) -> None:
        if caller:
            await self._turns.enter(caller)

    async def _session(self, raw_session: Any, peer: str) -> LiveSession:
        """The session, once it is its user's turn. Who has none is known by the address alone."""
        try:
            if type(raw_session) is not str:
                raise FieldTypeError("session_id")
            live = self._sessions.check(raw_session)
        except ApiError:
            await self._turn(one_client(peer))
            raise
        await self._turn(_caller(live, peer))
        if self._sessions.find(live.ref) is None:
            raise SessionInvalid(clean_text(live.ref, SHOWN))
        self._reached(ARRIVED_AT.get())
        return live

    def _checked(
        self, route: Route, raw_params: Sequence[Any], call: ApiCall, live: LiveSession | None
    ) -> list[Any]:
        """The parameters' values, where the role allows the call. Raises ApiError."""
        try:
            if live is not None:
                _check_role(live, route.method)
            return route.values(raw_params, call)
        except ApiError as error:
            if (refused := told(self._store, route.method, raw_params)) is not None:
                refused.ended(call, error.code)
            raise

    def _observe(self, route: Route | None, code: str, began: float) -> None:
        if self._observer is not None:
            method = route.method if route is not None else None
            self._observer.answered(method, code, monotonic() - began)

    async def _begin(self, route: Route, call: ApiCall, values: list[Any]) -> Answer:
        """Start an asynchronous call: its task is the answer."""
        method = route.method
        _check_implemented(route)

        async def work(call: ApiCall) -> tuple[str, str]:
            began, code = monotonic(), ""
            try:
                return await encoded(call)
            except asyncio.CancelledError:
                code = TaskCancelled.code
                raise
            except Exception as error:
                code = error.code if isinstance(error, ApiError) else InternalError.code
                raise
            finally:
                self._observe(route, code, began)

        async def encoded(call: ApiCall) -> tuple[str, str]:
            if route.whole is not None:
                answer = await route.whole(call, *values)
                return "", answers.value_of(answer).decode()
            result = await self._handle(route, call, values)
            kind = method.result.target if isinstance(method.result, RefType) else ""
            return kind, answers.encode(method.result, result)

        task = await self._tasks.begin(call, ASYNC + method.name, work)
        return answers.success(_TASK, task)

    async def _run(self, route: Route, call: ApiCall, values: list[Any]) -> Any:
        """Run a handler in an asyncio task of its own, so that it can be cancelled alone."""
        if self._stopping:
            raise TooBusy
        runner = asyncio.ensure_future(self._handle(route, call, values))
        call.runner = runner
        self._running.add(runner)
        try:
            await _settled(runner)
            if not runner.cancelled():
                return runner.result()
            if self._tasks.cancel_asked(call):
                raise TaskCancelled(call.task)
            raise InternalError(STOPPING)
        finally:
            self._running.discard(runner)
            await self._tasks.close_volatile(call)

    async def _handle(self, route: Route, call: ApiCall, values: list[Any]) -> Any:
        """Run the handler under the call's log context, and say in the log what it changed."""
        method = route.method
        _check_implemented(route)
        line = told(self._store, method, values)
        with Bound(call=call.id, method=method.name, user=call.user):
            outcome = "failed"
            try:
                if route.inline is not None:
                    result = route.inline(call, *values)
                else:
                    assert route.run is not None  # noqa: S101 - it is implemented
                    result = await route.run(call, *values)
                outcome = "done"
                if line is not None and isinstance(method.result, RefType):
                    line.made(result)
                return result
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            except Exception as error:
                found = api_error(error)
                outcome = found.code
                self._explain(method, found)
                if found is error:
                    raise
                raise found from error
            finally:
                if line is not None:
                    line.ended(call, outcome)

    def _explain(self, method: Method, error: ApiError) -> None:
        """Say in the log, for people, why a call failed."""
        log.info("failed", code=error.code, why=explain(error, method.name, self._store))
        if type(error) not in GENERIC and not isinstance(error, method.raises):
            log.error("an error that the method does not declare", code=error.code)

    # The end

    async def stop(self, grace_s: float) -> None:
        """End waiting calls, let others run for at most `grace_s`, then cancel them."""
        self._stopping = True
        self._turns.close()
        for events in self._events:
            events.stop()
        tasks_idle = asyncio.ensure_future(self._tasks.wait_idle())
        waiting: set[asyncio.Future[Any]] = {*self._running, tasks_idle}
        await asyncio.wait(waiting, timeout=grace_s)
        tasks_idle.cancel()
        running = list(self._running)
        for runner in running:
            runner.cancel()
        await asyncio.gather(*running, tasks_idle, return_exceptions=True)
        await self._tasks.stop()


def _caller(live: LiveSession, peer: str) -> str:
    """Who shares one bucket: a user, at each address on their own."""
    return f"{live.user}@{one_client(peer)}"


def _on_object(method: Method) -> bool:
    """Whether the first parameter is the object that the call is about."""
    if method.message is not None:
        return not method.message.static
    return method.kind in _ON_OBJECT


def _check_role(live: LiveSession, method: Method) -> None:
    least = method.min_role
    if least is not None and ROLES[live.role] < ROLES[least]:
        raise RBACPermissionDenied(method.name.lower(), f"the role {least} is needed")


def _check_implemented(route: Route) -> None:
    if route.run is None and route.inline is None and route.whole is None:
        raise NotImplementedYet(route.method.name)


def _end(waiter: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _settled(runner: asyncio.Future[Any]) -> None:
    """Wait for a handler; whoever cancels the wait cancels the handler and still sees it end."""
    cancelled: asyncio.CancelledError | None = None
    while not runner.done():
        ended = runner.get_loop().create_future()
        runner.add_done_callback(partial(_end, ended))
        try:
            await ended
        except asyncio.CancelledError as error:
            cancelled = error
            runner.cancel()
    if cancelled is not None:
        raise cancelled
