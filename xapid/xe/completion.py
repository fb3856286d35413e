"""What a shell offers next: commands, arguments, and the names of objects that are there now."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from . import registry
from .catalogue import Type, classes, enum_values, folded, word_of
from .command import Argument, Command
from .failures import Failure, Refused, Unreachable, Untrusted, UsageError
from .login import connected
from .options import ALONE, WITH_VALUE, Options, parse
from .parameters import parameters
from .transport import SOCKETS

DEADLINE_S: Final = 0.5
GIVE_UP_S: Final = 0.35
"""When names are no longer waited for, so that the session can still be ended in time."""

MOST: Final = 200
SHELL_SPECIAL: Final = frozenset(" \t\n\\'\"`$&|;<>()[]{}*?!#~")


class _TooLate(BaseException):
    pass


def main(words: Sequence[str]) -> int:
    """Print what may stand for the last of the words, one a line; always in time, never an error.

    words: the command line as far as the cursor, without `xe`.
    """
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, GIVE_UP_S, DEADLINE_S - GIVE_UP_S)
    try:
        found = candidates(words)
    except (_TooLate, UsageError, OSError, KeyboardInterrupt):
        found = []
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.write("".join(f"{candidate}\n" for candidate in found[:MOST]))
    return 0


def _give_up(*_: object) -> None:
    """First stop waiting; when even that takes too long, stop altogether."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    raise _TooLate


def candidates(words: Sequence[str]) -> list[str]:
    """What may stand for the last of the words. Raises UsageError."""
    *before, last = words or [""]
    if before and before[-1] in WITH_VALUE:
        return []
    options, name, given = parse(before)
    if name == "help":
        known = [*registry.every(), *_topics()]
        return _beginning(last, (f"{each} " for each in known))
    if last.startswith("-"):
        return _beginning(last, (f"{option} " for option in (*WITH_VALUE, *ALONE)))
    if not name:
        return _beginning(last, (f"{command} " for command in (*registry.every(), "help")))
    command = registry.find(name)
    if command is None:
        return []
    key, equals, begun = last.partition("=")
    if equals:
        values = _values(options, command, key, begun)
        return _beginning(last, (f"{key}={value} " for value in values))
    taken = {*given.values, *given.maps}
    keys = [k for k in _keys(command) if folded(k.rstrip("=:")) not in taken]
    found = _beginning(last, keys)
    if command.selects and last and not found:
        names = _names(options, command.selects, dict(command.only))
        found = _beginning(last, (f"{each} " for each in names))
    return found


def _beginning(text: str, known: Iterable[str]) -> list[str]:
    return sorted({each for each in known if each.startswith(text)})


def _topics() -> list[str]:
    from .help import TOPICS

    return list(TOPICS)


def _keys(command: Command) -> list[str]:
    """What may stand before an equals sign."""
    keys = []
    for argument in command.arguments:
        name = f"{argument.name}-file" if argument.secret else argument.name
        keys.append(f"{name}:" if argument.type.kind == "map" else f"{name}=")
    if command.selects:
        keys += [f"{word_of(command.selects)}=", "uuid="]
    class_name = command.selects or _listed_class(command)
    if command.open and class_name:
        only_written = command.name.endswith("-set")
        keys += [
            f"{p.name}:" if p.type.kind == "map" else f"{p.name}="
            for p in parameters(class_name)
            if not only_written or p.mark.endswith("RW")
        ]
    return keys


def _listed_class(command: Command) -> str:
    """The class that a list is about."""
    words = {word_of(name): name for name in classes()} | {"template": "VM", "cd": "VDI"}
    return words.get(command.topic, "")


def _values(options: Options, command: Command, key: str, begun: str) -> list[str]:
    """What may stand after an equals sign."""
    class_name = command.selects or _listed_class(command)
    if folded(key) in ("params", "param-name"):
        return [p.name for p in parameters(class_name)] if class_name else []
    for argument in command.arguments:
        if folded(key) in argument.spellings():
            return _of_type(options, argument.type, argument)
    if class_name and folded(key) in (word_of(class_name), "uuid", "name-label"):
        by_uuid = folded(key) == "uuid"
        return _names(options, class_name, dict(command.only), by_uuid=by_uuid)
    if class_name:
        chosen = next((p for p in parameters(class_name) if folded(p.name) == folded(key)), None)
        if chosen is not None:
            return _of_type(options, chosen.type, None)
    return []


def _of_type(options: Options, type_: Type, argument: Argument | None) -> list[str]:
    inner = type_.item if type_.kind == "set" and type_.item else type_
    if inner.kind == "bool":
        return ["true", "false"]
    if inner.kind == "enum":
        return list(enum_values(inner.target))
    if inner.kind == "ref":
        return _names(options, inner.target, dict(argument.only) if argument else {})
    return []


def _names(
    options: Options, class_name: str, only: dict[str, object], *, by_uuid: bool = False
) -> list[str]:
    """The names of the objects there are, uuids for those without one; nothing in a failure."""
    if not options.server and not options.socket and not any(p.exists() for p in SOCKETS):
        return []
    if not classes()[class_name].listed:
        return []
    try:
        with connected(options, silent=True) as server:
            records = server(f"{class_name}.get_all_records").values()
    except (Failure, Refused, Unreachable, Untrusted):
        return []
    if class_name == "VM":
        wanted = only.get("is_a_template", False)
        records = [r for r in records if r["is_a_template"] == wanted]
    names = (r["uuid"] if by_uuid else r.get("name_label") or r["uuid"] for r in records)
    return [_escaped(name) for name in names if name.isprintable()]


def _escaped(name: str) -> str:
    """A name as it is typed in a shell."""
    return "".join(f"\\{c}" if c in SHELL_SPECIAL else c for c in name)
