"""`xapid doctor` on pretended hosts: a good one, and each way in which one can be bad."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from xapid.__main__ import main
from xapid.admin import own_checks, xen_checks
from xapid.admin.doctor import examine, summary
from xapid.admin.finding import Finding, Status, ok
from xapid.admin.surroundings import Surroundings, run_program
from xapid.config import Config, Listen
from xapid.http import tls as tls_module
from xapid.http.tls import load_or_make_certificate

from .hosts import SPOILT, Made


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


NOT_OF_THE_HOST = {"database", "backups", "certificate", "root"}
"""What says where xapid never ran that there is none yet; and who runs the test."""


def test_a_good_host_has_nothing_to_mend(made: Made) -> None:
    found = made.findings()

    bad = {f.name: f.line() for f in found.values() if f.status is not Status.OK}
    assert bad.keys() <= NOT_OF_THE_HOST, bad
    assert found["xen"].found == "Xen 4.17.5, and this is its control domain"
    assert found["bridges"].found == "xenbr0 (eth0)"
    assert found["ballooning"].found.endswith("(dom0_mem=2G,max:2G)")


def test_each_finding_is_one_line_and_all_but_good_ones_say_what_to_do(tmp_path: Path) -> None:
    bare = Surroundings(tmp_path, lambda arguments: None)

    for finding in examine(bare, Made(tmp_path / "config").config):
        assert "\n" not in finding.line()
        assert finding.advice or finding.status in (Status.OK, Status.SKIP), finding.line()


@pytest.mark.parametrize(("spoil", "name", "status", "told"), SPOILT)
def test_what_is_wrong_is_told(
    made: Made, spoil: Callable[[Made], None], name: str, status: Status, told: str
) -> None:
    spoil(made)

    finding = made.findings()[name]

    assert finding.status is status
    assert told in finding.found
    assert finding.advice


def test_a_certificate_that_ends_soon_is_told(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "LIFETIME", timedelta(days=20))
    load_or_make_certificate(made.root / "tls")
    soon = made.findings()["certificate"]
    shutil.rmtree(made.root / "tls")
    monkeypatch.setattr(tls_module, "LIFETIME", timedelta(minutes=-5))
    load_or_make_certificate(made.root / "tls")

    assert (soon.status, "SHA-256" in soon.found) == (Status.WARN, True)
    assert made.findings()["certificate"].status is Status.FAIL


def test_every_kind_of_finding_was_tried_bad(made: Made) -> None:
    tried = {name for _, name, _, _ in SPOILT}
    alike = {"sr-lvm-thin", "sr-nfs", "sr-ext", "qemu-img", "bridges"}  # a table, and mere news

    assert made.findings().keys() - tried - {"root"} == alike


def test_a_check_that_breaks_does_not_hide_the_others(made: Made) -> None:
    def broken(host: Surroundings, config: Config) -> Iterator[Finding]:
        raise ZeroDivisionError

    def good(host: Surroundings, config: Config) -> Iterator[Finding]:
        yield ok("good", "it is")

    found = list(examine(made.host, made.config, (broken, good)))

    assert [(f.name, f.status) for f in found[-2:]] == [("broken", "fail"), ("good", "ok")]
    assert summary(found).startswith("1 to mend")


def test_a_program_that_is_missing_or_fails_says_nothing() -> None:
    assert run_program(["xapid-no-such-program"]) is None
    assert run_program(["false"]) is None
    assert run_program(["echo", "told"]) == "told\n"


def test_the_api_is_asked_on_its_socket() -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = Path(directory) / "s"
        config = Config(listen=Listen(socket=path))
        [missing] = own_checks.answers(Surroundings(), config)
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nSESSION_INVALID")

        thread = threading.Thread(target=serve)
        thread.start()
        [found] = own_checks.answers(Surroundings(), config)
        thread.join()

    assert (missing.status, found.status) == (Status.FAIL, Status.OK)


def test_xenstore_is_really_asked_on_a_host_that_has_it(made: Made) -> None:
    host = Surroundings(made.root, made._run)

    [finding] = xen_checks.xenstored(host, made.config)

    assert finding.status is Status.FAIL
    assert "No such file" in finding.found


@pytest.mark.usefixtures("own_log")
def test_the_command_writes_lines_or_json_and_its_exit_code_says_if_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["doctor", "--state-dir", str(tmp_path)]

    code = main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--json"]) == code
    told = orjson.loads(capsys.readouterr().out)

    assert code == 1  # nobody serves the API there
    assert [entry["name"] for entry in told] == [line.split()[1] for line in lines[:-1]]
    assert {entry["status"] for entry in told} <= {"ok", "warn", "fail", "skip"}
    assert all(entry.keys() == {"name", "status", "found", "advice"} for entry in told)
