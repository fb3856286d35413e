"""The JSON bridge: libxl's structs from JSON, with a proof that libxl took every key."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from .registry import JSON, Run

Path = tuple[str | int, ...]
_known_defaults: set[tuple[tuple[str, ...], Any]] = set()


@contextlib.contextmanager
def from_json(run: Run, kind: str, wanted: JSON) -> Iterator[Any]:
    """Yield a `libxl_{kind} *` holding `wanted`; disposed of at the end.

    Raises LibxlError ERROR_INVAL that names each key or value libxl did not take: libxl itself
    drops unknown keys without a word, and a misspelt one would silently become a default.
    """
    if twice := list(_unions_set_twice(wanted, ())):
        raise run.refusal(f"more than one branch of: {', '.join(twice)}")
    with parsed(run, kind, wanted) as struct:
        changed, absent = _compare(wanted, to_json(run, kind, struct))
        refused = [p for p, value in absent if not _is_default(run, kind, wanted, p, value)]
        if changed or refused:
            names = ", ".join(sorted(_spell(path) for path in changed + refused))
            raise run.refusal(f"libxl does not take: {names}")
        yield struct


@contextlib.contextmanager
def parsed(run: Run, kind: str, wanted: JSON) -> Iterator[Any]:
    """Yield a `libxl_{kind} *` of what libxl takes of `wanted`; disposed of at the end."""
    with empty(run, kind) as struct:
        text = orjson.dumps(wanted)
        run.call(f"libxl_{kind}_from_json", struct, text)
        yield struct


@contextlib.contextmanager
def empty(run: Run, kind: str) -> Iterator[Any]:
    """Yield a `libxl_{kind} *` with all defaults; disposed of at the end."""
    struct = run.ffi.new(f"libxl_{kind} *")
    getattr(run.lib, f"libxl_{kind}_init")(struct)
    try:
        yield struct
    finally:
        getattr(run.lib, f"libxl_{kind}_dispose")(struct)


def to_json(run: Run, kind: str, struct: Any) -> JSON:
    """Read a struct back. Members that hold their default are absent."""
    function = f"libxl_{kind}_to_json"
    pointer = getattr(run.lib, function)(run.ctx, struct)
    if pointer == run.native.null:
        raise run.native.refusal(function, "no JSON came back")
    value: JSON = orjson.loads(run.native.taken_text(pointer))
    return value


def _unions_set_twice(value: Any, path: Path) -> Iterator[str]:
    """Find unions given two branches ("type.pv" and "type.hvm"): libxl would end the process."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unions_set_twice(item, (*path, index))
    elif isinstance(value, dict):
        unions = Counter(key.partition(".")[0] for key in value if "." in key)
        yield from (_spell((*path, name)) for name, count in unions.items() if count > 1)
        for key, item in value.items():
            yield from _unions_set_twice(item, (*path, key))


def _compare(wanted: JSON, kept: JSON) -> tuple[list[Path], list[tuple[Path, Any]]]:
    """Return the paths whose value `kept` has changed, and those it lacks with the value wanted."""
    changed: list[Path] = []
    absent: list[tuple[Path, Any]] = []

    def walk(one: Any, other: Any, path: Path) -> None:
        if isinstance(one, dict) and isinstance(other, dict):
            for key, value in one.items():
                if key in other:
                    walk(value, other[key], (*path, key))
                else:
                    absent.append(((*path, key), value))
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for index, (value, others) in enumerate(zip(one, other, strict=True)):
                walk(value, others, (*path, index))
        elif not _same(one, other):
            changed.append(path)

    walk(wanted, kept, ())
    return changed, absent


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        # uuids and addresses come back in one case.
        return one.casefold() == other.casefold()
    return type(one) is type(other) and bool(one == other)


def _is_default(run: Run, kind: str, wanted: JSON, path: Path, value: Any) -> bool:
    """Tell whether the absence of `path` only means that it holds its default.

    libxl leaves members with default values out of its JSON. So ask again with another value: a key
    that libxl knows then appears, or is refused as an enumeration's; an unknown one stays lost.
    """
    name = (kind, *(part for part in path if isinstance(part, str)))
    if isinstance(value, list) and not value:
        return True
    if isinstance(value, dict):
        # A struct that holds nothing may stay away; one with members is judged by its members.
        inner = [(*path, key) for key in value]
        return bool(inner) and all(
            _is_default(run, kind, wanted, each, value[each[-1]]) for each in inner
        )
    if (name, value) in _known_defaults:
        return True
    probe = _probe_for(value)
    if probe is None or not _appears(run, kind, _with(wanted, path, probe), path):
        return False
    _known_defaults.add((name, value))
    return True


def _probe_for(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        # Either of a defbool's values differs from its default, which is neither.
        return "True" if value in ("<default>", "False") else "xapid-probe"
    return None


def _with(wanted: JSON, path: Path, value: Any) -> JSON:
    changed = copy.deepcopy(wanted)
    place: Any = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return changed


def _appears(run: Run, kind: str, wanted: JSON, path: Path) -> bool:
    with empty(run, kind) as struct:
        rc = getattr(run.lib, f"libxl_{kind}_from_json")(run.ctx, struct, orjson.dumps(wanted))
        if rc:
            return True
        place: Any = to_json(run, kind, struct)
    for part in path:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _spell(path: Path) -> str:
    return ".".join(str(part) for part in path)
