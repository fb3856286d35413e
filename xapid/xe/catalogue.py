"""What `xe` knows of the API: its classes, fields, messages and types, from datamodel.json."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

NULL: Final = "OpaqueRef:NULL"
DESCRIPTION: Final = Path(__file__).with_name("datamodel.json")


class Type(NamedTuple):
    """A type of the API.

    kind: string, int, float, bool, datetime, void, enum, ref, set, map or record.
    target: the class of a ref or record, or the name of an enum.
    item: of a set or map. key: of a map.
    """

    kind: str
    target: str = ""
    item: Type | None = None
    key: Type | None = None


STRING: Final = Type("string")
INT: Final = Type("int")
FLOAT: Final = Type("float")
BOOL: Final = Type("bool")
STRINGS: Final = Type("set", item=STRING)
STRING_MAP: Final = Type("map", key=STRING, item=STRING)


def ref_to(target: str) -> Type:
    """The type of a reference to an object of a class."""
    return Type("ref", target)


@cache
def parse_type(name: str) -> Type:
    """A type by the name it has in the API reference, such as `(string -> int) map`."""
    if name.endswith(" set"):
        return Type("set", item=parse_type(name[: -len(" set")]))
    if name.endswith(" map"):
        key, _, value = name[1 : -len(") map")].partition(" -> ")
        return Type("map", key=parse_type(key), item=parse_type(value))
    if name.startswith("enum "):
        return Type("enum", name[len("enum ") :])
    target, _, kind = name.rpartition(" ")
    return Type(kind, target)


class Field(NamedTuple):
    """A field of a class. given: "required" or "optional" where a constructor takes it."""

    name: str
    type: Type
    doc: str
    given: str
    accessors: tuple[str, ...]
    bytes: bool


class Param(NamedTuple):
    """A parameter of a message, the object itself left out. default: of an optional one."""

    name: str
    type: Type
    doc: str
    optional: bool
    default: Any
    secret: bool


class Message(NamedTuple):
    """A message of a class.

    this: the name of the parameter for the object; empty where there is none.
    task: whether it is run as a task. answers: the error that is all it ever answers.
    """

    name: str
    doc: str
    params: tuple[Param, ...]
    result: Type
    this: str
    task: bool
    answers: str


class ApiClass:
    """A class of the API; fields and messages are read only when they are asked for."""

    def __init__(self, name: str, described: dict[str, Any]) -> None:
        self.name = name
        self.doc: str = described["doc"]
        self.derived: frozenset[str] = frozenset(described["derived"])
        self._fields: dict[str, dict[str, Any]] = described["fields"]
        self._messages: dict[str, dict[str, Any]] = described["messages"]

    @property
    def has_name(self) -> bool:
        return "name_label" in self._fields

    @property
    def listed(self) -> bool:
        return "get_all_records" in self.derived

    def has_field(self, name: str) -> bool:
        return name in self._fields

    def field(self, name: str) -> Field:
        """One field. Raises KeyError."""
        found = self._fields[name]
        return Field(
            name,
            parse_type(found["type"]),
            found["doc"],
            found.get("given", ""),
            tuple(found.get("accessors", ())),
            found.get("bytes", False),
        )

    @property
    def fields(self) -> list[Field]:
        return [self.field(name) for name in self._fields]

    @property
    def message_names(self) -> list[str]:
        return list(self._messages)

    def message(self, name: str) -> Message:
        """One message. Raises KeyError."""
        found = self._messages[name]
        return Message(
            name,
            found["doc"],
            tuple(
                Param(
                    param["name"],
                    parse_type(param["type"]),
                    param["doc"],
                    "default" in param,
                    param.get("default"),
                    param.get("secret", False),
                )
                for param in found["params"]
            ),
            parse_type(found["result"]),
            found.get("this", ""),
            found.get("task", False),
            found.get("answers", ""),
        )


@cache
def _described() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    return read


@cache
def classes() -> dict[str, ApiClass]:
    """Every class, by its name on the wire."""
    return {name: ApiClass(name, found) for name, found in _described()["classes"].items()}


def enum_values(name: str) -> dict[str, str]:
    """The values of an enumeration, each with what it means."""
    values: dict[str, str] = _described()["enums"][name]
    return values


_WORDS: Final = {"pool_patch": "patch"}


def word_of(class_name: str) -> str:
    """What a class is called in commands: `vm`, `host-cpu`, `patch`."""
    return _WORDS.get(class_name, class_name.lower().replace("_", "-"))


def folded(name: str) -> str:
    """A name as it is compared: `VCPUs_max`, `vcpus-max` and `VCPUs-max` are one."""
    return name.lower().replace("_", "-")
