"""The man page xapid(8) and the units speak of the command line as it is."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from xapid import daemon
from xapid.__main__ import EX_CONFIG, EX_USAGE, command_line

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/xapid.md").read_text()


def words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Each option and command of a parser, and of those below it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield name
                yield from words(inner)
        else:
            yield from (option for option in action.option_strings if option.startswith("--"))


def test_every_option_and_command_is_in_the_manual() -> None:
    missing = {word for word in words(command_line()) if not re.search(rf"{word}\b", PAGE)}

    assert missing == {"--help"}


def test_every_exit_code_is_in_the_manual() -> None:
    codes = {value for name, value in vars(daemon).items() if name.startswith("EX_")}

    for code in codes | {EX_CONFIG, EX_USAGE}:
        assert f"\n{code}\n: " in PAGE


def test_units_run_commands_that_there_are() -> None:
    for unit in (ROOT / "systemd").glob("*.service"):
        for line in re.findall(r"(?m)^ExecStart=/usr/sbin/xapid(.*)$", unit.read_text()):
            command_line().parse_args(shlex.split(line))


def test_the_settings_that_the_pages_name_exist() -> None:
    settings = (ROOT / "docs/configuration.md").read_text()

    for name in re.findall(r"`backup\.(\w+)`", PAGE):
        assert f"### {name}\n" in settings
