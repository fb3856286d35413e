"""Take back the steps of an operation that did not finish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import ParamSpec, Self

import structlog

P = ParamSpec("P")

log = structlog.get_logger(__name__)


class Undo:
    """Runs the steps added to it, newest first, unless `commit` was called.

    A step that fails is logged and the others still run, so the error that stopped the operation
    is the one its caller sees. A cancel that arrives while steps run waits until they are done.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[object, Callable[[], Awaitable[object]]]] = []

    def add(self, step: Callable[P, Awaitable[object]], *args: P.args, **kwargs: P.kwargs) -> None:
        """Remember how to take back what was just done; no await may stand between the two."""
        self._steps.append((step, lambda: step(*args, **kwargs)))

    def commit(self) -> None:
        """The operation is done: nothing is taken back."""
        self._steps.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._steps:
            return
        cancelled: asyncio.CancelledError | None = None
        unwinding = asyncio.create_task(self._unwind())
        while not unwinding.done():
            try:
                await asyncio.shield(unwinding)
            except asyncio.CancelledError as late:
                cancelled = late
        if cancelled is not None and not isinstance(error, asyncio.CancelledError):
            raise cancelled

    async def _unwind(self) -> None:
        while self._steps:
            step, run = self._steps.pop()
            try:
                await run()
            except asyncio.CancelledError:
                log.error("an undo step was cancelled from inside", step=_name(step))
            except Exception:
                log.exception("an undo step failed", step=_name(step))


def _name(step: object) -> str:
    """What the log calls a step; never made before it is needed: a repr can be long."""
    name = getattr(step, "__qualname__", None)
    return repr(step) if name is None else str(name)
