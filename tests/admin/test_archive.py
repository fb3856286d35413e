"""The file that a backup is: what goes in comes out, and nothing else is ever taken."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xapid.admin import archive
from xapid.admin.archive import Archive, ArchiveDamaged, Member

MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEMBERS = (
    Member("state.db", b"SQLite" * 200),
    Member("tls/server.key", b"secret", 0o640),
    Member("settings/conf.d/50-site.toml", b"", 0o644),
)


def written(directory: Path, members: tuple[Member, ...] = MEMBERS) -> Path:
    target = directory / "backup.tar.gz"
    archive.write(Archive(MADE, {"host": "here"}, members), target)
    return target


def packed(directory: Path, *infos: tuple[tarfile.TarInfo, bytes]) -> Path:
    target = directory / "odd.tar.gz"
    with gzip.open(target, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        for info, content in infos:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    found = archive.read(written(tmp_path))

    assert found == Archive(MADE, {"host": "here"}, MEMBERS)


def test_it_is_readable_by_its_owner_only_and_takes_no_files_place(tmp_path: Path) -> None:
    target = written(tmp_path)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        written(tmp_path)


def test_its_list_is_read_without_the_rest(tmp_path: Path) -> None:
    target = written(tmp_path)
    found = archive.read_facts(target)

    assert (found.made, found.facts, found.members) == (MADE, {"host": "here"}, ())


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=80)
def test_a_changed_bit_is_noticed_or_changes_nothing(place: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = written(Path(directory))
        content = bytearray(target.read_bytes())
        content[place % len(content)] ^= 1 << bit
        target.write_bytes(content)
        try:
            found = archive.read(target)
        except ArchiveDamaged:
            return
        assert [(m.name, m.content) for m in found.members] == [
            (m.name, m.content) for m in MEMBERS
        ]


@given(length=st.integers(0, 10_000))
@settings(max_examples=50)
def test_a_backup_that_was_cut_short_is_refused_or_whole(length: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = written(Path(directory))
        content = target.read_bytes()
        target.write_bytes(content[: length % len(content)])
        try:
            assert archive.read(target).members == MEMBERS  # only the padding is gone
        except ArchiveDamaged:
            return


def test_half_a_backup_is_refused(tmp_path: Path) -> None:
    target = written(tmp_path)
    content = target.read_bytes()
    target.write_bytes(content[: len(content) // 2])

    with pytest.raises(ArchiveDamaged, match="damaged"):
        archive.read(target)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "tls/../../evil", ".hidden", "a/b/c/d", "tls/", "a b"]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    list_ = (tarfile.TarInfo(archive.MANIFEST), b'{"format": 1, "made": "", "files": {}}')
    target = packed(tmp_path, list_, (tarfile.TarInfo(name), b"x"))

    with pytest.raises(ArchiveDamaged, match="has no place"):
        archive.read(target)


def test_a_link_in_a_backup_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("tls/server.key")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    list_ = (tarfile.TarInfo(archive.MANIFEST), b'{"format": 1, "made": "", "files": {}}')

    with pytest.raises(ArchiveDamaged, match="has no place"):
        archive.read(packed(tmp_path, list_, (link, b"")))


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (b"", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"format": 2}', "a newer xapid"),
        (b'{"format": 1, "made": "2026-01-01", "files": {"gone": {}}}', "does not hold"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, manifest: bytes, told: str) -> None:
    target = packed(tmp_path, (tarfile.TarInfo(archive.MANIFEST), manifest))

    with pytest.raises(ArchiveDamaged, match=told):
        archive.read(target)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveDamaged, match="does not begin with a list"):
        archive.read(packed(tmp_path, (tarfile.TarInfo("photos/cat.jpg"), b"x")))
