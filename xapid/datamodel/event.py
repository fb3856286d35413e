"""TODO event."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import (
    Class,
    DateTime,
    EnumOf,
    Int,
    Record,
    RecordOf,
    ROins,
    ROrun,
    String,
    static_message,
)
from .enums import EventOperation
from .errors import EventsLost, EventSubscriptionParseFailure, SessionNotRegistered


class Event(Class, wire="event", derived=(), accessors=False, volatile=True):
    """TODO event."""

    id = ROins(Int, "TODO id.")
    timestamp = ROins(DateTime, "TODO timestamp.")
    class_ = ROins(String, "TODO class.")
    operation = ROins(EnumOf(EventOperation), "TODO operation.")
    ref_ = ROins(String, "TODO ref.")
    obj_uuid = ROins(String, "TODO obj_uuid.")
    snapshot = ROrun(
        RecordOf("<class>"),
        "TODO snapshot.",
        extension="Clients of today read the object from the event and do not ask again.",
    )

    @static_message(min_role="read-only", raises=(EventSubscriptionParseFailure,))
    @staticmethod
    def register(classes: tuple[str, ...]) -> None:
        """TODO register.

        classes: TODO classes.
        """

    @static_message(min_role="read-only", raises=(EventSubscriptionParseFailure,))
    @staticmethod
    def unregister(classes: tuple[str, ...]) -> None:
        """TODO unregister.

        classes: TODO classes.
        """

    @static_message(
        min_role="read-only",
        raises=(SessionNotRegistered, EventsLost, EventSubscriptionParseFailure),
    )
    @staticmethod
    def next() -> tuple[Record[Event], ...]:
        """TODO next."""

    @static_message(min_role="read-only")
    @staticmethod
    def get_current_id() -> int:
        """TODO get_current_id."""
