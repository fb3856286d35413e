"""The subcommands of `xapid`: what they do, what they write, and their exit codes.

0: it is good, or done. 1: it is not, and the last line says what to do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

import orjson

from .. import log
from ..config import CONFIG_DIRECTORY, Config
from ..datamodel import registry
from ..db.examine import Findings, examine_file
from ..db.failures import BackupFailed, CannotOpen, StoreInUse
from . import backup, call_log
from .archive import ArchiveDamaged
from .backup import Entry, Places, Plan
from .doctor import examine, summary
from .finding import Status
from .surroundings import Surroundings

Run = Callable[[argparse.Namespace, Config], int]


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Do what a parsed command line asks for; the exit code."""
    log.configure("error")
    try:
        return RUNS[arguments.run](arguments, config)
    except StoreInUse as error:
        return _fail(f"{error} (systemctl stop xapid.socket xapid). Guests go on")
    except (BackupFailed, CannotOpen, ArchiveDamaged) as error:
        return _fail(str(error))
    except BrokenPipeError:
        return 0
    except OSError as error:
        return _fail(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))


def _places(arguments: argparse.Namespace, config: Config) -> Places:
    return Places(config, arguments.config or CONFIG_DIRECTORY)


def create_backup(arguments: argparse.Namespace, config: Config) -> int:
    made = backup.create(_places(arguments, config))
    _say(f"{made.path}: {_size(made.size)}, verified; {_holds(made.findings)}")
    for path in made.skipped:
        _say(f"not in it, because of its name: {path}")
    for name in made.dropped:
        _say(f"dropped {name}")
    return 0


def list_backup(arguments: argparse.Namespace, config: Config) -> int:
    found = backup.entries(_places(arguments, config))
    if arguments.json:
        _say(
            orjson.dumps([_as_json(entry) for entry in found], option=orjson.OPT_INDENT_2).decode()
        )
        return 0
    for entry in found:
        about = entry.fault or (f"schema {entry.schema}, of {entry.host}" if entry.schema else "")
        _say(f"{entry.path.name}  {_size(entry.size):>8}  {entry.holds}  {about}".rstrip())
    if not found:
        _say("there is none: xapid backup create")
    return 0


def verify_backup(arguments: argparse.Namespace, config: Config) -> int:
    places = _places(arguments, config)
    last = backup.newest(places)
    names = arguments.names or ([last.name] if last else [])
    if not names:
        return _fail("there is no backup: xapid backup create")
    bad = 0
    for name in names:
        try:
            verified = backup.verify(places.find(name))
        except (ArchiveDamaged, CannotOpen) as error:
            bad += 1
            _say(f"BAD   {error}")
        else:
            _say(f"good  {verified.path.name}: {_holds(verified.findings)}")
    return 1 if bad else 0


def restore_backup(arguments: argparse.Namespace, config: Config) -> int:
    places = _places(arguments, config)
    path = places.find(arguments.name)
    plan = backup.plan_restore(places, path, database_only=arguments.database_only)
    _tell_plan(places, plan)
    if arguments.dry_run:
        _say("nothing was changed")
        return 0
    aside = backup.restore(places, plan)
    _say(f"restored; what was there before is in {aside}")
    _say("now: systemctl start xapid.socket xapid (running guests are found again)")
    return 0


def _tell_plan(places: Places, plan: Plan) -> None:
    _say(f"{places.database}: {_holds(plan.verified.findings)}")
    for step in plan.steps:
        _say(f"{step.target}: {step.action}")
    for name in plan.homeless:
        _say(f"not put back, because this xapid has no place for it: {name}")


def check_database(arguments: argparse.Namespace, config: Config) -> int:
    path = _places(arguments, config).database
    findings = examine_file(path, registry.CLASSES)
    _say(f"{path}: {_holds(findings)}")
    for name, number in sorted(findings.objects.items()):
        _say(f"  {number:6} {name}")
    for note in findings.notes:
        _say(f"note: {note}")
    for fault in findings.faults:
        _say(f"FAULT: {fault}")
    if findings.faults:
        return _fail("the database is damaged: xapid backup list, xapid backup restore NAME")
    _say("good")
    return 0


def doctor(arguments: argparse.Namespace, config: Config) -> int:
    found = []
    for finding in examine(Surroundings(), config):
        found.append(finding)
        if not arguments.json:
            _say(finding.line())
            sys.stdout.flush()
    if arguments.json:
        told = [finding.as_json() for finding in found]
        _say(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        _say(summary(found))
    return 1 if any(finding.status is Status.FAIL for finding in found) else 0


def show_log(arguments: argparse.Namespace, config: Config) -> int:
    try:
        call = call_log.call_of(arguments.task)
        output = "json" if arguments.json else "text"
        code = call_log.show(call, output=output, follow=arguments.follow)
    except ValueError as error:
        return _fail(str(error))
    except FileNotFoundError:
        return _fail("there is no journalctl here: look for the call's id in the log of xapid")
    if code == 1:
        return _fail(f"the journal has no line about call {call}")
    return code


def _holds(findings: Findings) -> str:
    objects = findings.objects
    told = [f"{objects.get(name, 0)} {name}" for name in ("VM", "VDI", "network")]
    return f"schema {findings.schema}, {sum(objects.values())} objects ({', '.join(told)})"


def _as_json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.path.name,
        "path": str(entry.path),
        "made": entry.made.isoformat(),
        "bytes": entry.size,
        "holds": entry.holds,
        "schema": entry.schema or None,
        "host": entry.host or None,
        "fault": entry.fault or None,
    }


def _size(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{size / 1024:.0f} KiB"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _fail(why: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"xapid: {why}\n")
    return 1


RUNS: Final[dict[str, Run]] = {
    run.__name__: run
    for run in (
        create_backup,
        list_backup,
        verify_backup,
        restore_backup,
        check_database,
        doctor,
        show_log,
    )
}
