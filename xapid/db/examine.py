"""What is in a database file, said without changing it and without needing it whole."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..datamodel.declare import NULL, Class, Ref
from . import schema
from .failures import DatabaseDamaged, DiskRefused, NotOurDatabase
from .layout import Layout, layouts_of
from .writer import Stored, load

MAX_TOLD = 20
_WAL_VERSIONS = slice(18, 20)  # of a database's header: 2 2 where it needs a log, else 1 1
_HEADER = b"SQLite format 3\0"


@dataclass(frozen=True)
class Findings:
    """What a database holds.

    schema: the number of its last migration. objects: how many there are of each class.
    faults: what makes it unusable. notes: what starts from defaults when it is used.
    """

    schema: int
    objects: Mapping[str, int]
    accounts: int
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def examine_file(path: Path, classes: Mapping[str, type[Class]]) -> Findings:
    """Look at every page and every row of a database, which may be in use.

    classes: all classes of the datamodel by wire name.
    Raises CannotOpen: DiskRefused, NotOurDatabase, SchemaTooNew.
    """
    if not path.exists():
        raise DiskRefused(f"{path} is not there")
    try:
        with closing(_connect(path)) as connection:
            return _examine(connection, path.name, classes)
    except sqlite3.Error as error:
        raise schema.told(path, error) from error


def examine_image(content: bytes, name: str, classes: Mapping[str, type[Class]]) -> Findings:
    """The same for the content of a database file that nobody uses; it is not written anywhere."""
    if not content.startswith(_HEADER):
        raise NotOurDatabase(f"{name} is not a database")
    image = bytearray(content)
    image[_WAL_VERSIONS] = b"\1\1"
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.deserialize(bytes(image))
            return _examine(connection, name, classes)
    except sqlite3.Error as error:
        raise schema.told(Path(name), error) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open it to read; on a medium that cannot be written, without the log if that is empty."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise
        return sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
    except BaseException:
        connection.close()
        raise
    return connection


def _examine(
    connection: sqlite3.Connection, name: str, classes: Mapping[str, type[Class]]
) -> Findings:
    version = schema.check(connection, name)
    faults = schema.damage(connection, MAX_TOLD)
    if faults:
        return Findings(version, {}, 0, tuple(faults))
    if version < len(schema.migrations()):
        note = f"it has schema {version} and is brought up to date when xapid starts"
        return Findings(version, {}, 0, (), (note,))
    stored = load(connection)
    notes: list[str] = []
    for told, is_fault in _rows(stored, classes):
        (faults if is_fault else notes).append(told)
    objects = Counter(class_name for _, class_name, _ in stored.objects)
    return Findings(version, objects, len(stored.credentials), tuple(faults), tuple(notes))


def _rows(stored: Stored, classes: Mapping[str, type[Class]]) -> Iterator[tuple[str, bool]]:
    """What is wrong with the rows, each with whether it is a fault."""
    layouts = {cls.wire: layout for cls, layout in layouts_of(classes).items()}
    known: dict[str, Ref[Any]] = {NULL: NULL, **{ref: Ref(ref) for ref, _, _ in stored.objects}}
    for ref, class_name, body in stored.objects:
        layout = layouts.get(class_name)
        if layout is None:
            yield f"{class_name} {ref} is of a class that this version lacks", False
            continue
        try:
            lost = _lost_fields(layout, ref, body, known)
        except DatabaseDamaged as error:
            yield str(error), True
            continue
        if lost:
            yield f"{class_name} {ref}: {', '.join(lost)} start from their defaults", False


def _lost_fields(layout: Layout, ref: str, body: bytes, known: Mapping[str, Ref[Any]]) -> list[str]:
    """The stored fields that would not be taken as they stand. Raises DatabaseDamaged."""
    taken = layout.encode(layout.decode(ref, body, known, quiet=True))
    if taken == body:
        return []
    before, after = orjson.loads(body), orjson.loads(taken)
    return sorted(name for name in after if name in before and before[name] != after[name])
