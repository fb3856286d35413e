"""A copy of the database while it is in use, believed only after it was read back."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from . import schema
from .failures import BackupFailed


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
        _sync(target.parent)
        return target.stat().st_size
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"the copy {target} could not be made: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


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
        faults = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if faults != [("ok",)]:
            raise BackupFailed(f"the copy is damaged: {faults[0][0]}")
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
