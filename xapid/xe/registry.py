"""Every command by its name: those of old, and those that the datamodel yields."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Final

from .catalogue import ApiClass, classes, folded, word_of
from .command import Command
from .generic import commands_of, create_command, destroy_command, message_command

HAND_WRITTEN: Final = {
    "vm": ("vm_life", "vm_making", "vm_devices"),
    "template": ("vm_making",),
    "cd": ("storage",),
    "sr": ("storage",),
    "vdi": ("storage",),
    "vbd": ("storage",),
    "pbd": ("storage",),
    "vif": ("network",),
    "network": ("network",),
    "pif": ("network",),
    "vlan": ("network",),
    "bond": ("network",),
    "host": ("host",),
    "pool": ("network",),
    "patch": ("host",),
    "user": ("host",),
    "event": ("activity",),
    "task": ("activity",),
    "console": ("activity",),
}
"""The modules of commands written by hand, by the word that the commands begin with."""

HIDDEN_CLASSES: Final = frozenset({"event"})
HIDDEN_MESSAGES: Final = frozenset(
    {"event.register", "event.unregister", "event.next", "session.logout", "session.local_logout"}
)
"""What `xe` does by itself in every run."""

TEMPLATES: Final = (("is_a_template", True),)


@cache
def _module(name: str) -> dict[str, Command]:
    module = importlib.import_module(f"{__package__}.verbs.{name}")
    return {command.name: command for command in module.COMMANDS}


def find(name: str) -> Command | None:
    """The command of a name, in any case and with `_` or `-`."""
    asked = folded(name)
    words = dict(_by_word(asked))
    usual = any(asked[len(word) + 1 :].startswith(("list", "param-")) for word in words)
    for module in HAND_WRITTEN.get(asked.partition("-")[0], ()) if not usual else ():
        if asked in _module(module):
            return _module(module)[asked]
    for word, cls in words.items():
        for command in _made(word, cls, asked[len(word) + 1 :]):
            if command.name == asked:
                return command
    return None


def _by_word(asked: str) -> Iterator[tuple[str, ApiClass]]:
    """The classes whose word a command begins with, the longest first."""
    words = {word_of(name): cls for name, cls in classes().items()}
    words["template"] = classes()["VM"]
    for word in sorted(words, key=len, reverse=True):
        if asked.startswith(f"{word}-"):
            yield word, words[word]


def _made(word: str, cls: ApiClass, verb: str = "") -> Iterator[Command]:
    """The commands of a class that the datamodel yields; with a verb, only the likely ones."""
    only = TEMPLATES if word == "template" else ()
    if cls.name not in HIDDEN_CLASSES and (not verb or verb == "list" or verb[:6] == "param-"):
        yield from commands_of(word, cls, only)
    if only:
        return
    if "create" in cls.derived and verb in ("", "create"):
        yield create_command(word, cls)
    if "destroy" in cls.derived and verb in ("", "destroy"):
        yield destroy_command(word, cls)
    for name in cls.message_names:
        if verb in ("", folded(name)) and f"{cls.name}.{name}" not in HIDDEN_MESSAGES:
            yield message_command(word, cls, cls.message(name))


def every() -> dict[str, Command]:
    """All commands."""
    found: dict[str, Command] = {}
    words = {word_of(name): cls for name, cls in classes().items()}
    for word, cls in (*words.items(), ("template", classes()["VM"])):
        found |= {command.name: command for command in _made(word, cls)}
    for module in dict.fromkeys(m for modules in HAND_WRITTEN.values() for m in modules):
        found |= _module(module)
    return dict(sorted(found.items()))
