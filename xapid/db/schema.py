"""The database file: its lock, its settings, and the migrations that bring it up to date."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from .failures import CannotOpen, NotOurDatabase, SchemaTooNew, StoreInUse

APPLICATION_ID = 0x78617069
BUSY_TIMEOUT_MS = 5000

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
    fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the file is ours and not from the future, and migrate it.

    Raises NotOurDatabase, SchemaTooNew.
    """
    steps = migrations()
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (tables or version or application):
        raise NotOurDatabase(f"{path} is a database of another program")
    if version > len(steps):
        raise SchemaTooNew(
            f"{path} has schema {version}, this xapid knows up to {len(steps)}: "
            "run the version that wrote it, or a newer one"
        )
    connection.execute("PRAGMA journal_mode = WAL")
    for number, step in enumerate(steps[version:], version + 1):
        try:
            connection.executescript(f"BEGIN;\n{step}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
