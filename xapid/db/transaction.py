"""One transaction: changes made beside the records in memory until they are applied together."""

from __future__ import annotations

import uuid as uuids
from asyncio import Future
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from ..datamodel.declare import NULL, Class, Field, Ref
from ..datamodel.errors import (
    DBUniquenessConstraintViolation,
    HandleInvalid,
    InvalidValue,
    OperationNotAllowed,
)
from .layout import Layout
from .members import Members, Row
from .memory import Link
from .text import shown
from .values import UUID

if TYPE_CHECKING:
    from .store import Store

T = TypeVar("T")
E = TypeVar("E", bound=Class)
Hook = Callable[["Transaction", Ref[Any]], None]
Values = Mapping[Field[Any] | str, Any] | Mapping[Field[Any], Any] | Mapping[str, Any]

MAX_HOOK_ROUNDS = 32
EVERYTHING = "*"  # in the place of a field: the object is new, or was touched


@dataclass(slots=True)
class Change:
    """What one transaction did to one object; `stored` if the file must follow."""

    layout: Layout
    old: Class | None
    new: Class | None
    fields: tuple[str, ...]
    stored: bool
    volatile: bool  # the object itself, so that nothing of it is ever stored


@dataclass(slots=True)
class Applied:
    """A transaction that is in memory and perhaps not yet on disk."""

    changes: list[Change]
    credentials: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    durable: bool = False
    settled: bool = False
    failure: Exception | None = None
    waiters: list[Future[None]] = field(default_factory=list)


class _Edit:
    """The working copy of one object; `row` is None once it is destroyed."""

    __slots__ = ("fields", "layout", "old", "record", "row", "volatile")

    def __init__(self, layout: Layout, old: Class | None, row: Row, volatile: bool) -> None:
        self.layout = layout
        self.old = old
        self.row: Row | None = row
        self.record: Class | None = None  # handed out already: copied before the next change
        self.fields: dict[str, None] = {}
        self.volatile = volatile

    def writable(self) -> Row:
        assert self.row is not None  # noqa: S101 - destroyed objects are refused before
        if self.record is not None:
            self.record, self.row = None, self.row.successor()
        return self.row


