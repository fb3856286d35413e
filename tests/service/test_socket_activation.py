"""Sockets that systemd opened before xapid started."""

from __future__ import annotations

import http.client
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

from xapid.systemd import FIRST_PASSED, Supervisor

UNIT = Path(__file__).parents[2] / "systemd/xapid.socket"
PATIENCE_S = 30.0
SHOWN = {
    *("xapid_calls_total", "xapid_call_duration_seconds_bucket", "xapid_call_failures_total"),
    *("xapid_callers", "xapid_calls_waiting", "xapid_calls_delayed_total", "xapid_connections"),
    *("xapid_sessions", "xapid_tasks", "xapid_loop_lag_seconds_bucket", "xapid_db_queue"),
    *("xapid_db_size_bytes", "xapid_db_commit_seconds_bucket", "xapid_libxl_operations"),
    *("xapid_libxl_operation_seconds_bucket", "xapid_certificate_expires_timestamp_seconds"),
    *("xapid_host_memory_bytes", "xapid_host_cpu_ratio", "xapid_guest_memory_bytes"),
    *("process_resident_memory_bytes", "process_open_fds", "xapid_info"),
}
# Puts the sockets where systemd does, and becomes xapid.
START = """
import os, sys
for place, descriptor in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(descriptor, place)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(place - 2)}
os.execv(sys.executable, [sys.executable, "-m", "xapid", *sys.argv[2:]])
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="xapid-socket-") as directory:
        yield Path(directory)


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    path.chmod(0o640)
    made.listen()
    return made


def ask(path: Path, target: str = "/") -> tuple[int, str]:
    """Connect, which succeeds before anybody accepts, and read a page."""
    connection = http.client.HTTPConnection("x", timeout=PATIENCE_S)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(PATIENCE_S)
    connection.sock.connect(str(path))
    connection.request("GET", target)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_clients_wait_while_xapid_starts_and_the_sockets_outlive_it(place: Path) -> None:
    paths = [place / "s", place / "xcp"]
    sockets = [listening(path) for path in paths]
    numbers = [each.fileno() + 100 for each in sockets]
    for each, number in zip(sockets, numbers, strict=True):
        os.dup2(each.fileno(), number)
    settings = place / "xapid.toml"
    settings.write_text(f'[listen]\nhttps = ""\nsocket_links = ["{paths[1]}"]\n')
    command = [sys.executable, "-c", START, ",".join(map(str, numbers)), "--config", str(settings)]
    command += ["--state-dir", str(place / "state"), "--socket", str(paths[0]), "--xen", "mock"]

    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, pass_fds=numbers, stdout=subprocess.DEVNULL, stderr=log)
    try:
        statuses = [ask(path)[0] for path in paths]
        health, (_, figures) = ask(paths[0], "/healthz"), ask(paths[1], "/metrics")
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_S)
        for number in numbers:
            os.close(number)

    assert statuses == [200, 200], (place / "log").read_text()
    assert code == 0
    assert health == (200, "ok\n")
    names = {line.split("{")[0].split(" ")[0] for line in figures.splitlines()}
    assert names >= SHOWN, SHOWN - names
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o640] * 2, "they are systemd's"
    assert "do not find the socket" not in (place / "log").read_text()
    for each in sockets:
        each.close()


def test_sockets_for_another_process_are_not_taken() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "2"}

    supervisor = Supervisor(environment)

    assert supervisor.unix_sockets() == []
    assert environment == {}, "children must not take them for theirs"


def test_what_is_no_listening_unix_socket_is_refused() -> None:
    code = f"""
import os, socket
from structlog.testing import capture_logs
from xapid.systemd import Supervisor
made = socket.socket(socket.AF_INET)
os.dup2(made.fileno(), {FIRST_PASSED})
supervisor = Supervisor({{"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}})
with capture_logs() as logs:
    assert supervisor.unix_sockets() == []
assert logs[0]["log_level"] == "warning"
assert not os.get_inheritable({FIRST_PASSED})
supervisor.give_back()
assert os.get_inheritable({FIRST_PASSED}), "the successor has it again"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_understands(place: Path) -> None:
    unit = place / "xapid.socket"
    unit.write_text(UNIT.read_text().replace("SocketGroup=xapid", "SocketGroup=root"))
    (place / "xapid.service").write_text("[Service]\nExecStart=/bin/true\n")

    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, [x for x in done.stderr.splitlines() if "xapid" in x]) == (0, [])
