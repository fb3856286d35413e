"""What the datamodel's derived methods do: accessors, look-ups, constructors and destructors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from ..datamodel.declare import NULL, Class, Field, MapType, Ref
from ..datamodel.errors import UUIDInvalid
from ..datamodel.registry import Kind, Method
from ..datamodel.session import Session
from ..db.store import Store
from ..db.text import clean_text
from ..db.transaction import Transaction
from .answers import Answer, member_of, record_answer, records_answer
from .call import ApiCall
from .changes import Change
from .sessions import SHOWN, Sessions

FieldCheck = Callable[[ApiCall, Ref[Any], Field[Any], Any], None]
FieldChecks = Mapping[Field[Any], Sequence[FieldCheck]]
Handler = Callable[..., Awaitable[Any]]
Inline = Callable[..., Any]

_ENCODED_AT_ONCE: Final = 50


class Derived:
    """Makes the handlers of derived methods over the store.

    checks: what services want to know of a client's value before it is stored.
    """

    def __init__(self, store: Store, checks: FieldChecks) -> None:
        self._store = store
        self._checks = checks

    def inline(self, method: Method) -> Inline | None:
        """The handler of a method that only looks, and never waits: (call, *values) -> result."""
        store, cls, field = self._store, method.owner, field_of(method)
        match method.kind:
            case Kind.GET if field is not None:
                name = field.name
                return lambda call, ref: store.get(ref).row[name]
            case Kind.GET_ALL:
                return lambda call: store.refs(cls)
            case Kind.GET_BY_NAME_LABEL:
                return lambda call, label: store.by_name_label(cls, label)
            case Kind.GET_BY_UUID:
                return lambda call, uuid: _found(cls, uuid, store.by_uuid(cls, uuid.lower()))
        return None

    def handler(self, method: Method) -> Handler:
        """The handler of a method that changes something: (call, *values) -> result."""
        cls, field = method.owner, field_of(method)
        match method.kind:
            case Kind.SET | Kind.ADD | Kind.REMOVE if field is not None:
                return self._setter(self._change(field, changed_value(method.kind, field)))
            case Kind.CREATE:
                return self._constructor(cls)
            case Kind.DESTROY:
                return self._destructor()
        raise TypeError(f"{method.name} is not derived")

    def record(self, ref: Ref[Any]) -> Answer:
        """The answer of `get_record`."""
        return record_answer(self._store.get(ref))

    async def records(self, cls: type[Class]) -> Answer:
        """The answer of `get_all_records`; records not yet encoded are, a few at a time."""
        records, fresh = self._store.all(cls), 0
        for record in records:
            if record.encoded is None:
                member_of(record)
                fresh += 1
                if fresh % _ENCODED_AT_ONCE == 0:
                    await asyncio.sleep(0)
        return records_answer(records)

    def check(self, call: ApiCall, ref: Ref[Any], field: Field[Any], value: Any) -> None:
        """Let the services judge a client's value. Raises ApiError."""
        for check in self._checks.get(field, ()):
            check(call, ref, field, value)

    def change(self, method: Method) -> Change | None:
        """What a setter does in a transaction: (transaction, call, *values)."""
        field = field_of(method)
        if field is None or method.kind not in (Kind.SET, Kind.ADD, Kind.REMOVE):
            return None
        return self._change(field, changed_value(method.kind, field))

    def _change(self, field: Field[Any], changed: Callable[..., Any]) -> Change:
        def change(tx: Transaction, call: ApiCall, ref: Ref[Any], *values: Any) -> None:
            value = changed(tx.get(ref).row[field.name], *values)
            self.check(call, ref, field, value)
            tx.set(ref, field, value)

        return change

    def _setter(self, change: Change) -> Handler:
        async def set_field(call: ApiCall, ref: Ref[Any], *values: Any) -> None:
            async with self._store.transaction() as tx:
                change(tx, call, ref, *values)

        return set_field

    def _constructor(self, cls: type[Class]) -> Handler:
        async def create(call: ApiCall, record: Mapping[str, Any]) -> Ref[Any]:
            async with self._store.transaction() as tx:
                return self.create_in(tx, call, cls, record)
            raise AssertionError  # the block above returns or raises

        return create

    def create_in(
        self, tx: Transaction, call: ApiCall, cls: type[Class], record: Mapping[str, Any]
    ) -> Ref[Any]:
        """Make an object of a client's record in a transaction."""
        for name, value in record.items():
            self.check(call, NULL, cls.fields[name], value)
        return tx.create(cls, record)

    def _destructor(self) -> Handler:
        async def destroy(call: ApiCall, ref: Ref[Any]) -> None:
            async with self._store.transaction() as tx:
                tx.destroy(ref)

        return destroy


class SessionAccessors:
    """The accessors of class session, whose objects stand in no store and are seen by their own."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def inline(self, method: Method) -> Inline | None:
        """The handler of a method of class session: (call, *values) -> result."""
        sessions, field = self._sessions, field_of(method)
        match method.kind:
            case Kind.GET if field is not None:
                name = field.name
                return lambda call, ref: sessions.get(ref).row[name]
            case Kind.GET_BY_UUID:
                return self._by_uuid
            case Kind.SET | Kind.ADD | Kind.REMOVE if field is not None:
                return self._setter(field, changed_value(method.kind, field))
        return None

    def record(self, ref: Ref[Any]) -> Answer:
        """The answer of `get_record`."""
        return record_answer(self._sessions.get(ref))

    def _by_uuid(self, call: ApiCall, uuid: str) -> Ref[Session]:
        own = self._sessions.get(call.session)
        return _found(Session, uuid, own.ref if own.uuid == uuid.lower() else None)

    def _setter(self, field: Field[Any], change: Callable[..., Any]) -> Inline:
        def set_field(call: ApiCall, ref: Ref[Any], *values: Any) -> None:
            value = change(self._sessions.get(ref).row[field.name], *values)
            self._sessions.set(ref, field, value)

        return set_field


class References:
    """Which references a call may name: any object of the store, and its own session."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def resolve(self, cls: type[Class], raw_ref: str, call: Any) -> Ref[Any] | None:
        """The reference, if it names an object of the class that the call may name."""
        if cls is Session:
            own: Ref[Session] = call.session
            return own if raw_ref == own else None
        record = self._store.find(cls, raw_ref)
        return None if record is None else record.ref


def field_of(method: Method) -> Field[Any] | None:
    """The field of an accessor; read past the descriptor that a Field is to the type checker."""
    field: Field[Any] | None = vars(method)["field"]
    return field


def changed_value(kind: Kind, field: Field[Any]) -> Callable[..., Any]:
    """(value now, *the call's values) -> the value that the accessor leaves."""
    is_map = isinstance(field.type, MapType)
    match kind:
        case Kind.ADD if is_map:
            return lambda now, key, value: {**now, key: value}
        case Kind.ADD:
            return lambda now, value: now if value in now else (*now, value)
        case Kind.REMOVE if is_map:
            return lambda now, key: {k: v for k, v in now.items() if k != key}
        case Kind.REMOVE:
            return lambda now, value: tuple(item for item in now if item != value)
    return lambda now, value: value


def _found(cls: type[Class], uuid: str, ref: Ref[Any] | None) -> Ref[Any]:
    if ref is None:
        raise UUIDInvalid(cls.wire, clean_text(uuid, SHOWN))
    return ref