class Transaction:
    """Changes to the store that take effect together when the block is left, or not at all.

    The body must not await. Leaving it returns once all is on disk; a transaction that changed
    only volatile fields and objects returns at once. An exception drops every change; after
    StorageFailure nothing of it remains either. A cancellation that comes while the write is
    under way is delivered after it, at the next await of the caller.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._memory = store.memory
        self._edits: dict[str, _Edit] = {}
        self._pointed: dict[str, dict[Link, None]] = {}  # references made here, by target
        self._destroyed: dict[str, Class | None] = {}
        self._credentials: dict[str, str | None] = {}
        self._to_hook: dict[str, set[str]] = {}  # the fields changed since the hooks ran
        self._uuids: dict[str, str] = {}
        self._meant_to_last = False
        self._open = False

    async def __aenter__(self) -> Self:
        self._store.begin(self)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            applied = self.finish() if exc is None else None
        finally:
            self._open = False
            self._store.end()
        if applied is not None:
            await self._store.settled(applied)

    # Reading

    def get(self, ref: Ref[E]) -> E:
        """The record as this transaction has left it so far; raises HandleInvalid."""
        edit = self._edits.get(ref)
        if edit is None:
            return self._store.get(ref)
        if edit.row is None:
            raise HandleInvalid(edit.layout.wire, ref)
        if edit.record is None:
            edit.record = edit.layout.cls(ref, edit.row)
        return cast(E, edit.record)

    def find(self, cls: type[E], raw_ref: str) -> E | None:
        """The record of class `cls` that `raw_ref` names here, None when there is none."""
        edit = self._edits.get(raw_ref)
        if edit is None:
            return self._store.find(cls, raw_ref)
        return self.get(Ref(raw_ref)) if edit.row is not None and edit.layout.cls is cls else None

    def exists(self, ref: str) -> bool:
        edit = self._edits.get(ref)
        return ref in self._memory.objects if edit is None else edit.row is not None

    # Writing

    def create(
        self,
        cls: type[E],
        values: Values = MappingProxyType({}),
        *,
        ref: Ref[E] | None = None,
        uuid: str | None = None,
        volatile: bool = False,
    ) -> Ref[E]:
        """Make an object; fields without a value start from their defaults.

        ref, uuid: made at random unless given; a uuid may also stand in `values`.
        volatile: the object lives in memory only, as all objects of a volatile class do.
        Raises InvalidValue, HandleInvalid, DBUniquenessConstraintViolation.
        """
        self._check_open()
        layout = self._memory.layouts[cls]
        if ref is None:
            ref = Ref(f"OpaqueRef:{uuids.uuid4()}")
        elif ref in self._memory.objects or ref in self._edits or ref == NULL:
            raise ValueError(f"the reference {ref} is taken")
        volatile = volatile or cls.volatile
        given = {layout.field_name(f): value for f, value in values.items()}
        if layout.has_uuid:
            given["uuid"] = self._new_uuid(layout, uuid or given.get("uuid"))
        checked = {name: layout.checks[name](value) for name, value in given.items()}
        edit = _Edit(layout, None, layout.new_row(_unlinked(layout, checked)), volatile)
        self._edits[ref] = edit
        if layout.has_uuid:
            self._uuids[given["uuid"]] = ref
        self._note(ref, EVERYTHING)
        self._meant_to_last |= not volatile
        try:
            for name in layout.links.keys() & checked.keys():
                self._assign(ref, edit, name, checked[name])
        except BaseException:
            self._discard(ref, edit)
            raise
        return ref

    def set(self, ref: Ref[Any], field: Field[T], value: T) -> None:
        """Give a field a value; raises HandleInvalid, InvalidValue, TypeError."""
        self._check_open()
        edit = self._edit(ref)
        name = edit.layout.field_name(field)
        self._assign(ref, edit, name, edit.layout.checks[name](value))

    def update(self, ref: Ref[Any], values: Values) -> None:
        """Give several fields their values."""
        self._check_open()
        edit = self._edit(ref)
        for field_, value in values.items():
            name = edit.layout.field_name(field_)
            self._assign(ref, edit, name, edit.layout.checks[name](value))

    def destroy(self, ref: Ref[Any]) -> None:
        """Remove an object.

        What refers to it must be gone, or refer to it no more, when the transaction ends, or
        OperationNotAllowed tells what does.
        """
        self._check_open()
        edit = self._edit(ref)
        for name in edit.layout.inverse:
            self._leave(ref, edit, name)
        self._destroyed[ref] = self.get(ref)
        edit.row = edit.record = None
        self._to_hook.pop(ref, None)
        self._meant_to_last |= not edit.volatile

    def touch(self, ref: Ref[Any]) -> None:
        """Run the change hooks on an object although none of its fields changed."""
        self._check_open()
        self._edit(ref)
        self._note(ref, EVERYTHING)

    def set_credential(self, name: str, hashed: str | None) -> None:
        """Keep the hash of an account's password; None removes it."""
        self._check_open()
        self._credentials[name] = hashed
        self._meant_to_last = True

    # The pieces

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError("the transaction has ended")

    def _new_uuid(self, layout: Layout, uuid: object) -> str:
        if not uuid:
            return str(uuids.uuid4())
        if not isinstance(uuid, str) or not UUID.fullmatch(uuid):
            raise InvalidValue("uuid", shown(uuid))
        holder = self._uuids.get(uuid) or self._memory.uuids.get(uuid)
        if holder is not None and self.exists(holder):
            raise DBUniquenessConstraintViolation(layout.wire, "uuid", uuid)
        return uuid

    def _edit(self, ref: Ref[Any]) -> _Edit:
        edit = self._edits.get(ref)
        if edit is None:
            old = self._store.get(ref)
            layout = self._memory.layouts[type(old)]
            volatile = old.volatile or ref in self._memory.volatile
            edit = self._edits[ref] = _Edit(layout, old, cast(Row, old.row), volatile)
            edit.record = old
        elif edit.row is None:
            raise HandleInvalid(edit.layout.wire, ref)
        return edit

    def _discard(self, ref: Ref[Any], edit: _Edit) -> None:
        for name in edit.layout.inverse:
            self._leave(ref, edit, name)
        del self._edits[ref]
        self._to_hook.pop(ref, None)

    def _assign(self, ref: Ref[Any], edit: _Edit, name: str, value: Any) -> None:
        layout = edit.layout
        if name in layout.stored_names and not edit.volatile:
            self._meant_to_last = True
        assert edit.row is not None  # noqa: S101 - _edit refused destroyed objects
        before = edit.row[name]
        if before == value:
            return
        if name == "uuid":
            raise TypeError(f"the uuid of {layout.wire} {ref} cannot change")
        if name in layout.links:
            self._check_targets(ref, layout, name, value)
        bound = name in layout.inverse
        if bound:
            self._leave(ref, edit, name)
        edit.writable()[name] = value
        edit.fields[name] = None
        self._note(ref, name)
        if bound:
            self._join(ref, edit, name)

    def _check_targets(self, ref: Ref[Any], layout: Layout, name: str, value: Any) -> None:
        link = (ref, layout.cls.fields[name])
        for target in layout.links[name](value):
            edit = self._edits.get(target)
            if edit is not None:
                found = edit.layout.wire if edit.row is not None else None
            else:
                record = self._memory.objects.get(target)
                found = record.wire if record is not None else None
            if found not in layout.targets[name]:
                raise HandleInvalid(min(layout.targets[name]), shown(target))
            self._pointed.setdefault(target, {})[link] = None

    def _leave(self, ref: Ref[Any], edit: _Edit, name: str) -> None:
        """Take the object out of the set at the other end of a bound reference."""
        assert edit.row is not None  # noqa: S101 - called on living objects only
        inverse, target = edit.layout.inverse.get(name), edit.row[name]
        if inverse is not None and target != NULL and self.exists(target):
            row = self._edit(target).writable()
            self._put(target, row, inverse, row.members[inverse].removed(ref))

    def _join(self, ref: Ref[Any], edit: _Edit, name: str) -> None:
        """Put the object into the set at the other end of a bound reference."""
        assert edit.row is not None  # noqa: S101 - called on living objects only
        inverse, target = edit.layout.inverse.get(name), edit.row[name]
        if inverse is not None and target != NULL:
            row = self._edit(target).writable()
            self._put(target, row, inverse, row.members[inverse].added(ref))

    def _put(self, ref: Ref[Any], row: Row, name: str, members: Members) -> None:
        row.relink(name, members)
        self._edits[ref].fields[name] = None
        self._note(ref, name)

    def _note(self, ref: Ref[Any], name: str) -> None:
        self._to_hook.setdefault(ref, set()).add(name)

    # The end

    def finish(self) -> Applied | None:
        """Run the hooks, check what must hold, apply; None if nothing is left to wait for."""
        self._run_hooks()
        for ref in self._destroyed:
            self._check_unreferenced(ref)
        changes = [c for ref, edit in self._edits.items() if (c := _change(ref, edit)) is not None]
        credentials = self._changed_credentials() if self._credentials else []
        return self._store.apply(changes, credentials, self._meant_to_last)

    def _changed_credentials(self) -> list[tuple[str, str | None, str | None]]:
        return [
            (name, old, new)
            for name, new in self._credentials.items()
            if (old := self._store.credential(name)) != new
        ]

    def run(self, body: Callable[[Transaction], object]) -> Applied | None:
        """Make the changes of `body`; what must be waited for before they are on disk, if anything.

        In the place of the block; raises what that raises, but for StorageFailure.
        """
        self._store.begin(self)
        self._open = True
        try:
            body(self)
            return self.finish()
        finally:
            self._open = False
            self._store.end()

    def repeat(self, changes: list[Change]) -> None:
        """Make volatile changes again that were taken back with others."""

        def again(_: Transaction) -> None:
            for change in changes:
                self._repeat(change)

        self.run(again)

    def _repeat(self, change: Change) -> None:
        record = change.new or change.old
        assert record is not None  # noqa: S101 - a change has at least one side
        derived = change.layout.derived
        if change.new is None:
            if self.exists(record.ref):
                self.destroy(record.ref)
        elif change.old is None:
            plain = {n: record.row[n] for n in change.layout.checks}
            self.create(type(record), plain, ref=record.ref, volatile=True)
        elif self.exists(record.ref):
            values = {n: record.row[n] for n in change.fields if n not in derived}
            self.update(record.ref, values)

    def _run_hooks(self) -> None:
        hooks = self._store.hooks
        for _ in range(MAX_HOOK_ROUNDS):
            if not self._to_hook:
                return
            changed, self._to_hook = self._to_hook, {}
            for raw_ref, names in changed.items():
                for hook, quiet in hooks.get(self._edits[raw_ref].layout.cls, ()):
                    if not names <= quiet and self.exists(raw_ref):
                        hook(self, Ref(raw_ref))
        raise RuntimeError(f"change hooks do not come to rest: {sorted(self._to_hook)}")

    def _check_unreferenced(self, ref: str) -> None:
        links = dict.fromkeys(self._memory.links_to(ref)) | self._pointed.get(ref, {})
        for source, field_ in links:
            edit = self._edits.get(source)
            if edit is None:
                row: Mapping[str, Any] = self._memory.objects[source].row
            elif edit.row is None:
                continue
            else:
                row = edit.row
            layout = self._memory.layouts[field_.owner]
            if ref in tuple(layout.links[field_.name](row[field_.name])):
                self._refuse(ref, self.get(source), field_)

    def _refuse(self, ref: str, referrer: Class, field_: Field[Any]) -> None:
        record = self._destroyed[ref]
        raise OperationNotAllowed(
            f"{_described(record)} is still in use: it is the {field_.name} of "
            f"{_described(referrer)}"
        )


def _unlinked(layout: Layout, checked: dict[str, Any]) -> dict[str, Any]:
    """The values without the references, which are assigned one by one."""
    return {name: value for name, value in checked.items() if name not in layout.links}


def _described(record: Class | None) -> str:
    if record is None:
        return "the object"
    row = record.row
    name = row.get("name_label")
    return f"{record.wire} {row.get('uuid') or record.ref}" + (f" ({shown(name)})" if name else "")


def _change(ref: str, edit: _Edit) -> Change | None:
    layout, old = edit.layout, edit.old
    if edit.row is None:
        if old is None:
            return None
        return Change(layout, old, None, (), not edit.volatile, edit.volatile)
    if old is None:
        new = edit.record or layout.cls(Ref(ref), edit.row)
        return Change(layout, None, new, (), not edit.volatile, edit.volatile)
    row = edit.row
    fields = tuple(
        [name for name in edit.fields if name in layout.derived or row[name] != old.row[name]]
    )
    if not fields:
        return None
    stored = not (edit.volatile or layout.stored_names.isdisjoint(fields))
    new = edit.record or layout.cls(Ref(ref), row)
    new.follow(old, fields)
    return Change(layout, old, new, fields, stored, edit.volatile)
