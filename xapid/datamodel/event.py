"""Events: how clients hear of changes."""

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
    """A change of an object, as told to the sessions that registered for it."""

    id = ROins(Int, "Number of the event; later events have higher numbers.")
    timestamp = ROins(DateTime, "When the change was made.")
    class_ = ROins(String, "The class of the object that changed.")
    operation = ROins(EnumOf(EventOperation), "What happened to the object.")
    ref_ = ROins(String, "The reference of the object that changed.")
    obj_uuid = ROins(String, "The UUID of the object that changed.")
    snapshot = ROrun(
        RecordOf("<class>"),
        "The record of the object after the change; after a destroy, the last one.",
        extension="Clients of today read the object from the event and do not ask again.",
    )

    @static_message(min_role="read-only", raises=(EventSubscriptionParseFailure,))
    @staticmethod
    def register(classes: tuple[str, ...]) -> None:
        """Begin to collect events of some classes for the session.

        Registering again adds classes.

        classes: names of the classes; an asterisk stands for all.
        """

    @static_message(min_role="read-only", raises=(EventSubscriptionParseFailure,))
    @staticmethod
    def unregister(classes: tuple[str, ...]) -> None:
        """Stop collecting events of some classes for the session.

        classes: names of the classes; an asterisk stands for all.
        """

    @static_message(
        min_role="read-only",
        raises=(SessionNotRegistered, EventsLost, EventSubscriptionParseFailure),
    )
    @staticmethod
    def next() -> tuple[Record[Event], ...]:
        """Get the events that the session has not seen yet, and wait for one if there are none."""

    @static_message(min_role="read-only")
    @staticmethod
    def get_current_id() -> int:
        """Get the number of the latest event."""
