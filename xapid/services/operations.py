"""Who works on what: claims on objects, and the operations that are allowed at every moment."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from ..datamodel.declare import Class, Message, Ref
from ..datamodel.session import Session
from ..datamodel.task import Task
from ..db.store import Store
from ..db.transaction import Transaction
from .ports import Call, Likeness, Refusal, View

E = TypeVar("E", bound=Class)


@dataclass(frozen=True)
class Rules:
    """What `Operations.govern` was told about one class."""

    operations: tuple[enum.StrEnum, ...]
    refusal: Refusal[Any]
    neighbours: Callable[[View, Any], Sequence[Ref[Any]]] | None
    likeness: Likeness[Any] | None
    allowed: dict[Hashable, tuple[enum.StrEnum, ...]] = field(default_factory=dict)
    """By likeness, what was allowed to an object once."""

    def allowed_to(self, view: View, record: Any) -> tuple[enum.StrEnum, ...]:
        """The operations that are not refused now."""
        key = self.likeness(view, record) if self.likeness is not None else None
        known = self.allowed.get(key) if key is not None else None
        if known is not None:
            return known
        allowed = tuple(op for op in self.operations if self.refusal(view, record, op) is None)
        if key is not None:
            self.allowed[key] = allowed
        return allowed


@dataclass(frozen=True)
class Part:
    """A piece of a call's work, whose progress is the share from `start` to `end` of the call's."""

    whole: Call
    start: float
    end: float

    @property
    def user(self) -> str:
        return self.whole.user

    @property
    def session(self) -> Ref[Session]:
        return self.whole.session

    @property
    def task(self) -> Ref[Task]:
        return self.whole.task

    def progress(self, fraction: float) -> None:
        self.whole.progress(self.start + min(fraction, 1.0) * (self.end - self.start))

    def unbroken(self) -> AbstractContextManager[None]:
        return self.whole.unbroken()


QUIET: Final = frozenset({"name_label", "name_description", "allowed_operations"})
"""Fields that no refusal asks for, of whatever class."""


class Operations:
    """Implements `ports.Operations` on the store.

    A claim lives in `current_operations`, which is kept in memory only: a claim dies with the
    instance that made it. `allowed_operations` is what `claim` would accept, because both ask the
    same refusal; it is worked out again inside each transaction that touches the object or one it
    depends on.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rules: dict[type[Class], Rules] = {}
        self._on_release: list[Callable[[Ref[Any]], None]] = []

    def govern(
        self,
        cls: type[E],
        operations: Sequence[enum.StrEnum],
        refusal: Refusal[E],
        neighbours: Callable[[View, E], Sequence[Ref[Any]]] | None = None,
        likeness: Likeness[E] | None = None,
    ) -> None:
        self._rules[cls] = Rules(tuple(operations), refusal, neighbours, likeness)
        self._store.on_change(cls, self._changed, quiet=QUIET)

    def on_release(self, listener: Callable[[Ref[Any]], None]) -> None:
        """Call `listener` with each object whose claim has ended."""
        self._on_release.append(listener)

    @asynccontextmanager
    async def claim(
        self, call: Call, obj: Ref[E], message: Message[E, ..., Any] | enum.StrEnum
    ) -> AsyncIterator[E]:
        operation = message.operation if isinstance(message, Message) else message
        if operation is None:
            raise TypeError(f"{message} names no operation to claim")
        key = str(call.task)
        async with self._store.transaction() as tx:
            record = tx.get(obj)
            refused = self._rules[type(record)].refusal(tx, record, operation)
            if refused is not None:
                raise refused
            current = record.row["current_operations"]
            cls: Any = type(record)
            tx.set(obj, cls.current_operations, {**current, key: operation})
        try:
            yield self._store.get(obj)
        finally:
            await self._release(obj, key)

    async def promote(self, call: Call, obj: Ref[E], operation: enum.StrEnum) -> None:
        """Turn the claim that `call` holds into one for another operation.

        Raises the refusal when somebody else, allowed beside the first one, is not beside this.
        """
        key = str(call.task)
        async with self._store.transaction() as tx:
            record = tx.get(obj)
            cls: Any = type(record)
            others = {k: v for k, v in record.row["current_operations"].items() if k != key}
            without = cls(obj, {**record.row, "current_operations": others})
            refused = self._rules[cls].refusal(tx, without, operation)
            if refused is not None:
                raise refused
            tx.set(obj, cls.current_operations, {**others, key: operation})

    def refusal(self, obj: Ref[E], operation: enum.StrEnum) -> Exception | None:
        """Why `operation` may not start on the object now; None when it may."""
        record = self._store.get(obj)
        return self._rules[type(record)].refusal(self._store, record, operation)

    async def refresh(self, obj: Ref[Any]) -> None:
        """Work out `allowed_operations` of one object again."""
        async with self._store.transaction() as tx:
            self._allow(tx, obj)

    async def refresh_all(self) -> None:
        """Work out those of every object, which no earlier instance has left behind."""
        async with self._store.transaction() as tx:
            for cls in self._rules:
                for obj in self._store.refs(cls):
                    self._allow(tx, obj)

    async def _release(self, obj: Ref[Any], key: str) -> None:
        async with self._store.transaction() as tx:
            cls: Any = self._store.class_of(obj)
            record = tx.find(cls, obj) if cls else None
            if record is None:  # the operation was the object's destruction
                return
            left = {k: v for k, v in record.row["current_operations"].items() if k != key}
            tx.set(obj, cls.current_operations, left)
        for listener in self._on_release:
            listener(obj)

    def _changed(self, tx: Transaction, obj: Ref[Any]) -> None:
        self._allow(tx, obj)
        record = tx.get(obj)
        neighbours = self._rules[type(record)].neighbours
        for neighbour in neighbours(tx, record) if neighbours else ():
            self._allow(tx, neighbour)

    def _allow(self, tx: Transaction, obj: Ref[Any]) -> None:
        record = tx.get(obj)
        cls: Any = type(record)
        rules = self._rules.get(cls)
        if rules is None:
            return
        allowed = rules.allowed_to(tx, record)
        if allowed != record.row["allowed_operations"]:
            tx.set(obj, cls.allowed_operations, allowed)
