"""A certificate whose files are replaced while the daemon runs."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from xapid.http import tls
from xapid.http.certificate_watch import CertificateWatch
from xapid.http.tls import load_or_make_certificate


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(tmp_path: Path, clock: Clock) -> CertificateWatch:
    context = load_or_make_certificate(tmp_path / "tls")
    return CertificateWatch(context, tmp_path / "tls", (), clock=clock)


def replace(directory: Path, other: Path, *names: str) -> None:
    for name in names:
        staged = directory / f"{name}.staged"
        staged.write_bytes((other / name).read_bytes())
        staged.replace(directory / name)


def told(logs: Any) -> list[str]:
    return [line["event"] for line in logs if line["event"] == "certificate in use"]


def test_new_files_are_loaded_once_they_have_settled(
    watch: CertificateWatch, tmp_path: Path
) -> None:
    load_or_make_certificate(tmp_path / "new")
    with capture_logs() as logs:
        watch.check(watch._look())
        replace(tmp_path / "tls", tmp_path / "new", "server.crt")
        watch.check(watch._look())
        replace(tmp_path / "tls", tmp_path / "new", "server.key")
        watch.check(watch._look())
        assert told(logs) == [], "the pair was loaded while it was being replaced"
        watch.check(watch._look())
        watch.check(watch._look())

    assert told(logs) == ["certificate in use"]


def test_a_pair_that_does_not_fit_is_told_once_and_the_old_one_stays(
    watch: CertificateWatch, tmp_path: Path
) -> None:
    load_or_make_certificate(tmp_path / "new")
    replace(tmp_path / "tls", tmp_path / "new", "server.crt")

    with capture_logs() as logs:
        for _ in range(4):
            watch.check(watch._look())
    assert [line["log_level"] for line in logs] == ["error"]

    replace(tmp_path / "tls", tmp_path / "new", "server.key")
    with capture_logs() as logs:
        for _ in range(3):
            watch.check(watch._look())
    assert told(logs) == ["certificate in use"]


def test_files_that_are_gone_for_a_moment_change_nothing(
    watch: CertificateWatch, tmp_path: Path
) -> None:
    key = tmp_path / "tls/server.key"
    kept = key.read_bytes()
    key.unlink()

    with capture_logs() as logs:
        for _ in range(3):
            watch.check(watch._look())

    assert logs == []
    key.write_bytes(kept)


def test_one_of_ours_is_made_anew_before_it_ends(
    watch: CertificateWatch, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LIFETIME", timedelta(days=20))
    tls._make_certificate(
        tmp_path / "tls/server.crt", tls._load_key(tmp_path / "tls/server.key"), ()
    )
    monkeypatch.undo()
    watch.load()
    before = watch.ends

    watch.check(watch._look())

    assert watch.ends - clock() > timedelta(days=800)
    assert before < watch.ends or before - clock() > timedelta(days=800)


def test_a_foreign_one_that_ends_is_told_of_once_a_day(
    watch: CertificateWatch, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_is_ours_and_ends", lambda path: False)
    clock.now = watch.ends - timedelta(days=3)

    with capture_logs() as logs:
        for _ in range(5):
            watch.check(watch._look())
        clock.now += timedelta(days=1, seconds=1)
        watch.check(watch._look())

    assert len(told(logs)) == 2


async def test_it_looks_by_itself_and_connections_that_stand_go_on(
    site: Any, call: Any, tmp_path: Path
) -> None:
    standing = await site.connect_tls()
    load_or_make_certificate(tmp_path / "new")
    watch = CertificateWatch(site.tls, tmp_path / "tls", (), every_s=0.01)
    watch.start()

    with capture_logs() as logs:
        replace(tmp_path / "tls", tmp_path / "new", "server.crt", "server.key")
        async with asyncio.timeout(10):
            while not told(logs):  # noqa: ASYNC110 - it tells the log alone
                await asyncio.sleep(0.005)
    await watch.close()

    context = ssl.create_default_context(cafile=tmp_path / "new/server.crt")
    _, writer = await asyncio.open_connection(*site.server.https_address, ssl=context)
    writer.close()
    standing.send(call())
    assert (await standing.response())[0] == 200
