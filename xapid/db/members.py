"""Rows whose derived sets are shared between versions and built when they are first read."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Any

from ..datamodel.declare import Ref

_COMPACT_ABOVE = 32


class Members:
    """One version of an ordered set of references.

    Versions share a log of additions and removals (a removal is a one-tuple), so that one more
    member costs the same in a set of ten as in one of ten thousand.
    """

    __slots__ = ("_length", "_live", "_log")

    def __init__(self, refs: Iterable[Ref[Any]] = ()) -> None:
        self._log: list[Any] = list(refs)
        self._length = len(self._log)
        self._live = self._length

    def added(self, ref: Ref[Any]) -> Members:
        return self._next(ref, self._live + 1)

    def removed(self, ref: Ref[Any]) -> Members:
        return self._next((ref,), self._live - 1)

    def _next(self, entry: Any, live: int) -> Members:
        wasteful = self._length > 2 * live + _COMPACT_ABOVE
        if wasteful or len(self._log) != self._length:  # the log went on from here another way
            return Members(self.refs())._next(entry, live)
        version = Members.__new__(Members)
        self._log.append(entry)
        version._log, version._length, version._live = self._log, self._length + 1, live
        return version

    def refs(self) -> tuple[Ref[Any], ...]:
        """The members of this version, in the order they were added."""
        log = self._log if len(self._log) == self._length else self._log[: self._length]
        if self._live == self._length:
            return tuple(log)
        kept: dict[Ref[Any], None] = {}
        for entry in log:
            if type(entry) is tuple:
                del kept[entry[0]]
            else:
                kept[entry] = None
        return tuple(kept)


class Row(dict[str, Any]):
    """The values of one record by field name; derived sets appear as tuples like any other set."""

    __slots__ = ("members",)

    members: dict[str, Members]

    def __missing__(self, name: str) -> tuple[Ref[Any], ...]:
        refs = self[name] = self.members[name].refs()
        return refs

    def successor(self) -> Row:
        """A copy to be changed; derived sets that were not read yet stay unread."""
        row = Row(dict.items(self))
        row.members = self.members.copy() if self.members else self.members
        return row

    def relink(self, name: str, members: Members) -> None:
        self.members[name] = members
        self.pop(name, None)

    def _complete(self) -> None:
        for name in self.members:
            self[name]

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.members

    def get(self, name: str, default: Any = None) -> Any:
        if name in self.members:
            return self[name]
        return dict.get(self, name, default)

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return dict.__iter__(self)

    def __len__(self) -> int:
        self._complete()
        return dict.__len__(self)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        self._complete()
        return dict.keys(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        self._complete()
        return dict.values(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        self._complete()
        return dict.items(self)

    def __eq__(self, other: object) -> bool:
        return dict(self.items()) == other

    def __or__(self, other: Any) -> Any:
        return dict(self.items()) | other
