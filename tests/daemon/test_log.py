"""The log of a whole daemon: one id from a task to libxl, and never a secret."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from xapid.__main__ import main

from .conftest import (
    PATIENCE_S,
    Client,
    Daemon,
    Failure,
    UnixConnection,
    disk,
    drive,
    eventually,
    storage,
    vm_values,
)


@pytest.fixture(scope="module")
def talkative() -> Iterator[Daemon]:
    """A daemon that logs all that it can."""
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        running = Daemon(Path(directory), ("--log-level", "debug"))
        running.start()
        try:
            yield running
        finally:
            running.stop()


def test_one_id_leads_from_a_task_to_libxl(talkative: Daemon) -> None:
    client = talkative.client()
    vm = client("VM.create", vm_values())

    task = client("Async.VM.start", vm, False, False)
    client.wait_for_task(task)

    call = task.removeprefix("OpaqueRef:")[:8]
    assert client("task.get_uuid", task) == task.removeprefix("OpaqueRef:")

    def about() -> list[str]:
        lines = [line for line in talkative.errors if f"call={call}" in line]
        return lines if any("VM.start" in line for line in lines) else []

    lines = eventually(about)
    assert any(re.search(r"domain_create outcome=done ms=\d", line) for line in lines)
    assert not any("VM.create" in line for line in lines)


def test_what_libxl_says_of_a_failure_carries_the_id(talkative: Daemon) -> None:
    client = talkative.client()
    vm = client("VM.create", vm_values())
    client("VM.start", vm, False, False)
    rule = "b'libxl_domain_pause', 0, -3, 1, 0xffffffff, ffi.NULL"
    talkative.xen(f"assert lib.xapid_mock_fail({rule}) == 0")

    task = client("Async.VM.pause", vm)
    assert client.wait_for_task(task)["status"] == "failure"

    call = f"call={task.removeprefix('OpaqueRef:')[:8]}"
    lines = [line for line in talkative.errors if call in line]
    assert any("domain_pause outcome=ERROR_FAIL" in line for line in lines)
    assert any("(operation): " in line for line in lines)  # libxl's own words


@pytest.mark.usefixtures("own_log")
def test_no_secret_is_ever_logged(talkative: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    client = talkative.client()
    first = (talkative.state / "root-password").read_text().strip()
    wrong, new, chap = "wr0ng-Passw0rd", "n3w-Passw0rd", "ch4p-Secr3t"
    secrets = [first, wrong, new, chap, client.session]

    with pytest.raises(Failure):
        client.raw("session.login_with_password", "root", wrong)
    with pytest.raises(Failure):
        client.raw("session.login_with_password", wrong, wrong)
    secrets.append(client.raw("session.login_with_password", "root", first))
    with pytest.raises(Failure):
        client("session.change_password", wrong, new)
    client("session.change_password", first, new)
    again = Client(talkative.socket, new)
    talkative.clients.append(again)
    secrets.append(again.session)
    iscsi = {"target": "127.0.0.1", "targetIQN": "iqn.x", "chapuser": "u", "chappassword": chap}
    host = client("host.get_all")[0]
    with pytest.raises(Failure):
        client("SR.create", host, iscsi, "0", "san", "", "lvmoiscsi", "", False, {})
    with contextlib.suppress(Failure):
        client("SR.introduce", "0" * 36, "san", "", "lvmoiscsi", "", False, iscsi)
    with pytest.raises(Failure):
        client("VM.no_such_method", client.session, wrong)
    vm = client("VM.create", vm_values())
    drive(client, vm, disk(client, storage(client, talkative)))
    client.wait_for_task(client("Async.VM.start", vm, False, False))
    for path in (
        f"/?session_id={client.session}",
        f"/pool_patch_upload?session_id={client.session}",
    ):
        ask(talkative, "PUT", path, b"no patch")
    ask(talkative, "POST", "/", f"<methodCall><{wrong}".encode())
    ask(talkative, "POST", f"/{wrong}", b"", {"Cookie": f"session_id={client.session}"})
    key = (talkative.state / "tls/server.key").read_text().splitlines()[1:-1]
    for command in (["backup", "create"], ["backup", "list"], ["db", "check"], ["doctor"]):
        main([*command, "--state-dir", str(talkative.state)])
    administered = "".join(capsys.readouterr())
    client("session.logout")
    talkative.stop()

    log = "".join(talkative.errors) + administered
    assert len(talkative.errors) > 30 and "verified" in administered
    for secret in (*secrets, *(secret.removeprefix("OpaqueRef:") for secret in secrets), *key):
        assert len(secret) > 8
        assert secret not in log
    assert "$argon2" not in log


def ask(
    daemon: Daemon, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    """Send a request as no good client would, over the socket and over HTTPS."""
    found = re.search(r"https=127\.0\.0\.1:(\d+)", daemon.ready)
    assert found is not None
    tls = ssl.create_default_context(cafile=str(daemon.state / "tls/server.crt"))
    for connection in (
        UnixConnection(str(daemon.socket)),
        http.client.HTTPSConnection("127.0.0.1", int(found[1]), context=tls, timeout=PATIENCE_S),
    ):
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request(method, path, body, headers or {})
            connection.getresponse().read()
