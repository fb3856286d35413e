"""Writes the reference part of docs/xe.md: `python -m xapid.xe.document docs/xe.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from . import registry
from .command import Command
from .help import synopsis
from .options import ALONE, WITH_VALUE

MARK: Final = "<!-- what follows is written by `python -m xapid.xe.document docs/xe.md` -->"


def reference() -> str:
    """The options, and every command by topic."""
    lines = ["## Options", "", *_options(), "## Commands", ""]
    topics: dict[str, list[Command]] = {}
    for command in registry.every().values():
        topics.setdefault(command.topic, []).append(command)
    for topic, commands in sorted(topics.items()):
        lines += [f"### {topic}", ""]
        for command in commands:
            lines += _command(command)
    return "\n".join(lines)


def _options() -> Iterator[str]:
    for name, (_, value, doc) in WITH_VALUE.items():
        yield f"`{name} {value}`"
        yield f": {_sentence(doc)}"
        yield ""
    for name, (_, doc) in ALONE.items():
        yield f"`{name}`"
        yield f": {_sentence(doc)}"
        yield ""


def _command(command: Command) -> Iterator[str]:
    yield f"`{synopsis(command)}`"
    details = command.details.replace("\n", " ")
    yield f": {command.summary}{' ' + details if details else ''}"
    if command.arguments:
        yield ""
    for argument in command.arguments:
        yield f"  - `{argument.name}`: {_sentence(argument.doc)}"
    yield ""


def _sentence(doc: str) -> str:
    return f"{doc[:1].upper()}{doc[1:].rstrip('.')}.".replace("<", "\\<")


def page(old: str) -> str:
    """The page with its reference part as it should be now. Raises ValueError: no mark in it."""
    written, mark, _ = old.partition(MARK)
    if not mark:
        raise ValueError(f"the page has no line {MARK}")
    return f"{written}{MARK}\n\n{reference()}"


def main() -> None:
    place = Path(sys.argv[1])
    place.write_text(page(place.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
