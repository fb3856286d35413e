"""Writes what `xe` knows of the API: `python -m xapid.xe.generate > xapid/xe/datamodel.json`.

Importing the declarations takes longer than a whole run of `xe` may.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ..datamodel.coverage import OTHER_HOSTS
from ..datamodel.declare import Class, Field, wire_name
from ..datamodel.enums import ENUMERATIONS
from ..datamodel.methods import Kind, Method
from ..datamodel.registry import CLASSES, METHODS

QUESTIONS: Final = re.compile(r"(get_|assert_|list_|dmesg)|precheck$")
"""Messages that only look: called plainly, while all others run as tasks."""

SECRETS: Final = re.compile(r"(^|_)(pwd|password)$")
BYTES: Final = re.compile(r"\bbytes\b", re.IGNORECASE)
NO_BYTES: Final = frozenset({"MTU"})


def described() -> dict[str, Any]:
    """Everything that `xe` needs of the datamodel, as plain values."""
    return {
        "classes": {name: _class(cls) for name, cls in CLASSES.items()},
        "enums": {
            wire_name(values): {str(v): v.doc for v in values} for values in ENUMERATIONS
        },
    }  # fmt: skip


def _class(cls: type[Class]) -> dict[str, Any]:
    own = [method for method in METHODS.values() if method.owner is cls]
    return {
        "doc": cls.__doc__ or "",
        "derived": sorted(cls.derived),
        "fields": {name: _field(field) for name, field in cls.fields.items()},
        "messages": {
            method.name.partition(".")[2]: _message(method)
            for method in own
            if method.kind is Kind.MESSAGE and method.session
        },
    }


def _field(field: Field[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": field.type.name, "doc": field.doc}
    if field.qualifier != "RO/runtime":
        found["given"] = "required" if field.required else "optional"
    if field.accessors:
        found["accessors"] = list(field.accessors)
    if _holds_bytes(field.type.name, field.name, field.doc):
        found["bytes"] = True
    return found


def _message(method: Method) -> dict[str, Any]:
    assert method.message is not None  # noqa: S101 (only messages are asked for)
    found: dict[str, Any] = {"doc": method.doc, "result": method.result.name}
    found["params"] = [
        {
            "name": param.name,
            "type": param.type.name,
            "doc": param.doc,
            **({} if param.required else {"default": _default(param.default)}),
            **({"secret": True} if SECRETS.search(param.name) else {}),
        }
        for param in method.params
    ]
    if not method.message.static:
        found["this"] = found["params"].pop(0)["name"]
    if method.asynchronous and not QUESTIONS.match(method.name.partition(".")[2]):
        found["task"] = True
    if method.name in OTHER_HOSTS:
        found["answers"] = OTHER_HOSTS[method.name].code
    return found


def _default(value: Any) -> Any:
    """What an optional parameter is when it is left out, in JSON."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _holds_bytes(type_name: str, name: str, doc: str) -> bool:
    return type_name == "int" and name not in NO_BYTES and BYTES.search(doc) is not None


def text() -> str:
    """The file: one line for each field and message, so that a change is one line too."""
    whole = described()
    lines = ['{"classes": {']
    for number, (name, cls) in enumerate(whole["classes"].items()):
        lines.append(f'{"," if number else ""}{_json(name)}: {{"doc": {_json(cls["doc"])},')
        lines.append(f' "derived": {_json(cls["derived"])},')
        lines += [*_block("fields", cls["fields"]), ","]
        lines += [*_block("messages", cls["messages"]), "}"]
    lines += ["},", *_block("enums", whole["enums"]), "}"]
    return "\n".join(lines) + "\n"


def _block(name: str, members: dict[str, Any]) -> list[str]:
    inner = ",\n".join(f"  {_json(key)}: {_json(value)}" for key, value in members.items())
    return [f' "{name}": {{', *([inner] if inner else []), " }"]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    sys.stdout.write(text())
