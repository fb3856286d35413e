"""The file that a backup is: a compressed tar archive that begins with a list of what it holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from ..durable import sync_directory

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATABASE: Final = "state.db"
MAX_BYTES: Final = 1 << 30  # of all that an archive holds, unpacked
MAX_MEMBERS: Final = 1000
_MAX_MANIFEST: Final = 1 << 20
# Directories and names without a dot in front: nothing that leads elsewhere.
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/){0,2}[A-Za-z0-9_-][\w.-]{0,254}")


class ArchiveDamaged(Exception):  # noqa: N818
    """The file is not a backup that can be trusted; the text says why."""


@dataclass(frozen=True)
class Member:
    """One file of a backup. name: below which directory it belongs, and its own."""

    name: str
    content: bytes
    mode: int = 0o600


@dataclass(frozen=True)
class Archive:
    """A backup in memory. facts: what its list says of where and how it was made."""

    made: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()

    def find(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)


def is_name(name: str) -> bool:
    """Whether a backup may hold a file of this name."""
    return _NAME.fullmatch(name) is not None and name != MANIFEST


def write(archive: Archive, target: Path) -> None:
    """Write a new file, readable by its owner only, that is on the disk when this returns.

    Raises OSError; what was written until then stays.
    """
    descriptor = os.open(
        target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    with os.fdopen(descriptor, "wb") as file:
        with (
            gzip.GzipFile("", "wb", 6, file, archive.made.timestamp()) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for member in (Member(MANIFEST, _manifest(archive)), *archive.members):
                info = tarfile.TarInfo(member.name)
                info.size, info.mode = len(member.content), member.mode
                info.mtime = int(archive.made.timestamp())
                tar.addfile(info, io.BytesIO(member.content))
        file.flush()
        os.fsync(descriptor)
    sync_directory(target.parent)


def read(path: Path) -> Archive:
    """Read a backup and compare every file in it with the list. Raises ArchiveDamaged, OSError."""
    with path.open("rb") as file, _told(path.name), gzip.GzipFile(fileobj=file) as packed:
        return _archive(*_unpack(packed))


def read_facts(path: Path) -> Archive:
    """Read only the list of a backup. Raises ArchiveDamaged, OSError."""
    with (
        path.open("rb") as file,
        _told(path.name),
        gzip.GzipFile(fileobj=file) as packed,
        _opened(packed) as tar,
    ):
        return _archive(orjson.loads(_content(tar, tar.next())), None)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever is wrong with a file, as ArchiveDamaged."""
    try:
        yield
    except ArchiveDamaged as error:
        raise ArchiveDamaged(f"{name}: {error}") from error
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise ArchiveDamaged(f"{name} is damaged: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArchiveDamaged(f"{name}: its list cannot be read: {error}") from error


def _manifest(archive: Archive) -> bytes:
    files = {
        member.name: {"sha256": _sum(member.content), "size": len(member.content)}
        for member in archive.members
    }
    values = {"format": FORMAT, "made": archive.made.isoformat(), **archive.facts, "files": files}
    return orjson.dumps(values, option=orjson.OPT_INDENT_2)


def _opened(packed: gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=packed, mode="r|")


def _unpack(packed: gzip.GzipFile) -> tuple[Any, list[Member]]:
    members: list[Member] = []
    left = MAX_BYTES
    with _opened(packed) as tar:
        manifest = orjson.loads(_content(tar, tar.next()))
        while (info := tar.next()) is not None:
            if not info.isreg() or not is_name(info.name) or len(members) >= MAX_MEMBERS:
                raise ArchiveDamaged(f"{info.name!r} has no place in a backup")
            if info.size > left:
                raise ArchiveDamaged(f"it holds more than {MAX_BYTES >> 20} MiB")
            left -= info.size
            members.append(Member(info.name, _content(tar, info, MAX_BYTES), info.mode & 0o777))
    return manifest, members


def _content(
    tar: tarfile.TarFile, info: tarfile.TarInfo | None, most: int = _MAX_MANIFEST
) -> bytes:
    if info is None or info.size > most or (most == _MAX_MANIFEST and info.name != MANIFEST):
        raise ArchiveDamaged("it does not begin with a list of what it holds")
    file = tar.extractfile(info)
    content = file.read() if file is not None else b""
    if len(content) != info.size:
        raise ArchiveDamaged("it was cut short")
    return content


def _archive(manifest: Any, members: Iterable[Member] | None) -> Archive:
    """What a list and the files of an archive say together. members: None does not compare."""
    if manifest["format"] != FORMAT:
        raise ArchiveDamaged(f"its format is {manifest['format']!r}: a newer xapid can read it")
    files = manifest["files"]
    facts = {k: v for k, v in manifest.items() if k not in ("format", "made", "files")}
    made = datetime.fromisoformat(manifest["made"])
    if members is None:
        return Archive(made, facts)
    found = {member.name: member for member in members}
    if found.keys() != files.keys():
        odd = sorted(found.keys() ^ files.keys())
        raise ArchiveDamaged(f"it does not hold what its list says: {', '.join(odd)}")
    for name, member in found.items():
        if files[name]["sha256"] != _sum(member.content):
            raise ArchiveDamaged(f"{name} is not what was written")
    return Archive(made, facts, tuple(found.values()))


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
