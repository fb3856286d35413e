"""Changes of single fields: made at once, answered when they are on disk, told in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from ..datamodel.declare import Void
from ..datamodel.errors import ApiError
from ..datamodel.registry import Method
from ..db.failures import StorageFailure
from ..db.store import Store
from ..db.transaction import Applied, Transaction
from ..log import Bound
from .answers import Answer, Later, success
from .audit import Told, told
from .call import ApiCall
from .failures import api_error

_DONE: Final = success(Void, None)

Change = Callable[..., None]
"""(transaction, call, *values): makes the change, or raises ApiError."""


class Changes:
    """Makes changes that wait for nothing but the disk, without an asyncio task for each.

    explain: says in the log why a call failed.
    """

    def __init__(self, store: Store, explain: Callable[[Method, ApiError], None]) -> None:
        self._store = store
        self._explain = explain

    def begin(
        self, method: Method, change: Change, call: ApiCall, values: Sequence[Any]
    ) -> Answer | Later:
        """Make a change. Raises ApiError."""
        line = told(self._store, method, values)

        def body(tx: Transaction) -> None:
            change(tx, call, *values)

        with Bound(call=call.id, method=method.name, user=call.user):
            try:
                applied = self._store.change(body)
            except Exception as error:
                raise self._failed(method, call, line, error) from error
        if applied is None:
            return self._done(call, line)
        ready = asyncio.get_running_loop().create_future()
        applied.waiters.append(ready)
        return Later(ready, partial(self._settled, method, call, line, applied))

    def _settled(
        self, method: Method, call: ApiCall, line: Told | None, applied: Applied
    ) -> Answer:
        if applied.failure is None:
            return self._done(call, line)
        with Bound(call=call.id, method=method.name, user=call.user):
            error = StorageFailure(str(applied.failure))
            raise self._failed(method, call, line, error) from applied.failure

    def _done(self, call: ApiCall, line: Told | None) -> Answer:
        if line is not None:
            line.ended(call, "done")
        return _DONE

    def _failed(
        self, method: Method, call: ApiCall, line: Told | None, error: Exception
    ) -> ApiError:
        found = api_error(error)
        self._explain(method, found)
        if line is not None:
            line.ended(call, found.code)
        return found
