"""What a command is: its name, its arguments, and the call in which it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from .catalogue import NULL, STRING, Type, classes, folded, word_of
from .credentials import prompted, read_secret
from .failures import UsageError
from .objects import Objects
from .options import Options, Words
from .output import Output, shown
from .server import Server
from .tasks import Bar, perform
from .values import read_value, split

SECRET_KEY: Final = ("passw", "secret")
"""What the name of a map's key holds whose value is a secret."""


class Argument(NamedTuple):
    """One argument of a command.

    wire: the name of the parameter or field on the wire. aliases: other names for it.
    only: what the object that it names is, where names repeat.
    """

    name: str
    type: Type
    doc: str
    required: bool = False
    wire: str = ""
    aliases: tuple[str, ...] = ()
    secret: bool = False
    only: tuple[tuple[str, Any], ...] = ()

    @property
    def is_needed(self) -> bool:
        """Whether it must be given: the host and the pool need not, where there is one."""
        return self.required and not self._alone

    @property
    def _alone(self) -> bool:
        return self.type.kind == "ref" and self.type.target in ("host", "pool")

    def spellings(self) -> list[str]:
        """All folded names under which it may be given."""
        names = [self.name, *self.aliases]
        if _refers(self.type):
            plural = "s" if self.type.kind == "set" else ""
            stems = [folded(name).removesuffix(f"-uuid{plural}") for name in names]
            names += stems
            names += [f"{stem}-uuid{plural}" for stem in stems]
            names += [f"{stem}-name-label" for stem in stems] if not plural else []
        if self.secret:
            names += [f"{name}-file" for name in names]
        return list(dict.fromkeys(folded(name) for name in names))


class Command(NamedTuple):
    """One command.

    selects: the class of the object that it acts on; "" for none.
    only: what that object is, such as a template; used for names and filters.
    alone: whether it acts on one object at a time, so that --multiple means nothing.
    run: gets the call, and the reference of the object ("" without one).
    open: whether it takes words beyond its arguments, and reads them itself.
    """

    name: str
    topic: str
    summary: str
    run: Callable[[Call, str], None]
    arguments: tuple[Argument, ...] = ()
    selects: str = ""
    only: tuple[tuple[str, Any], ...] = ()
    alone: bool = False
    open: bool = False
    details: str = ""


def required(name: str, type_: Type, doc: str, *aliases: str, **more: Any) -> Argument:
    return Argument(name, type_, doc, required=True, aliases=aliases, **more)


def optional(name: str, type_: Type, doc: str, *aliases: str, **more: Any) -> Argument:
    return Argument(name, type_, doc, aliases=aliases, **more)


class Call:
    """One run of a command: its words, the server, and where its output goes."""

    def __init__(
        self, command: Command, words: Words, options: Options, server: Server, out: Output
    ) -> None:
        self.command = command
        self.words = words
        self.options = options
        self.server = server
        self.out = out
        self.objects = Objects(server)

    # what was said

    def has(self, name: str) -> bool:
        """Whether an argument was given."""
        argument = self._argument(name)
        places: tuple[Mapping[str, Any], ...] = (self.words.values, self.words.maps)
        return any(s in place for place in places for s in argument.spellings())

    def get(self, name: str, default: Any = None) -> Any:
        """An argument's value as it goes on the wire; the default if it was not given.

        Raises UsageError, Refused.
        """
        argument = self._argument(name)
        if argument.type.kind == "map":
            return self._map(argument, default)
        for spelling in argument.spellings():
            if spelling in self.words.values:
                return self._read(argument, spelling, self.words.values[spelling])
        if argument.secret and argument.required:
            return prompted(f"{argument.name}: ")
        if argument.is_needed and default is None:
            raise UsageError(missing(self.command, argument))
        if argument.required and default is None:
            return self.objects.the_only(argument.type.target)
        return default

    def _argument(self, name: str) -> Argument:
        return next(a for a in self.command.arguments if a.name == name)

    def _read(self, argument: Argument, spelling: str, text: str) -> Any:
        if argument.secret:
            if spelling.endswith("-file"):
                return read_secret(Path(text))
            raise UsageError(_no_secret(argument.name))
        target = argument.type.target
        if argument.type.kind == "ref":
            return self.objects.find(target, text, only=dict(argument.only))
        if argument.type.kind == "set" and argument.type.item and argument.type.item.kind == "ref":
            target = argument.type.item.target
            return [self.objects.find(target, part) for part in split(text)]
        return read_value(argument.type, text, argument.name)

    def _map(self, argument: Argument, default: Any) -> Any:
        given: dict[str, Any] = {}
        for spelling in argument.spellings():
            if self.words.values.get(spelling):
                raise UsageError(f"{argument.name} is a map: say {argument.name}:KEY=VALUE")
            given |= self.words.maps.get(spelling, {})
        value_type = argument.type.item or STRING
        if not given:
            return {} if default is None else default
        return {
            key: read_value(value_type, text, f"{argument.name}:{key}")
            for key, text in map_members(argument.name, given).items()
        }

    # what is done

    def perform(self, what: str, method: str, *params: Any) -> Any:
        """Run a message as a task with a progress bar. what: for people, such as a name."""
        label = f"{self.command.name} {what}".rstrip()
        bar = Bar(label, wanted=not self.options.no_progress)
        return perform(self.server, bar, label, method, *params)

    def label(self, class_name: str, ref: str) -> str:
        """What a person calls an object."""
        return self.objects.label(class_name, ref)

    def made(self, class_name: str, ref: str) -> None:
        """Print the uuid of what was made, as scripts expect it."""
        self.out.value(self.server(f"{class_name}.get_uuid", ref))

    def note(self, text: str) -> None:
        """Say something to the person, beside the output."""
        sys.stderr.write(f"xe: {text}\n")


