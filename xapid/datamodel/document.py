"""Writes the API reference, docs/api.md: `python -m xapid.datamodel.document > docs/api.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from . import raises
from .coverage import NOT_YET, OTHER_HOSTS
from .declare import Class, Field, wire_name
from .enums import ENUMERATIONS, EXTENSIONS, Enumeration
from .errors import BY_CODE, ApiError
from .methods import Kind, Method
from .registry import CLASSES, METHODS

HEAD = """\
# API reference

xapid speaks the XenAPI, revision 1.1. This page is made from the declarations in
`xapid/datamodel/` by `python -m xapid.datamodel.document > docs/api.md`.

What is marked *extension* is not in the specification; its reason stands beside it.

## How to read it

Every method takes the reference of a session as its first parameter, `session_id`, unless its
signature has none. A field is one of these:

| Qualifier | Meaning |
| --- | --- |
| RO/runtime | Read only; the server changes it as the world changes. |
| RO/constructor | Given when the object is made, and read only after. |
| RW | Read and written by clients. |

Each field `f` of a class has the method `get_f(self)`, except in the class event. What else it
has is listed with it: *set* stands for `set_f(self, value)`, *add* and *remove* stand for
`add_to_f` and `remove_from_f`; for a map they take `(self, key, value)` and `(self, key)`, for a
set `(self, value)` each. Adding a key that is there gives it the new value. A field that is
*bound* to another one is kept equal to it by the server (section 2.2 of the specification).

The methods derived for a whole class have these signatures:

| Method | Meaning |
| --- | --- |
| `get_all()` | References to all objects of the class. |
| `get_all_records()` | The records of all objects of the class, by reference. |
| `get_record(self)` | All fields of one object. |
| `get_by_uuid(uuid)` | The object that has the UUID. |
| `get_by_name_label(label)` | All objects that have the name. |
| `create(args)` | Makes an object from a record of its RW and RO/constructor fields. |
| `destroy(self)` | Destroys an object that no other one needs. |

Except in the classes session, task and event, every method that is not an accessor of a field can
also be called with `Async.` in front: it then answers at once with the reference of a task.

"""

ERRORS = """\
### Errors that every method may answer with

Those about the call and its parameters are not listed with the methods: {generic}.

Of the derived methods, every `set_f`, `add_to_f` and `remove_from_f` may answer with {set},
every `create` with {create}, every `destroy` with {destroy}, and `get_by_uuid` with UUID_INVALID;
what more single ones answer with stands with their class.
"""

COVERAGE = """\
## What is implemented

