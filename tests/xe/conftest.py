"""`xe` on a whole daemon on the mock: run in this process, and where it matters as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from xapid.xe.__main__ import main

from ..daemon.conftest import PATIENCE_S, Client, Daemon


@dataclass
class Ran:
    """What one run of `xe` did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Xe:
    """Runs `xe` against a daemon as its own user would."""

    daemon: Daemon
    client: Client
    home: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Ran:
        before = signal.getsignal(signal.SIGTERM)
        try:
            code = main(["--socket", str(self.daemon.socket), *words])
        finally:
            signal.signal(signal.SIGTERM, before)
        captured = self.capture.readouterr()
        return Ran(code, captured.out, captured.err)

    def ok(self, *words: str) -> str:
        """The output of a run that must succeed, without the last line's end."""
        ran = self(*words)
        assert (ran.code, ran.err) == (0, ""), ran
        return ran.out.removesuffix("\n")

    def refused(self, *words: str, code: int = 1) -> str:
        """The complaint of a run that must fail."""
        ran = self(*words)
        assert ran.code == code and not ran.out, ran
        assert "Traceback" not in ran.err
        return ran.err

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config")}

    def program(self, *words: str) -> subprocess.Popen[str]:
        """`xe` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "xapid.xe", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
        )

    def finished(self, *words: str) -> Ran:
        """A process of its own that has ended."""
        process = self.program(*words)
        out, err = process.communicate(timeout=PATIENCE_S)
        return Ran(process.returncode, out, err)


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Daemon, Client]]:
    """One daemon for all tests of a module."""
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        daemon = Daemon(Path(directory))
        daemon.start()
        try:
            yield daemon, daemon.client()
        finally:
            daemon.stop()


@pytest.fixture
def xe(
    running: tuple[Daemon, Client],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Xe:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("XE_EXTRA_ARGS", raising=False)
    monkeypatch.delenv("XE_PASSWORD_FILE", raising=False)
    return Xe(*running, tmp_path, capsys)