def map_members(name: str, given: Mapping[str, str], *, look_only: bool = False) -> dict[str, str]:
    """A map as it was typed; secrets in it come from files, `KEY-file=PATH`. Raises UsageError.

    look_only: do not read the files yet.
    """
    members = {}
    for key, text in given.items():
        stem = key.removesuffix("-file")
        if not any(part in stem.lower() for part in SECRET_KEY):
            members[key] = text
        elif stem == key:
            raise UsageError(_no_secret(f"{name}:{key}"))
        elif not look_only:
            members[stem] = read_secret(Path(text))
    return members


def _no_secret(name: str) -> str:
    return (
        f"{name} is a secret, and everybody on this machine can read a command line: put it into "
        f"a file that only you can read, and say {name}-file=FILE"
    )


def _refers(type_: Type) -> bool:
    inner = type_.item if type_.kind == "set" and type_.item else type_
    return inner.kind == "ref"


def missing(command: Command, argument: Argument) -> str:
    """The sentence about an argument that is needed."""
    return (
        f"{command.name} needs {argument.name}=… ({argument.doc.rstrip('.')}): see "
        f"`xe help {command.name}`"
    )


def check_words(command: Command, words: Words) -> None:
    """See before anything is sent that nothing is missing, unknown or a secret.

    Raises UsageError.
    """
    for argument in command.arguments:
        given = [s for s in argument.spellings() if s in words.values or s in words.maps]
        if argument.secret and any(not s.endswith("-file") for s in given):
            raise UsageError(_no_secret(argument.name))
        if argument.is_needed and not argument.secret and not given:
            raise UsageError(missing(command, argument))
    for name, members in words.maps.items():
        map_members(words.typed[name], dict.fromkeys(members, ""), look_only=True)
    if command.selects or command.open:
        return
    known = {s for argument in command.arguments for s in argument.spellings()}
    for name in (*words.values, *words.maps):
        if name not in known:
            raise UsageError(
                f"{command.name} takes no {words.typed[name]}: see `xe help {command.name}`"
            )
    if words.names:
        raise UsageError(
            f"{shown(words.names[0])!r} stands alone: {command.name} takes KEY=VALUE, see "
            f"`xe help {command.name}`"
        )


def selectors_of(word: str) -> tuple[str, ...]:
    """The keys that name an object of a class outright."""
    return ("uuid", word, f"{word}-uuid", f"{word}-name-label")


def selected(call: Call) -> list[str]:
    """The objects that the command is to act on. Raises UsageError, Refused."""
    command, words = call.command, call.words
    word = word_of(command.selects)
    known = {s for argument in command.arguments for s in argument.spellings()}
    said = dict(words.values)
    for name, parts in words.maps.items():
        said |= {f"{name}:{part}": text for part, text in parts.items()}
    filters = {n: text for n, text in said.items() if n.partition(":")[0] not in known}
    names = [*words.names, *(filters.pop(n) for n in selectors_of(word) if n in filters)]
    if command.open:  # whatever else was said is what the command is to do
        filters = {}
    if filters or (call.options.multiple and not names):
        return _filtered(call, filters, names)
    if not names:
        if command.selects in ("host", "pool"):
            return [call.objects.the_only(command.selects)]
        raise UsageError(
            f"say which {word}: `xe {command.name} {word}=NAME` or uuid=UUID, or a selector such "
            "as a field's value with --multiple"
        )
    if len(names) > 1 and not call.options.multiple:
        raise UsageError(f"{len(names)} of the kind {word} are named: say --multiple to mean all")
    found = [call.objects.find(command.selects, n, only=dict(command.only)) for n in names]
    if NULL in found:
        raise UsageError(f"the name or uuid of the {word} is empty")
    return list(dict.fromkeys(found))


def _filtered(call: Call, filters: dict[str, str], names: Sequence[str]) -> list[str]:
    command = call.command
    word = word_of(command.selects)
    if not classes()[command.selects].listed:
        raise UsageError(f"the server lists no objects of the kind {word}: give its uuid")
    found = call.objects.matching(command.selects, filters)
    for name in names:
        ref = call.objects.find(command.selects, name, only=dict(command.only))
        found = {r: record for r, record in found.items() if r == ref}
    found = {
        ref: record
        for ref, record in found.items()
        if all(record.get(field) == value for field, value in command.only)
        and not record.get("is_control_domain")
    }
    if not found:
        asked = ", ".join(f"{name}={text}" for name, text in filters.items())
        raise UsageError(f"no {word} matches {shown(asked)}: `xe {word}-list` shows what there is")
    if len(found) > 1 and not call.options.multiple:
        choices = "\n".join(
            f"  {r['uuid']}  {shown(r.get('name_label', ''))}" for r in found.values()
        )
        raise UsageError(
            f"{len(found)} of the kind {word} match: say --multiple to mean all of them\n{choices}"
        )
    return list(found)
