"""Reaching a server over HTTPS: certificates that are trusted, new, changed or vouched for."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import Ran, Xe


class Afar:
    """`xe` over the network, with the password in a file."""

    def __init__(self, xe: Xe) -> None:
        found = re.search(r"https=127\.0\.0\.1:(\d+)", xe.daemon.ready)
        assert found is not None
        self.xe = xe
        self.port = found[1]
        self.known = xe.home / "config" / "xapid" / "known_hosts"
        self.options = (
            "-s", "127.0.0.1", "-p", self.port, "-u", "root",
            "-pwf", str(xe.daemon.state / "root-password"),
        )  # fmt: skip

    def __call__(self, *words: str) -> Ran:
        return self.xe.finished(*self.options, *words)


@pytest.fixture
def afar(xe: Xe) -> Afar:
    return Afar(xe)


def certificate(afar: Afar) -> Path:
    return afar.xe.daemon.state / "tls" / "server.crt"


def fingerprint(afar: Afar) -> str:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(certificate(afar))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return shown.stdout.strip().partition("=")[2]


def test_an_unknown_server_is_refused_where_nobody_can_be_asked(afar: Afar) -> None:
    ran = afar("vm-list")

    assert (ran.code, ran.out) == (1, "")
    assert "nothing was sent" in ran.err and fingerprint(afar) in ran.err
    assert not afar.known.exists()


def test_a_server_is_remembered_at_its_first_use_and_refused_once_it_changed(afar: Afar) -> None:
    assert afar("--trust-new", "host-list", "--minimal").code == 0
    assert afar("host-list", "--minimal").code == 0
    text = afar.known.read_text()
    assert f"127.0.0.1:{afar.port} sha256={fingerprint(afar)}\n" in text
    assert afar.known.stat().st_mode & 0o777 == 0o600

    afar.known.write_text(text.replace(fingerprint(afar), "00:" * 31 + "00"))
    ran = afar("--trust-new", "host-list")

    assert (ran.code, ran.out) == (1, "")
    assert "not the one of last time" in ran.err and str(afar.known) in ran.err


def test_a_fingerprint_given_by_hand_decides_alone(afar: Afar) -> None:
    right = afar("--fingerprint", fingerprint(afar).replace(":", "").lower(), "host-list")
    wrong = afar("--fingerprint", "11" * 32, "host-list")
    nonsense = afar("--fingerprint", "11", "host-list")

    assert (right.code, wrong.code, nonsense.code) == (0, 1, 2)
    assert "nothing was sent" in wrong.err and "is not a SHA-256" in nonsense.err


def test_a_file_of_authorities_vouches_for_the_server(afar: Afar) -> None:
    assert afar("--ca", str(certificate(afar)), "host-list").code == 0
    other = afar("--ca", "/etc/ssl/no-such-file", "host-list")

    assert other.code == 2 and not afar.known.exists()


def test_a_wrong_password_is_told_in_a_sentence_without_it(afar: Afar) -> None:
    wrong = afar.xe.home / "wrong"
    wrong.write_text("not the password\n")
    wrong.chmod(0o600)

    ran = afar("--fingerprint", fingerprint(afar), "-pwf", str(wrong), "vm-list")

    assert ran.code == 1 and "does not let root in" in ran.err
    assert "not the password" not in ran.err


def test_without_a_terminal_nobody_is_asked_for_a_password(afar: Afar) -> None:
    words = ("-s", "127.0.0.1", "-p", afar.port, "--fingerprint", fingerprint(afar), "vm-list")
    process = subprocess.run(
        [sys.executable, "-m", "xapid.xe", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
        env=afar.xe.environment(), start_new_session=True,
    )  # fmt: skip

    assert process.returncode == 1 and "no terminal to ask" in process.stderr


def test_a_host_that_does_not_answer_is_told_with_its_port(xe: Xe) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        ran = xe.finished("-s", "127.0.0.1", "-p", str(port), "vm-list")

    assert ran.code == 1 and f"127.0.0.1 does not answer on port {port}" in ran.err


def test_a_server_that_speaks_no_xenapi_is_told_as_such(xe: Xe, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                call = b""
                while not call.rstrip().endswith(b"</methodCall>"):
                    call += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        serving = threading.Thread(target=answer)
        serving.start()
        ran = xe.finished("--socket", str(path), "vm-list")
        serving.join()

    assert ran.code == 1 and "no result of the XenAPI" in ran.err and "Traceback" not in ran.err


def test_a_host_without_xapid_is_told_how_to_start_it(xe: Xe, tmp_path: Path) -> None:
    ran = xe.finished("--socket", str(tmp_path / "none"), "vm-list")

    assert ran.code == 1 and "systemctl" in ran.err
