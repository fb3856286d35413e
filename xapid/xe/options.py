"""The command line: what is said to `xe` itself, and the words for the command."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .catalogue import folded
from .credentials import ON_COMMAND_LINE
from .failures import UsageError

PORT: Final = 443
FORMS: Final = ("table", "classic", "minimal", "json")

WITH_VALUE: Final = {
    "-s": ("server", "HOST", "the host to reach over HTTPS; without it, the one xe runs on"),
    "-p": ("port", "PORT", f"its port, {PORT} if it is not said"),
    "-u": ("user", "USER", "who logs in, root if it is not said"),
    "-pwf": ("password_file", "FILE", "the password, or the user and below it the password"),
    "--socket": ("socket", "PATH", "the Unix socket of the xapid on this host"),
    "--ca": ("ca", "FILE", "the certificates that vouch for the server"),
    "--fingerprint": ("fingerprint", "SHA256", "what the server's certificate must have"),
}
"""Options with a value: the attribute, what stands for the value, and what it is."""

ALONE: Final = {
    "--trust-new": ("trust_new", "trust a server that was never seen, without asking"),
    "--table": ("table", "a table for people: what a terminal gets"),
    "--classic": ("classic", "the form of old, for scripts: what a pipe gets"),
    "--minimal": ("minimal", "only the values of the first field, with commas between them"),
    "--json": ("json", "JSON, for programs"),
    "--multiple": ("multiple", "act on all objects that the selectors match"),
    "--no-progress": ("no_progress", "no progress bar"),
    "--help": ("help", "what a command is for, and what it takes"),
    "--version": ("version", "the version of xe"),
}
_UNSENDABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_SHORT: Final = {"-h": "--help", "-help": "--help", "-version": "--version"}


class Options:
    """What is said to `xe` itself."""

    def __init__(self) -> None:
        self.server = ""
        self.port = ""
        self.user = ""
        self.password_file = ""
        self.socket = ""
        self.ca = ""
        self.fingerprint = ""
        self.trust_new = False
        self.table = False
        self.classic = False
        self.minimal = False
        self.json = False
        self.multiple = False
        self.no_progress = False
        self.help = False
        self.version = False

    @property
    def port_number(self) -> int:
        """The port. Raises UsageError."""
        text = self.port or str(PORT)
        if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
            raise UsageError(f"{text!r} is no port: -p takes a number from 1 to 65535")
        return int(text)

    def form(self, *, terminal: bool) -> str:
        """The form of the output. Raises UsageError when more than one is asked for."""
        asked = [form for form in FORMS if getattr(self, form)]
        if len(asked) > 1:
            raise UsageError(f"choose one of {' and '.join('--' + form for form in asked)}")
        if asked:
            return asked[0]
        return "table" if terminal else "classic"


class Words:
    """The words for the command: `key=value`, `key:part=value`, `--flag`, and bare names.

    values: by folded key. maps: by folded key, each part as it was typed. names: the bare words.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.maps: dict[str, dict[str, str]] = {}
        self.names: list[str] = []
        self.typed: dict[str, str] = {}

    def add(self, word: str) -> None:
        """Take one word in. Raises UsageError: it says something twice, or cannot be sent."""
        if _UNSENDABLE.search(word):
            raise UsageError(f"{word!r} holds a character that the API cannot carry")
        key, equals, value = word.partition("=")
        if not equals:
            self.names.append(word)
            return
        base, colon, part = key.partition(":")
        name = folded(base)
        if not name:
            raise UsageError(f"{word!r} has nothing before the equals sign")
        place, at = (self.maps.setdefault(name, {}), part) if colon else (self.values, name)
        if at in place:
            raise UsageError(f"{key} is given twice")
        place[at] = value
        self.typed[name] = base

    def flag(self, name: str, value: str) -> None:
        """Take `--name` or `--name=value` in."""
        self.add(f"{name}={value}")


def parse(arguments: Sequence[str]) -> tuple[Options, str, Words]:
    """Take a command line apart: options, the command's name, its words. Raises UsageError."""
    options, words = Options(), Words()
    _from_file(options)
    _parse_extra(options)
    command = ""
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            if not command and waiting:
                command = waiting.pop(0)
            for rest in waiting:
                words.add(rest)
            break
        if _take_option(options, word, waiting):
            continue
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            words.flag(name, value if equals else "true")
        elif word.startswith("-") and "=" not in word:
            raise UsageError(f"there is no option {word}: see `xe help options`")
        elif not command:
            command = word
        else:
            words.add(word)
    return options, command, words


def _take_option(options: Options, word: str, waiting: list[str]) -> bool:
    """Set what a word says to `xe` itself; False when it is for the command."""
    name, equals, value = word.partition("=")
    name = _SHORT.get(name, name)
    if name == "-pw":
        raise UsageError(ON_COMMAND_LINE)
    if name in ("--nossl", "-nossl"):
        raise UsageError("xe never sends a password in the clear: leave --nossl out")
    if name in ALONE and not equals:
        setattr(options, ALONE[name][0], True)
        return True
    if name not in WITH_VALUE:
        return False
    if not (equals and name.startswith("--")):
        if equals or not waiting:
            raise UsageError(f"{name} needs a value: {name} {WITH_VALUE[name][1]}")
        value = waiting.pop(0)
    setattr(options, WITH_VALUE[name][0], value)
    return True


_KEYS: Final = {"server": "server", "port": "port", "username": "user"}
"""What `~/.xe` and XE_EXTRA_ARGS may say, and the attribute it sets."""


def _from_file(options: Options) -> None:
    """Defaults from `~/.xe`, as of old, if the file is there. It names no password."""
    path = Path("~/.xe").expanduser()
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if equals and key in _KEYS:
            setattr(options, _KEYS[key], value)
        elif equals and key == "password":
            raise UsageError(
                f"{path}: put the password alone into a file of its own, and write "
                "password_file=FILE here"
            )
        elif equals and key == "password_file":
            options.password_file = value
        elif line.strip() and not line.startswith("#"):
            raise UsageError(f"{path}: {key!r} is none of {', '.join(_KEYS)}, password_file")


def _parse_extra(options: Options) -> None:
    """Defaults from XE_EXTRA_ARGS, as of old: `-s,HOST,-u,USER` or `server=HOST,username=USER`."""
    waiting = [word for word in os.environ.get("XE_EXTRA_ARGS", "").split(",") if word]
    while waiting:
        word = waiting.pop(0)
        key, equals, value = word.partition("=")
        if equals and key == "password":
            raise UsageError(f"XE_EXTRA_ARGS: {ON_COMMAND_LINE}")
        if equals and key in _KEYS:
            setattr(options, _KEYS[key], value)
        elif not _take_option(options, word, waiting):
            raise UsageError(f"XE_EXTRA_ARGS: there is no option {word}")
