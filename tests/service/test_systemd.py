"""xapid and xapid-xen as the units run them, told apart by a pretended systemd's socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from xapid.systemd import Supervisor

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
PATIENCE_S = 30.0


class Systemd:
    """What systemd hears of a service, on a socket of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE_S)

    def heard(self) -> str:
        return self.socket.recv(4096).decode()

    def heard_of(self, word: str) -> str:
        while word not in (message := self.heard()):
            pass
        return message


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="xapid-unit-") as directory:
        yield Path(directory)


@pytest.fixture
def systemd(place: Path) -> Iterator[Systemd]:
    made = Systemd(place / "notify")
    yield made
    made.socket.close()


def begin(place: Path, systemd: Systemd, *arguments: str) -> subprocess.Popen[bytes]:
    settings = place / "xapid.toml"
    settings.write_text(
        f'state_dir = "{place}/state"\n[listen]\nhttps = "127.0.0.1:0"\nsocket = "{place}/s"\n'
        f'[xen]\ndriver = "mock"\nsocket = "{place}/xen.sock"\n'
    )
    environment = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "900000"}
    command = [sys.executable, "-m", "xapid", "--config", str(settings), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def end(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE_S)


def test_both_services_say_when_they_are_ready_reload_and_stop(
    place: Path, systemd: Systemd
) -> None:
    worker = begin(place, systemd, "--xen-worker")
    try:
        assert systemd.heard() == "READY=1"
        xapid = begin(place, systemd)
        try:
            assert systemd.heard().startswith("READY=1\nSTATUS=")
            assert systemd.heard_of("WATCHDOG=1") == "WATCHDOG=1"
            xapid.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in systemd.heard_of("RELOADING=1")
            systemd.heard_of("READY=1")
        finally:
            code = end(xapid)
        assert systemd.heard_of("STOPPING=1")
        assert code == 0
        assert worker.poll() is None, "xapid-xen ended with xapid"
    finally:
        assert end(worker) == 0
    purged = (ROOT / "packaging/debian/xapid.postrm").read_text().split()
    left = {path.name for path in (place / "state").iterdir()}
    assert left <= {word.rstrip(";") for word in purged}, "the package would leave it behind"


async def test_no_sign_of_life_comes_while_the_probe_fails(systemd: Systemd) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "60000"})
    tries = 0
    well = asyncio.Event()

    async def probe() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("not well")
        if tries == 2:
            await asyncio.Event().wait()
        well.set()

    systemd.socket.setblocking(False)
    with capture_logs() as logs:
        supervisor.keep_alive(probe)
        await asyncio.wait_for(well.wait(), PATIENCE_S)
        await supervisor.close()

    assert [line["log_level"] for line in logs] == ["error", "error"]


def test_children_do_not_inherit_the_socket_and_a_successor_does() -> None:
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "5", "A": "b"}

    supervisor = Supervisor(environment)
    assert environment == {"A": "b"}
    supervisor.give_back()

    assert environment == {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "5", "A": "b"}


def test_without_systemd_nothing_is_told() -> None:
    supervisor = Supervisor({})

    supervisor.ready("well")

    assert supervisor.watchdog_s == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_the_units_are_valid(place: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/sbin/xapid", "/bin/true")
        (place / unit.name).write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(place.glob("*.service")))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if str(place) in line]
