"""A copy of the database while it is in use, believed only after it was read back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from ..durable import replace_file, sync_directory
from . import schema
from .failures import BackupFailed

BACKUPS: Final = "backup"
"""The directory beside the database that copies of it are kept in."""


def write_copy(source: Path, target: Path) -> int:
    """Copy the database to a new file, readable by its owner only; returns its size in bytes.

    The file appears under its name once it is whole, checked and on disk. For a thread.
    Raises BackupFailed; then no file is left.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        schema.touch_private(partial)
        wanted = _vacuum(source, partial)
        _check(partial, wanted)
        _sync(partial)
        partial.replace(target)
        sync_directory(target.parent)
        return target.stat().st_size
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"the copy {target} could not be made: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def put_back(content: bytes, path: Path, aside: Path) -> None:
    """Put the content of a copy in the place of the database, which goes to a directory.

    The caller holds the database's lock. At every moment the old database or the new one stands
    there whole, unless the old one was damaged. Raises OSError.
    """
    log = path.with_name(path.name + "-wal")
    for old in (path, log):
        if old.exists():
            schema.touch_private(aside / old.name)
            shutil.copyfile(old, aside / old.name)
            _sync(aside / old.name)
    sync_directory(aside)
    _empty_log(path)
    for old in (log, path.with_name(path.name + "-shm")):  # the new one has no part in them
        old.unlink(missing_ok=True)
    sync_directory(path.parent)
    replace_file(path, content)


def _empty_log(path: Path) -> None:
    """Bring what is in the log into the file, where it can be read at all."""
    if not path.exists():
        return
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        return  # a copy of it was kept as it was
    finally:
        connection.close()


def _vacuum(source: Path, target: Path) -> tuple[int, int]:
    connection = sqlite3.connect(source, isolation_level=None)
    try:
        schema.configure(connection)
        connection.execute("VACUUM INTO ?", (str(target),))
        return _marks(connection)
    finally:
        connection.close()


def _check(copy: Path, wanted: tuple[int, int]) -> None:
    """Read every page and every row of the copy."""
    connection = sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)
    try:
        if faults := schema.damage(connection):
            raise BackupFailed(f"the copy is damaged: {faults[0]}")
        if _marks(connection) != wanted:
            raise BackupFailed("the copy is not of the schema of the database")
        for table in ("object", "credential", "meta"):
            connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - names of ours
    finally:
        connection.close()


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