Counted are all methods: messages, accessors and what else is derived.
"""

LEFT_OUT = """\
Left out, because they mean something only where a pool has other hosts; so do the parameter `host`
of `VM.start_on` and `VM.resume_on`, which must be this host:
"""


def _extension(reason: str | None) -> str:
    return f" *Extension: {reason}*" if reason else ""


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heads = tuple(heads)
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""


def _field_row(field: Field[object]) -> tuple[str, ...]:
    notes = [field.doc]
    if field.inverse is not None:
        target = field.type.name.removesuffix(" set").removesuffix(" ref")
        notes.append(f"Bound to {target}.{field.inverse}.")
    if field.required:
        notes.append("The constructor needs it.")
    return (
        f"`{field.name}`",
        f"`{field.type.name}`",
        field.qualifier,
        ", ".join(field.accessors),
        " ".join(notes) + _extension(field.extension),
    )


def _signature(method: Method) -> str:
    params = [f"{p.type.name} {p.name}" for p in method.params if p.required]
    optional = [f"[{p.type.name} {p.name}]" for p in method.params if not p.required]
    session = ["session ref session_id"] if method.session else []
    return f"{method.result.name} {method.name}({', '.join(session + params + optional)})"


def _message(method: Method) -> Iterator[str]:
    message = method.message
    assert message is not None, method.name  # noqa: S101 (only messages are asked for)
    yield from (f"#### {method.name}", "", f"`{_signature(method)}`", "")
    yield from (method.doc + _extension(message.extension), "")
    for param in method.params:
        default = "" if param.required else " May be left out."
        yield f"- `{param.name}`: {param.doc}{default}"
    if method.params:
        yield ""
    facts = []
    if message.allowed_in:
        facts.append(f"Allowed in the states {', '.join(message.allowed_in)}.")
    if message.operation is not None:
        facts.append(f"Shown in `current_operations` as `{message.operation}`.")
    if message.min_role is not None and method.session:
        facts.append(f"Needs the role {message.min_role}.")
    if codes := _codes(method.raises):
        facts.append(f"Errors: {codes}.")
    if method.name in NOT_YET:
        facts.append("Not implemented yet: answers NOT_IMPLEMENTED.")
    if facts:
        yield from (" ".join(facts), "")


def _codes(errors: Iterable[type[Exception]]) -> str:
    return ", ".join(sorted({e.code for e in errors if issubclass(e, ApiError)}))


def _errors() -> str:
    return ERRORS.format(
        generic=_codes(raises.GENERIC),
        set=_codes(raises.SET),
        create=_codes(raises.CREATE),
        destroy=_codes(raises.DESTROY),
    )


def _coverage() -> Iterator[str]:
    """How many methods of each class are carried out, and which are not."""
    rows, total = [], [0, 0, 0, 0]
    for cls in CLASSES.values():
        own = {method.name for method in METHODS.values() if method.owner is cls}
        out, late = len(own & OTHER_HOSTS.keys()), len(own & NOT_YET)
        counts = [len(own), len(own) - out - late, out, late]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        rows.append((cls.wire, *map(str, counts)))
    rows.append(("all", *map(str, total)))
    yield COVERAGE
    yield from _table(("Class", "Methods", "Implemented", "Left out", "Not yet"), rows)
    yield LEFT_OUT
    yield from _table(
        ("Message", "Answers"), ((f"`{n}`", e.code) for n, e in sorted(OTHER_HOSTS.items()))
    )
    if NOT_YET:
        yield from ("Not yet: " + ", ".join(f"`{name}`" for name in sorted(NOT_YET)) + ".", "")


def _derived_errors(cls: type[Class]) -> Iterator[str]:
    rows = []
    for name, errors in raises.OF_DERIVED.items():
        if METHODS[name].owner is cls:
            rows.append((f"`{name}`", _codes(set(errors))))
    if rows:
        yield from _table(("Derived method", "Further errors"), rows)


def _class(cls: type[Class]) -> Iterator[str]:
    yield from (f"## Class {cls.wire}", "", (cls.__doc__ or "") + _extension(cls.extension), "")
    rows = (_field_row(field) for field in cls.fields.values())
    yield from _table(("Field", "Type", "Qualifier", "Also", "Meaning"), rows)
    derived = [kind.value for kind in Kind if kind.value in cls.derived]
    if derived:
        yield from ("Derived methods: " + ", ".join(f"`{cls.wire}.{m}`" for m in derived) + ".", "")
    yield from _derived_errors(cls)
    messages = [m for m in METHODS.values() if m.owner is cls and m.kind is Kind.MESSAGE]
    if messages:
        yield from (f"### Messages of {cls.wire}", "")
    for method in messages:
        yield from _message(method)


def _enumeration(values: type[Enumeration]) -> Iterator[str]:
    doc = values.__doc__ or ""
    yield from (f"### {wire_name(values)}", "", doc + _extension(EXTENSIONS.get(values)), "")
    rows = ((f"`{value}`", value.doc + _extension(value.extension)) for value in values)
    yield from _table(("Value", "Meaning"), rows)


def _error_row(error: type[ApiError]) -> tuple[str, ...]:
    doc = " ".join((error.__doc__ or "").split())
    return (error.code, ", ".join(error.parameters()), doc)


def reference() -> str:
    """The whole page."""
    lines = [HEAD, _errors(), *_coverage()]
    lines += ["## Classes", ""]
    named = ((f"[{c.wire}](#class-{c.wire.lower()})", c.__doc__ or "") for c in CLASSES.values())
    lines += _table(("Class", "What it is"), named)
    for cls in CLASSES.values():
        lines += _class(cls)
    lines += ["## Enumerations", ""]
    for values in ENUMERATIONS:
        lines += _enumeration(values)
    lines += ["## Errors", ""]
    rows = (_error_row(error) for _, error in sorted(BY_CODE.items()))
    lines += _table(("Code", "Parameters", "What is wrong, and what to do"), rows)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
