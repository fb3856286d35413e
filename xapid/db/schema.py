"""The database file: its lock, its settings, and the migrations that bring it up to date."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from .failures import (
    CannotOpen,
    DatabaseDamaged,
    DiskRefused,
    NotOurDatabase,
    SchemaTooNew,
    StoreInUse,
)

APPLICATION_ID = 0x78617069
BUSY_TIMEOUT_MS = 5000

_RESTORE = "Guests go on. Put a good copy back: xapid backup list, xapid backup restore NAME"
_DISK_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
}
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


def migrations() -> list[str]:
    """The migrations' SQL in order; number n stands at index n - 1."""
    found: dict[int, Traversable] = {}
    for entry in (resources.files(__package__) / "migrations").iterdir():
        if match := _NAME.fullmatch(entry.name):
            found[int(match[1])] = entry
    if sorted(found) != list(range(1, len(found) + 1)):
        raise CannotOpen(f"the migrations are not gapless: {sorted(found)}; reinstall xapid")
    return [found[number].read_text() for number in sorted(found)]


def lock(path: Path) -> int:
    """Hold the database for this process; returns the file descriptor that holds it."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise refused(path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise StoreInUse(f"{path} is in use by another xapid: stop that one first") from None
    return fd


def touch_private(path: Path) -> None:
    """Make the file, if need be, readable by its owner only; SQLite's others take its mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


def configure(connection: sqlite3.Connection) -> None:
    """Settings of every connection: durable at each commit, checkpoints only when we say."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def check(connection: sqlite3.Connection, path: Path | str) -> int:
    """The schema of a database that is ours and not from the future; 0: it is empty.

    Raises NotOurDatabase, SchemaTooNew.
    """
    newest = len(migrations())
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (tables or version or application):
        raise NotOurDatabase(f"{path} is a database of another program")
    if version > newest:
        raise SchemaTooNew(
            f"{path} has schema {version}, this xapid knows up to {newest}: install the version "
            "that wrote it, or go back to the copy from before its upgrade (xapid backup list, "
            f"xapid backup restore before-schema-{version}-...)"
        )
    return version


def damage(connection: sqlite3.Connection, most: int = 1) -> list[str]:
    """What SQLite finds wrong with the file, at most so many things; [] when it is whole."""
    found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({most:d})")]
    return [] if found == ["ok"] else found


def prepare(
    connection: sqlite3.Connection,
    path: Path,
    before_migration: Callable[[int], None] = lambda newest: None,
) -> None:
    """Check that the file is ours, whole and not from the future, and migrate it.

    before_migration: called before the first change, with the schema that it is brought to.
    Raises NotOurDatabase, SchemaTooNew, DatabaseDamaged.
    """
    steps = migrations()
    version = check(connection, path)
    if faults := damage(connection):
        raise DatabaseDamaged(f"{path} is damaged: {faults[0]}. {_RESTORE}")
    if 0 < version < len(steps):
        before_migration(len(steps))
    connection.execute("PRAGMA journal_mode = WAL")
    for number, step in enumerate(steps[version:], version + 1):
        try:
            connection.executescript(f"BEGIN;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise


def told(path: Path, error: sqlite3.Error) -> CannotOpen:
    """What SQLite says about a database, as an error that says what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte: the kind of error
    if code == sqlite3.SQLITE_NOTADB:
        return NotOurDatabase(f"{path} is not a database. {_RESTORE}")
    if code == sqlite3.SQLITE_CORRUPT:
        return DatabaseDamaged(f"{path} is damaged: {error}. {_RESTORE}")
    if code in _DISK_CODES:
        return DiskRefused(f"{path} cannot be opened: {error}. {_disk_of(path, error)}")
    return CannotOpen(f"{path} cannot be opened: {error}")


def refused(path: Path, error: OSError) -> DiskRefused:
    """What the operating system says about a database, as an error that says what to do."""
    return DiskRefused(f"{path} cannot be opened: {error.strerror}. {_disk_of(path, error)}")


def _disk_of(path: Path, error: Exception) -> str:
    """What an administrator may have to mend."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return "Guests go on. Look at what is mounted there (findmnt, dmesg)"
    read_only = getattr(error, "errno", 0) == errno.EROFS or "readonly" in str(error)
    if read_only or found.f_flag & os.ST_RDONLY:
        return "Guests go on. Its file system is read-only: see why (dmesg), and mount it anew"
    free_kib = found.f_bavail * found.f_frsize >> 10
    return (
        f"Guests go on. Its file system has {free_kib} KiB free: make room (df, du), or see dmesg"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
