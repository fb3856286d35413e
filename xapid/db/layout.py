"""What the store works out once for each class: checks, stored fields, bound pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson
import structlog

from ..datamodel.declare import Class, Field, MapType, RecordType, Ref, RefType, SetType, String
from .failures import DatabaseDamaged
from .members import Members, Row
from .values import Check, Decode, RefsIn, check_of, decoder_of, json_type, refs_in, target_of

log = structlog.get_logger(__name__)


@dataclass
class Layout:
    """One class as the store sees it.

    derived: sets that are kept from the references at their other end, never written.
    inverse: for a reference field, the derived set at its other end.
    """

    cls: type[Class]
    derived: frozenset[str] = frozenset()
    inverse: dict[str, str] = field(default_factory=dict)

    def complete(self) -> None:
        """Fill in the rest, once the bound pairs are known."""
        fields = {n: f for n, f in self.cls.fields.items() if n not in self.derived}
        stored = [f for f in fields.values() if not f.volatile]
        self.wire = self.cls.wire
        self.has_uuid = "uuid" in fields
        self.has_name_label = "name_label" in fields
        self.checks: dict[str, Check] = {n: check_of(f) for n, f in fields.items()}
        self.defaults = {n: self.checks[n](f.default) for n, f in fields.items()}
        self.links: dict[str, RefsIn] = {
            n: find for n, f in fields.items() if (find := refs_in(f.type)) is not None
        }
        self.targets = {n: target_of(fields[n].type) for n in self.links}
        self.stored = tuple(f.name for f in stored)
        self.stored_names = frozenset(self.stored)
        self.unstored = {n: v for n, v in self.defaults.items() if fields[n].volatile}
        self._blank = dict.fromkeys(self.stored) | self.unstored
        self._signature = tuple(json_type(f.type) for f in stored)
        self._decoders: list[tuple[str, Decode]] = [
            (f.name, decode) for f in stored if (decode := decoder_of(f.type)) is not None
        ]
        # One key too many, so that the getter gives a tuple whatever the number of fields.
        self._pick = itemgetter(*self.stored, *self.stored[:1]) if stored else None
        odd_keys = any(isinstance(f.type, MapType) and f.type.key is not String for f in stored)
        self._options = orjson.OPT_NON_STR_KEYS if odd_keys else 0

    def field_name(self, field_: Field[Any] | str) -> str:
        """The name of a field that may be written; TypeError for any other."""
        if isinstance(field_, str):
            name = field_
        elif field_.owner is self.cls:
            name = field_.name
        else:
            raise TypeError(f"{field_!r} is not a field of {self.wire}")
        if name not in self.checks:
            why = "is kept by the store" if name in self.derived else "does not exist"
            raise TypeError(f"field {self.wire}.{name} {why}")
        return name

    def new_row(self, values: Mapping[str, Any]) -> Row:
        """A row of checked values, the rest at their defaults."""
        row = Row(self.defaults)
        row.update(values)
        row.members = {name: Members() for name in self.derived}
        return row

    def encode(self, row: Row) -> bytes:
        """The stored form of a row."""
        picked = self._pick(row) if self._pick else ()
        return orjson.dumps(dict(zip(self.stored, picked, strict=False)), option=self._options)

    def decode(
        self, ref: str, body: bytes, known: Mapping[str, Ref[Any]], *, quiet: bool = False
    ) -> Row:
        """The row of a stored body, with its derived sets still empty.

        Fields that the class has not are left out, missing ones and those that no longer fit
        their type start from their defaults, which the log says unless `quiet`; a body that is not
        JSON raises DatabaseDamaged.
        """
        try:
            values = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise DatabaseDamaged(
                f"the stored {self.wire} {ref} is damaged ({error}): restore the database"
            ) from None
        if not isinstance(values, dict):
            raise DatabaseDamaged(f"the stored {self.wire} {ref} is not a record")
        as_written = (
            tuple(values) == self.stored and tuple(map(type, values.values())) == self._signature
        )
        if not as_written:
            values = self._adapted(ref, values, quiet)
        row = Row(self._blank)  # whose table is smaller than that of a dict from orjson
        row.update(values)
        for name, decode in self._decoders:
            try:
                row[name] = decode(row[name], known)
            except (KeyError, ValueError, TypeError, AttributeError):
                self._reset(ref, name, quiet)
                row[name] = self.defaults[name]
        row.members = {name: Members() for name in self.derived} if self.derived else {}
        return row

    def _adapted(self, ref: str, values: dict[str, Any], quiet: bool) -> dict[str, Any]:
        """`values` as this version of the class would have stored them."""
        adapted = {}
        for name, type_ in zip(self.stored, self._signature, strict=True):
            if type(values.get(name)) is type_:
                adapted[name] = values[name]
                continue
            if name in values:
                self._reset(ref, name, quiet)
            default = orjson.dumps(self.defaults[name], option=orjson.OPT_NON_STR_KEYS)
            adapted[name] = orjson.loads(default)
        return adapted

    def _reset(self, ref: str, name: str, quiet: bool) -> None:
        if not quiet:
            log.warning("stored value does not fit its field", cls=self.wire, ref=ref, field=name)


def layouts_of(classes: Mapping[str, type[Class]]) -> dict[type[Class], Layout]:
    """The layouts of all classes; TypeError for a bound pair that cannot be kept.

    A class with a record for a field, as events have, describes answers only: nothing keeps it.
    """
    layouts = {
        cls: Layout(cls)
        for cls in classes.values()
        if not any(isinstance(f.type, RecordType) for f in cls.fields.values())
    }
    for cls, layout in layouts.items():
        for f in cls.fields.values():
            if f.inverse is not None:
                _bind(layouts, classes, layout, f)
    for layout in layouts.values():
        layout.complete()
        for name, targets in layout.targets.items():
            if unknown := targets - set(classes):
                raise TypeError(f"{layout.wire}.{name} refers to unknown {sorted(unknown)}")
    return layouts


def _bind(
    layouts: dict[type[Class], Layout],
    classes: Mapping[str, type[Class]],
    layout: Layout,
    f: Field[Any],
) -> None:
    (target,) = target_of(f.type) or {""}
    other = classes[target].fields.get(str(f.inverse)) if target in classes else None
    if other is None:
        raise TypeError(f"{f!r}: there is no field {target}.{f.inverse} to be bound to")
    match f.type, other.type:
        case SetType(), RefType():
            layout.derived |= {f.name}
            layouts[other.owner].inverse[other.name] = f.name
        case RefType(), SetType():
            layout.inverse[f.name] = other.name
            layouts[other.owner].derived |= {other.name}
        case _:
            raise TypeError(f"{f!r} and {other!r} cannot be bound")
