"""The log's line for each changing call: who, from where, what, which object, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

import structlog

from ..datamodel.declare import NULL, RefType
from ..datamodel.registry import Kind, Method
from ..db.store import Store
from ..log import bound
from .call import ApiCall

log = structlog.get_logger(__name__)

_SILENT: Final = {
    Kind.GET,
    Kind.GET_ALL,
    Kind.GET_ALL_RECORDS,
    Kind.GET_RECORD,
    Kind.GET_BY_UUID,
    Kind.GET_BY_NAME_LABEL,
}
_SILENT_MESSAGES: Final = {"event.next", "event.get_current_id"}
NOTHING: Final = ("", "")


class Told:
    """One call that changes something, from its begin on.

    raw_ref: the object it is about, looked at when the call begins: afterwards it may be gone.
    Parameters are never written, for some are secrets; nor are sessions, which open the door.
    """

    def __init__(self, store: Store, raw_ref: Any = NULL) -> None:
        self._store = store
        self._began = monotonic()
        self._about = _about(store, raw_ref)

    def made(self, ref: Any) -> None:
        """Say which object the call made, when it was about none."""
        if self._about is NOTHING:
            self._about = _about(self._store, ref)

    def ended(self, call: ApiCall, outcome: str) -> None:
        """Write the line. A login's user is known by the log's context alone."""
        name, ref = self._about
        log.info(
            "call",
            user=call.user or bound("user"),
            peer=call.peer,
            method=call.method,
            object=name,
            ref=ref,
            outcome=outcome,
            ms=round((monotonic() - self._began) * 1000),
            task=call.known_task or "",
            call=call.id,
        )


def _about(store: Store, raw_ref: Any) -> tuple[str, str]:
    """The name and reference of an object of the store; what is none may be a session."""
    record = store.memory.objects.get(raw_ref) if isinstance(raw_ref, str) else None
    if record is None:
        return NOTHING
    return str(record.row.get("name_label") or record.row.get("uuid") or ""), record.ref


def told(store: Store, method: Method, values: Sequence[Any]) -> Told | None:
    """What will be told of a call with these parameters; None when it changes nothing."""
    if method.kind in _SILENT or method.name in _SILENT_MESSAGES:
        return None
    refers = bool(method.params) and isinstance(method.params[0].type, RefType)
    return Told(store, values[0] if values and refers else NULL)
