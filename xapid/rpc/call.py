"""A call under way: who made it, and the task that stands for it when somebody asks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from ..datamodel.declare import NULL, Ref

if TYPE_CHECKING:
    import asyncio

    from ..datamodel.session import Session
    from ..datamodel.task import Task

LOCAL: Final = "local"
"""The peer of a call that came over the Unix socket."""


class TaskBook(Protocol):
    """What a call needs of the tasks."""

    def open_volatile(self, call: ApiCall) -> Ref[Task]: ...
    def report_progress(self, task: Ref[Task], fraction: float) -> None: ...
    def show_cancellable(self, task: Ref[Task], *, cancellable: bool) -> None: ...


class ApiCall:
    """One call of a client, or a piece of work the daemon began by itself.

    peer: the address it came from, LOCAL for the Unix socket, "" for the daemon itself.
    runner: the asyncio task that runs the method's handler, where it has one of its own.
    in_one_piece: whether the call is in a stretch that cannot be cut short.
    """

    __slots__ = (
        "_id",
        "_progress",
        "_task",
        "_tasks",
        "in_one_piece",
        "method",
        "peer",
        "runner",
        "session",
        "user",
    )

    def __init__(
        self,
        tasks: TaskBook,
        method: str,
        *,
        user: str = "",
        session: Ref[Session] = NULL,
        peer: str = "",
    ) -> None:
        self._id = ""
        self.method = method
        self.user = user
        self.session = session
        self.peer = peer
        self.runner: asyncio.Task[object] | None = None
        self._tasks = tasks
        self._task: Ref[Task] | None = None
        self._progress = 0.0
        self.in_one_piece = False

    @property
    def id(self) -> str:
        """The name of this call in the log; made when first asked for."""
        if not self._id:
            self._id = _IDS()
        return self._id

    @id.setter
    def id(self, name: str) -> None:
        self._id = name

    @property
    def task(self) -> Ref[Task]:
        """The task that stands for this call; made when first asked for."""
        if self._task is None:
            self._task = self._tasks.open_volatile(self)
        return self._task

    @property
    def known_task(self) -> Ref[Task] | None:
        """The task, if there is one already."""
        return self._task

    def adopt(self, task: Ref[Task]) -> None:
        """Let a task stand for this call."""
        self._task = task

    def progress(self, fraction: float) -> None:
        """Say how far the call has come, 0 to 1; never goes back."""
        fraction = min(fraction, 1.0)
        if fraction > self._progress:
            self._progress = fraction
            if self._task is not None:
                self._tasks.report_progress(self._task, fraction)

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """A stretch that nothing can cut short within 30 s: its task cannot be cancelled then."""
        self._keep_in_one_piece(True)
        try:
            yield
        finally:
            self._keep_in_one_piece(False)

    def _keep_in_one_piece(self, kept: bool) -> None:
        self.in_one_piece = kept
        if self._task is not None:
            self._tasks.show_cancellable(self._task, cancellable=not kept)


class _Ids:
    """Names for calls, at random; the kernel is asked for many at a time."""

    _MANY: Final = 256

    def __init__(self) -> None:
        self._left: list[str] = []

    def __call__(self) -> str:
        if not self._left:
            digits = secrets.token_hex(4 * self._MANY)
            self._left = [digits[at : at + 8] for at in range(0, len(digits), 8)]
        return self._left.pop()


_IDS: Final = _Ids()
