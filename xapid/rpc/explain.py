"""One plain sentence for an error: which object, by name, what is wrong, and what to do."""

from __future__ import annotations

from ..datamodel.declare import NULL, Class, Ref
from ..datamodel.errors import ApiError
from ..db.store import Store
from ..db.text import clean_text, shown

MAX_SENTENCE = 1024  # bytes


def explain(error: ApiError, method: str, store: Store) -> str:
    """The sentence; references in the error's parameters are told by the names of their objects."""
    first, _, _ = " ".join((error.__doc__ or "").split()).partition(". ")
    told = [
        f"{name} {_told(value, store)}"
        for name, value in zip(error.parameters(), error.wire()[1:], strict=True)
    ]
    facts = f" ({', '.join(told)})" if told else ""
    return clean_text(f"{method} failed: {first.rstrip('.')}{facts}.", MAX_SENTENCE)


def _told(value: str, store: Store) -> str:
    if not value.startswith("OpaqueRef:") or value == NULL:
        return repr(shown(value)) if len(value) <= 64 else shown(value)
    cls = store.class_of(Ref(value))
    record = store.find(cls, value) if cls is not None else None
    return value if record is None else described(record)


def described(record: Class) -> str:
    """An object as people call it: its class, and its name or else its uuid."""
    name = record.row.get("name_label") or record.row.get("userdevice") or record.row.get("uuid")
    return f"{record.wire} {name!r}"
