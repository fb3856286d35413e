"""The arguments of the subcommands of `xapid`; what they do is in `commands`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_TASK = "a task's reference or uuid, or a call's id as the log shows it"
_NAME = "as listed, or a path"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `xapid` its subcommands; each sets `run` to a name in `commands`."""
    places = _places()
    commands = parser.add_subparsers(
        title="commands beside the daemon", metavar="COMMAND", parser_class=type(parser)
    )
    doctor = commands.add_parser(
        "doctor", help="is this host fit for xapid, and what to do", parents=[places]
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(run="doctor")
    _add_backup(commands, places)
    database = commands.add_parser("db", help="look at the database").add_subparsers(
        metavar="ACTION", required=True
    )
    check = database.add_parser(
        "check", help="read it all, also while xapid runs", parents=[places]
    )
    check.set_defaults(run="check_database")
    lines = commands.add_parser("log", help="the journal's lines about one call", parents=[places])
    lines.add_argument("--task", metavar="REF", required=True, help=_TASK)
    lines.add_argument("--follow", action="store_true", help="and those to come")
    lines.add_argument("--json", action="store_true", help="one JSON object a line")
    lines.set_defaults(run="show_log")


def _places() -> argparse.ArgumentParser:
    """The daemon's own options that say where things are, understood after a command too."""
    places = argparse.ArgumentParser(add_help=False)
    for option, metavar in (("--config", "PLACE"), ("--state-dir", "DIR")):
        places.add_argument(
            option, metavar=metavar, type=Path, default=argparse.SUPPRESS, help="as of xapid itself"
        )
    return places


def _add_backup(commands: Any, places: argparse.ArgumentParser) -> None:
    actions = commands.add_parser(
        "backup", help="database, settings, certificate and accounts; never disks"
    ).add_subparsers(metavar="ACTION", required=True)

    def add(name: str, does: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(name, help=does, parents=[places])
        action.set_defaults(run=f"{name}_backup")
        return action

    add("create", "make one now, verify it, drop the oldest")
    add("list", "all there are, the newest last").add_argument(
        "--json", action="store_true", help="for programs"
    )
    add("verify", "read them to their end").add_argument(
        "names", metavar="NAME", nargs="*", help=f"{_NAME}; else the newest"
    )
    restore = add("restore", "put one back while xapid is stopped")
    restore.add_argument("name", metavar="NAME", help=_NAME)
    restore.add_argument("--dry-run", action="store_true", help="only say what it would do")
    restore.add_argument(
        "--database-only", action="store_true", help="leave settings and certificate as they are"
    )
