"""All records in memory, with the indexes over them; changed only through `replace`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from ..datamodel.declare import NULL, Class, Field, Ref
from .layout import Layout
from .members import Members, Row

Link = tuple[Ref[Any], Field[Any]]
Index = dict[Any, dict[Ref[Any], None]]

_REMEMBERED = 4096


class Memory:
    def __init__(self, layouts: dict[type[Class], Layout]) -> None:
        self.layouts = layouts
        self.objects: dict[str, Class] = {}
        self.by_class: dict[type[Class], dict[Ref[Any], Class]] = {cls: {} for cls in layouts}
        self.uuids: dict[str, Ref[Any]] = {}
        self.volatile: set[str] = set()  # objects made volatile one by one
        self._indexes: dict[type[Class], dict[str, Index]] = {
            cls: {"name_label": {}} if layout.has_name_label else {}
            for cls, layout in layouts.items()
        }
        self._links: dict[str, dict[Link, None]] = {}
        self._gone: dict[str, str] = {}  # class names of objects destroyed lately

    def replace(self, old: Class | None, new: Class | None) -> None:
        """Put `new` in the place of `old`; None stands for no object."""
        record = new or old
        assert record is not None  # noqa: S101 - a change has at least one side
        layout, ref = self.layouts[type(record)], record.ref
        if new is None:
            self._forget(layout, record)
        else:
            self.objects[ref] = new
            self.by_class[layout.cls][ref] = new
            if old is None and layout.has_uuid:
                self.uuids[new.row["uuid"]] = ref
        for name, index in self._indexes[layout.cls].items():
            _reindex(index, name, ref, old, new)
        for name, refs_in in layout.links.items():
            before = None if old is None else old.row[name]
            after = None if new is None else new.row[name]
            if before is not after:
                was = () if before is None else refs_in(before)
                now = () if after is None else refs_in(after)
                self._relink((ref, layout.cls.fields[name]), was, now)

    def _forget(self, layout: Layout, record: Class) -> None:
        del self.objects[record.ref]
        del self.by_class[layout.cls][record.ref]
        if layout.has_uuid:
            del self.uuids[record.row["uuid"]]
        self._gone[record.ref] = layout.wire
        if len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _relink(self, link: Link, was: Iterable[str], now: Iterable[str]) -> None:
        for target in was:
            links = self._links.get(target, {})
            links.pop(link, None)
            if not links:
                self._links.pop(target, None)
        for target in now:
            self._links.setdefault(target, {})[link] = None

    def load(self, records: Iterable[Class]) -> None:
        """Take in stored records and build the indexes and derived sets from them."""
        members: dict[tuple[str, str], list[Ref[Any]]] = {}
        for record in records:
            self.replace(None, record)
            for name, inverse in self.layouts[type(record)].inverse.items():
                target = record.row[name]
                if target != NULL:
                    members.setdefault((target, inverse), []).append(record.ref)
        for (target, inverse), refs in members.items():
            cast(Row, self.objects[target].row).members[inverse] = Members(refs)

    def links_to(self, ref: str) -> list[Link]:
        return list(self._links.get(ref, ()))

    def index(self, cls: type[Class], name: str) -> Index:
        """The objects by the values of a field; from the first question on it is kept."""
        indexes = self._indexes[cls]
        found = indexes.get(name)
        if found is None:
            found = indexes[name] = {}
            for record in self.by_class[cls].values():
                _reindex(found, name, record.ref, None, record)
        return found

    def class_name(self, ref: str) -> str:
        """The wire name of the class that `ref` is or lately was of; "" if unknown."""
        record = self.objects.get(ref)
        return record.wire if record is not None else self._gone.get(ref, "")


def _reindex(index: Index, name: str, ref: Ref[Any], old: Class | None, new: Class | None) -> None:
    before = None if old is None else old.row[name]
    after = None if new is None else new.row[name]
    if before == after:
        return
    if before is not None:
        del index[before][ref]
        if not index[before]:
            del index[before]
    if after is not None:
        index.setdefault(after, {})[ref] = None
