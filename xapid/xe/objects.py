"""Objects by what people call them: names and uuids to references and back, and selections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from .catalogue import NULL, ApiClass, classes, folded, word_of
from .failures import Failure, Refused, UsageError
from .output import shown
from .parameters import Parameter, wanted
from .server import Server
from .values import plain

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
FEW: Final = 4
"""References that are looked up one by one; for more, all objects of the class are fetched."""

ALSO_CALLED: Final = {
    "host": ("hostname", "address"),
    "network": ("bridge",),
    "PIF": ("device", "MAC"),
    "SM": ("type",),
    "user": ("short_name",),
}
"""Fields beside `name_label` that people call objects by."""

Record = dict[str, Any]


class Objects:
    """Finds objects, and remembers for one run what it has read."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._records: dict[str, dict[str, Record]] = {}
        self._whole: set[str] = set()

    def records(self, class_name: str) -> dict[str, Record]:
        """All objects of a class, by reference."""
        if class_name not in self._whole:
            self._records[class_name] = self._server(f"{class_name}.get_all_records")
            self._whole.add(class_name)
        return self._records[class_name]

    def record(self, class_name: str, ref: str) -> Record | None:
        """One object; None when there is none, or no longer."""
        known = self._records.setdefault(class_name, {})
        if ref in known or class_name in self._whole:
            return known.get(ref)
        try:
            known[ref] = self._server(f"{class_name}.get_record", ref)
        except Failure as failure:
            if failure.code != "HANDLE_INVALID":
                raise
            return None
        return known[ref]

    def forget(self) -> None:
        """Read everything again when it is next asked for."""
        self._records.clear()
        self._whole.clear()

    def prepare(self, class_name: str, refs: Iterable[str]) -> None:
        """Fetch a whole class if many of its objects are about to be looked up."""
        known = self._records.get(class_name, {})
        missing = {ref for ref in refs if ref not in (NULL, "")} - known.keys()
        if len(missing) > FEW and classes()[class_name].listed:
            self.records(class_name)

    def uuid(self, class_name: str, ref: str) -> str | None:
        """An object's uuid; None for the null reference."""
        if ref in (NULL, ""):
            return None
        record = self.record(class_name, ref)
        return "<invalid reference>" if record is None else str(record.get("uuid", ""))

    def label(self, class_name: str, ref: str) -> str:
        """What a person calls an object: its name, or else its uuid."""
        record = self.record(class_name, ref) or {}
        name = record.get("name_label") or record.get("short_name") or record.get("uuid")
        return shown(str(name or ref))

    def find(self, class_name: str, text: str, *, only: Mapping[str, Any] | None = None) -> str:
        """The one object with this uuid, reference or name; "" and `null` are the null reference.

        only: fields that decide where names repeat, such as `is_a_template`.
        Raises Refused: there is none, or more than one.
        """
        if text in ("", "null", NULL):
            return NULL
        if text.startswith("OpaqueRef:"):
            return text
        if UUID.fullmatch(text):
            try:
                return str(self._server(f"{class_name}.get_by_uuid", text.lower()))
            except Failure as failure:
                if failure.code not in ("UUID_INVALID", "HANDLE_INVALID"):
                    raise
        found = self._by_name(classes()[class_name], text)
        if len(found) > 1 and only:
            narrowed = {
                ref: record
                for ref, record in found.items()
                if all(record.get(name) == value for name, value in only.items())
            }
            found = narrowed or found
        return self._only(class_name, text, found)

    def _by_name(self, cls: ApiClass, text: str) -> dict[str, Record]:
        if "get_by_name_label" in cls.derived:
            refs = self._server(f"{cls.name}.get_by_name_label", text)
            found = {ref: self.record(cls.name, ref) for ref in refs}
            if found:
                return {ref: record for ref, record in found.items() if record is not None}
        if not cls.listed:
            return {}
        others = [name for name in ALSO_CALLED.get(cls.name, ()) if cls.has_field(name)]
        if not others:
            return {}
        return {
            ref: record
            for ref, record in self.records(cls.name).items()
            if any(folded(str(record[name])) == folded(text) for name in others)
        }

    def _only(self, class_name: str, text: str, found: Mapping[str, Record]) -> str:
        word = word_of(class_name)
        if len(found) == 1:
            return next(iter(found))
        if not found:
            listed = classes()[class_name].listed
            hint = f"`xe {word}-list` shows what there is" if listed else "give its uuid"
            raise Refused(f"there is no {word} with the name or uuid {shown(text)!r}: {hint}")
        choices = "\n".join(f"  {_choice(record)}" for record in found.values())
        raise Refused(
            f"{len(found)} objects are called {shown(text)!r}; say which by its uuid:\n{choices}"
        )

    def the_only(self, class_name: str) -> str:
        """The object of a class that has just one. Raises Refused."""
        found = self.records(class_name)
        if len(found) == 1:
            return next(iter(found))
        word = word_of(class_name)
        if not found:
            raise Refused(f"there is no {word} yet")
        choices = "\n".join(f"  {_choice(record)}" for record in found.values())
        raise Refused(f"there are {len(found)} of the kind {word}: say which one\n{choices}")

    def matching(self, class_name: str, filters: Mapping[str, str]) -> dict[str, Record]:
        """The objects whose parameters have the values asked for. Raises UsageError."""
        found = self.records(class_name)
        for name, value in filters.items():
            found = {
                ref: record
                for ref, record in found.items()
                if self.matches(class_name, ref, record, name, value)
            }
        return found

    def matches(self, class_name: str, ref: str, record: Record, name: str, value: str) -> bool:
        """Whether a parameter, or a key of one (`other-config:key`), has a value."""
        base, colon, key = name.partition(":")
        if folded(base) == folded(word_of(class_name)):
            names = (record.get(n) for n in ("name_label", *ALSO_CALLED.get(class_name, ())))
            return value == ref or value in names or value.lower() == record.get("uuid")
        parameter = wanted(class_name, base)
        held = self.value(class_name, parameter, ref, record)
        if colon:
            if isinstance(held, dict):
                return held.get(key) == value
            if isinstance(held, list) and key == "contains":
                return value in held
            raise UsageError(f"{parameter.name} is neither a map nor a set: leave :{key} out")
        if parameter.type.kind == "ref" and not folded(base).endswith("-uuid") and held:
            target = self.record(parameter.type.target, record[parameter.field]) or {}
            return value in (held, target.get("name_label"))
        return _same(parameter, held, value)

    def value(self, class_name: str, parameter: Parameter, ref: str, record: Record) -> Any:
        """What an object shows for a parameter, as JSON has it: references are uuids."""
        if parameter.source == "call":
            answer = self._server(f"{class_name}.{parameter.inner}", ref)
            return self.translated(parameter.type, answer)
        raw = record.get(parameter.field, "")
        if parameter.source == "field":
            return self.translated(parameter.type, raw)
        if raw in (NULL, ""):
            return None
        target = classes()[class_name].field(parameter.field).type.target
        inner = self.record(target, raw) or {}
        if parameter.source == "name":
            return inner.get("name_label", "<invalid reference>")
        held = inner.get(parameter.inner)
        return None if held is None else self.translated(parameter.type, held)

    def translated(self, type_: Any, value: Any) -> Any:
        """A value of the wire as JSON has it, with uuids for references."""
        if type_.kind == "ref":
            return self.uuid(type_.target, value)
        if type_.kind == "set" and type_.item and type_.item.kind == "ref":
            self.prepare(type_.item.target, value)
            return [self.uuid(type_.item.target, ref) for ref in value]
        if type_.kind == "record":
            cls = classes()[type_.target]
            return {
                name.replace("_", "-"): self.translated(cls.field(name).type, part)
                for name, part in value.items()
                if cls.has_field(name)
            }
        return plain(type_, value)

    def prepare_for(
        self, class_name: str, chosen: Iterable[Parameter], records: Iterable[Record]
    ) -> None:
        """Fetch at once what the parameters of many objects will refer to."""
        rows = list(records)
        for parameter in chosen:
            if parameter.source == "call":
                continue
            type_ = classes()[class_name].field(parameter.field).type
            if type_.kind == "ref":
                self.prepare(type_.target, (row.get(parameter.field, "") for row in rows))
            elif type_.kind == "set" and type_.item and type_.item.kind == "ref":
                refs = (ref for row in rows for ref in row.get(parameter.field, ()))
                self.prepare(type_.item.target, refs)


def _choice(record: Record) -> str:
    notes = [shown(str(record["name_label"]))] if record.get("name_label") else []
    notes += ["a template"] if record.get("is_a_template") else []
    notes += [str(record["power_state"]).lower()] if record.get("power_state") else []
    return f"{record.get('uuid', '')}  {', '.join(notes)}".rstrip()


def _same(parameter: Parameter, held: Any, value: str) -> bool:
    if isinstance(held, bool):
        return value.lower() == str(held).lower()
    if held is None:
        return value in ("", "null", NULL, "<not in database>")
    if isinstance(held, list):
        return set(re.split(r"[,;]\s*", value)) == {str(part) for part in held} or (
            not held and not value
        )
    if isinstance(held, dict):
        return not held and not value
    if parameter.type.kind == "enum" or parameter.name == "MAC":
        return folded(str(held)) == folded(value)
    return str(held) == value
