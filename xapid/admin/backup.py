"""Backups of what xapid knows: made beside the daemon, verified, listed, and put back.

Disks are no part of them, and nothing here touches one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from ..config import Config
from ..datamodel import registry
from ..db import schema
from ..db.backup import put_back, write_copy
from ..db.examine import Findings, examine_image
from ..db.failures import BackupFailed, CannotOpen
from ..durable import replace_file, sync_directory
from ..version import VERSION
from . import archive
from .archive import Archive, ArchiveDamaged, Member

SUFFIX: Final = ".tar.gz"
STATE_FILES: Final = ("root-password", "patch-keys")
_OURS: Final = re.compile(r"xapid-[0-9]{8}T[0-9]{6}Z\.tar\.gz")
_COPY: Final = re.compile(r"(?:state|before-schema-[0-9]{1,6})-[0-9]{8}T[0-9]{6}Z\.db")
_STAMP: Final = re.compile(r"([0-9]{8}T[0-9]{6}Z)")
_STAMP_FORMAT: Final = "%Y%m%dT%H%M%SZ"

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Places:
    """Where things are on this host. settings: the file or directory of the settings."""

    config: Config
    settings: Path

    @property
    def database(self) -> Path:
        return self.config.state_dir / "state.db"

    @property
    def backups(self) -> Path:
        return self.config.backup_dir

    def target(self, name: str) -> Path | None:
        """Where a file of a backup belongs; None for one that this xapid has no place for."""
        kind, _, rest = name.partition("/")
        match kind:
            case "state" if rest.partition("/")[0] in STATE_FILES:
                return self.config.state_dir / rest
            case "tls" if rest:
                return self.config.tls_dir / rest
            case "settings" if self.settings.is_file() or self.settings.suffix == ".toml":
                return self.settings if rest == "xapid.toml" else None
            case "settings" if rest == "xapid.toml" or re.fullmatch(r"(conf\.d|chap)/[^/]+", rest):
                return self.settings / rest
        return None

    def find(self, name: str) -> Path:
        """The backup of that name; one with a slash is a path."""
        return Path(name) if "/" in name else self.backups / name


@dataclass(frozen=True)
class Entry:
    """A backup as a list shows it. holds: everything, or a copy of the database alone."""

    path: Path
    made: datetime
    size: int
    holds: Literal["everything", "database"]
    schema: int = 0
    host: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Verified:
    """A backup that was read to its end. archive: None for a copy of the database alone."""

    path: Path
    database: bytes
    findings: Findings
    archive: Archive | None = None


@dataclass(frozen=True)
class Step:
    """One file that a restore puts back. action: what that does to what is there now."""

    member: Member
    target: Path
    action: Literal["new", "same", "replaced"]


@dataclass(frozen=True)
class Plan:
    """What a restore does. homeless: the files that have no place here and stay out."""

    verified: Verified
    steps: tuple[Step, ...]
    homeless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """A backup just made. skipped: files that no backup can hold, for their name or size."""

    path: Path
    size: int
    findings: Findings
    dropped: tuple[str, ...]
    skipped: tuple[str, ...]


def create(places: Places, clock: Clock = utc_now) -> Made:
    """Make a backup, read it back, and drop the oldest beyond the number that is kept.

    The daemon may run or not. Raises BackupFailed; then there is no new file and none is gone.
    """
    try:
        places.backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(places.backups):
            made, target = _unused(places.backups, "xapid-", SUFFIX, clock())
            partial = places.backups / f".{target.name}.partial"
            for left in places.backups.glob(".xapid-*.partial"):
                left.unlink()
            try:
                members, skipped = _gather(places, partial.with_suffix(".db"))
                archive.write(Archive(made, _facts(members), members), partial)
                verified = verify(partial)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            sync_directory(places.backups)
            dropped = _drop_old(places.backups, places.config.backup.kept)
    except (OSError, CannotOpen, ArchiveDamaged) as error:
        raise BackupFailed(f"no backup was made: {_reason(error)}") from error
    return Made(target, target.stat().st_size, verified.findings, dropped, skipped)


def entries(places: Places) -> list[Entry]:
    """All backups there are, oldest first. Raises OSError."""
    if not places.backups.is_dir():
        return []
    found = [_entry(path) for path in places.backups.iterdir()]
    return sorted((entry for entry in found if entry is not None), key=lambda e: (e.made, e.path))


def verify(path: Path) -> Verified:
    """Read a backup to its end: checksums, then the database in it, in memory.

    Raises ArchiveDamaged, CannotOpen (SchemaTooNew among others), OSError.
    """
    if path.name.endswith(".db"):
        found, database = None, path.read_bytes()
    else:
        found = archive.read(path)
        member = found.find(archive.DATABASE)
        if member is None:
            raise ArchiveDamaged(f"{path.name} holds no database")
        database = member.content
    findings = examine_image(database, path.name, registry.CLASSES)
    if findings.faults:
        raise ArchiveDamaged(f"the database in {path.name} is damaged: {findings.faults[0]}")
    return Verified(path, database, findings, found)


def plan_restore(places: Places, path: Path, *, database_only: bool) -> Plan:
    """What a restore of a backup would do; nothing is changed. Raises as `verify`."""
    verified = verify(path)
    steps, homeless = [], []
    members = () if verified.archive is None or database_only else verified.archive.members
    for member in members:
        if member.name == archive.DATABASE:
            continue
        target = places.target(member.name)
        if target is None:
            homeless.append(member.name)
        else:
            steps.append(Step(member, target, _action(target, member.content)))
    return Plan(verified, tuple(steps), tuple(homeless))


def restore(places: Places, plan: Plan, clock: Clock = utc_now) -> Path:
    """Put back what a plan says; returns the directory with all that it took the place of.

    Files first, the database last. Raises StoreInUse while a daemon runs, and OSError.
    """
    state = places.config.state_dir
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = schema.lock(places.database)
    try:
        aside = _aside(places.backups, clock())
        for step in plan.steps:
            if step.action == "replaced":
                kept = aside / step.member.name
                kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copy2(step.target, kept)
        sync_directory(aside)
        for step in plan.steps:
            if step.action != "same":
                step.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(step.target, step.member.content, _mode(step))
        put_back(plan.verified.database, places.database, aside)
    finally:
        os.close(lock)
    return aside


def newest(places: Places) -> Path | None:
    """The newest backup of everything."""
    whole = [entry.path for entry in entries(places) if entry.holds == "everything"]
    return whole[-1] if whole else None


def _facts(members: tuple[Member, ...]) -> dict[str, str | int]:
    database = next(member for member in members if member.name == archive.DATABASE)
    found = examine_image(database.content, database.name, registry.CLASSES)
    return {"xapid": VERSION, "host": socket.gethostname(), "schema": found.schema}


def _gather(places: Places, scratch: Path) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    """The files of a backup, and the paths of those that it cannot hold."""
    if not places.database.exists():
        raise BackupFailed(f"no backup was made: there is no database at {places.database}")
    try:
        write_copy(places.database, scratch)
        members = [Member(archive.DATABASE, scratch.read_bytes())]
    finally:
        scratch.unlink(missing_ok=True)
    skipped = []
    for name, path in _files(places):
        if archive.is_name(name):
            members.append(Member(name, path.read_bytes(), path.stat().st_mode & 0o777))
        else:
            skipped.append(str(path))
    if sum(len(member.content) for member in members) > archive.MAX_BYTES:
        raise BackupFailed(f"no backup was made: it would be over {archive.MAX_BYTES >> 20} MiB")
    return tuple(members), tuple(skipped)


def _files(places: Places) -> Iterator[tuple[str, Path]]:
    """What a backup holds beside the database: the name in the backup, and the file."""
    for name in STATE_FILES:
        yield from _below(f"state/{name}", places.config.state_dir / name)
    yield from _below("tls", places.config.tls_dir)
    if places.settings.is_file():
        yield "settings/xapid.toml", places.settings
    else:
        yield from _below("settings/xapid.toml", places.settings / "xapid.toml")
        yield from _below("settings/conf.d", places.settings / "conf.d")
        yield from _below("settings/chap", places.settings / "chap")  # of iSCSI targets


def _below(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield name, path
    elif path.is_dir():
        for inner in sorted(path.iterdir()):
            yield from _below(f"{name}/{inner.name}", inner)


def _entry(path: Path) -> Entry | None:
    stamp = _STAMP.search(path.name)
    if stamp is None or not path.is_file():
        return None
    made = datetime.strptime(stamp[1], _STAMP_FORMAT).replace(tzinfo=UTC)
    size = path.stat().st_size
    if _COPY.fullmatch(path.name):
        return Entry(path, made, size, "database")
    if not _OURS.fullmatch(path.name):
        return None
    try:
        facts = archive.read_facts(path).facts
        number = int(facts.get("schema", 0))
    except (ArchiveDamaged, OSError, ValueError, TypeError) as error:
        return Entry(path, made, size, "everything", fault=_reason(error))
    return Entry(path, made, size, "everything", number, str(facts.get("host", "")))


def _drop_old(directory: Path, kept: int) -> tuple[str, ...]:
    """Delete the oldest backups of ours; other files in the directory are nobody's business."""
    ours = sorted(path for path in directory.iterdir() if _OURS.fullmatch(path.name))
    for path in ours[:-kept]:
        path.unlink()
    return tuple(path.name for path in ours[:-kept])


def _action(target: Path, content: bytes) -> Literal["new", "same", "replaced"]:
    if not target.exists():
        return "new"
    return "same" if target.read_bytes() == content else "replaced"


def _mode(step: Step) -> int:
    """The mode it had, never wider than these files may be."""
    name = step.member.name
    is_open = name.startswith("settings/") and not name.startswith("settings/chap/")
    return step.member.mode & (0o644 if is_open else 0o640)


def _aside(backups: Path, now: datetime) -> Path:
    backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    _, made = _unused(backups, "before-restore-", "", now)
    made.mkdir(mode=0o700)
    sync_directory(backups)
    return made


def _unused(directory: Path, prefix: str, suffix: str, now: datetime) -> tuple[datetime, Path]:
    """A path of this moment that nothing stands at, or of the first second for which there is."""
    while (path := directory / f"{prefix}{now:{_STAMP_FORMAT}}{suffix}").exists():
        now += timedelta(seconds=1)
    return now, path


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep a second one from working in the directory at the same time."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupFailed("no backup was made: another one is being made") from None
        yield
    finally:
        os.close(descriptor)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
