"""The command `xe`: read the command line, log in, run one command, log out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from . import registry
from .catalogue import classes
from .command import Call, Command, check_words, selected
from .failures import (
    Cancelled,
    Failure,
    Refused,
    Unreachable,
    Untrusted,
    UsageError,
    facts,
    sentence,
)
from .login import connected
from .options import Options, Words, parse
from .output import Output, shown, shown_lines

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
"""What a shell gives to a program that ^C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a failure, 2 for a wrong command line, or 130."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--complete"]:
        from .completion import main as complete  # only for the shell

        return complete(arguments[1:])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted; nothing more was done")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(arguments: Sequence[str]) -> int:
    try:
        options, name, words = parse(arguments)
        if options.version:
            from ..version import VERSION

            sys.stdout.write(f"xe {VERSION}\n")
            return OK
        out = Output(options.form(terminal=sys.stdout.isatty()))
        if not name or name == "help" or options.help:
            from .help import show

            topics = ([name] if name not in ("", "help") else []) + words.names
            return OK if show(topics, everything="all" in words.values) else USAGE
        command = registry.find(name)
        if command is None:
            raise UsageError(_unknown(name))
        return _carry_out(command, words, options, out)
    except UsageError as error:
        _say(str(error))
        return USAGE
    except Cancelled as error:
        _say(str(error))
        return INTERRUPTED
    except (Refused, Unreachable, Untrusted) as error:
        _say(str(error))
        return FAILED


def _carry_out(command: Command, words: Words, options: Options, out: Output) -> int:
    check_words(command, words)
    with connected(options) as server:
        call = Call(command, words, options, server, out)
        try:
            refs = selected(call) if command.selects else [""]
            if len(refs) > 1 and command.alone:
                raise UsageError(f"{command.name} is for one object at a time")
        except Failure as failure:
            _tell(failure, call, command.name)
            return FAILED
        code = OK
        for ref in refs:
            try:
                command.run(call, ref)
            except Failure as failure:
                what = f" {call.label(command.selects, ref)}" if ref else ""
                _tell(failure, call, command.name + what)
                code = FAILED
        return code


def _tell(failure: Failure, call: Call, what: str) -> None:
    """Say what went wrong, with the objects that it concerns by name."""
    _say(f"{what}: {sentence(failure)} [{failure.code}]")
    class_name = ""
    for name, value in facts(failure):
        if value in classes():
            class_name = value
        if value.startswith("OpaqueRef:"):
            value = _named(call, value, name, class_name)
        sys.stderr.write(f"  {shown(name)}: {shown_lines(value)}\n")


def _named(call: Call, ref: str, name: str, class_name: str) -> str:
    """A reference as its object's name and uuid, if the class can be guessed."""
    likely = {cls.lower(): cls for cls in classes()}
    found = class_name or likely.get(name.replace("-", "_").lower(), "")
    try:
        record = call.objects.record(found, ref) if found else None
    except (Failure, Unreachable):
        record = None
    if record is None:
        return ref
    return f"{call.label(found, ref)} ({record.get('uuid', '')})"


def _unknown(name: str) -> str:
    import difflib  # only for mistakes

    near = difflib.get_close_matches(name.lower(), registry.every(), 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`xe help` lists what there is"
    return f"there is no command {shown(name)!r}: {hint}"


def _say(text: str) -> None:
    sys.stderr.write(f"xe: {shown_lines(text)}\n")


if __name__ == "__main__":
    sys.exit(main())
