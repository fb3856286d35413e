"""Accounts of the host: what PAM says decides, and one that hangs or fails holds up nobody."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from xapid.datamodel.declare import NULL
from xapid.datamodel.errors import ChangePasswordRejected, SessionAuthenticationFailed, TooBusy
from xapid.rpc import pam_check
from xapid.rpc.accounts import MAX_WAITING, Throttle
from xapid.rpc.call import LOCAL, ApiCall
from xapid.rpc.local_peer import LOCAL_PEER, LocalPeer, read_peer, trusted_name
from xapid.rpc.logins import Logins
from xapid.rpc.sessions import Sessions
from xapid.rpc.system_accounts import SystemAccounts

PEER = "192.0.2.1"
GROUP = "no-such-group"


def pretender(code: str) -> tuple[str, ...]:
    """A program in the place of the one that asks PAM."""
    return (sys.executable, "-I", "-S", "-c", f"import json, sys; q = json.load(sys.stdin); {code}")


def accounts(store: Any, directory: Path, code: str = "", **changed: Any) -> SystemAccounts:
    if code:
        changed["program"] = pretender(code)
    return SystemAccounts(store, directory, group=GROUP, **changed)


async def refused(checked: SystemAccounts, name: str, password: str, peer: str = PEER) -> bool:
    try:
        await checked.verify(name, password, peer)
    except SessionAuthenticationFailed:
        return True
    return False


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    """A PAM service whose only password is "right", for anybody who comes from PEER."""
    if os.geteuid() != 0 or not Path("/etc/pam.d").is_dir():
        pytest.skip("only root can add a PAM service")
    try:
        ctypes.CDLL("libpam.so.0")
    except OSError:
        pytest.skip("there is no libpam")
    script = tmp_path / "check"
    script.write_text(f'#!/bin/sh\ntest "$PAM_RHOST" = {PEER} && test "$(tr -d "\\0")" = right\n')
    script.chmod(0o755)
    for parent in [script, *script.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    name = f"xapid-test-{uuid.uuid4().hex[:12]}"
    path = Path("/etc/pam.d") / name
    path.write_text(
        f"auth required pam_exec.so quiet expose_authtok {script}\naccount required pam_permit.so\n"
    )
    yield name
    path.unlink()


class TestRealPam:
    async def test_the_right_password_of_root_is_accepted(
        self, store: Any, tmp_path: Path, service: str
    ) -> None:
        checked = accounts(store, tmp_path, service=service)
        await checked.prepare()

        assert await checked.verify("root", "right", PEER) == checked.user("root")

    async def test_a_wrong_password_and_a_wrong_origin_are_refused(
        self, store: Any, tmp_path: Path, service: str
    ) -> None:
        checked = accounts(store, tmp_path, service=service)

        assert await refused(checked, "root", "wrong")
        assert await refused(checked, "root", "right", "192.0.2.2")

    async def test_a_user_outside_the_group_is_refused_with_the_right_password(
        self, store: Any, tmp_path: Path, service: str
    ) -> None:
        with capture_logs() as logs:
            assert await refused(accounts(store, tmp_path, service=service), "daemon", "right")

        assert "outside the group" in logs[0]["event"]

    async def test_a_member_of_the_group_is_accepted(
        self, store: Any, tmp_path: Path, service: str
    ) -> None:
        checked = SystemAccounts(store, tmp_path, group="daemon", service=service)

        assert await checked.verify("daemon", "right", PEER) == NULL


@pytest.mark.parametrize("exit_code", [pam_check.UNUSABLE, 1, 139])
async def test_pam_that_cannot_be_used_refuses_and_is_no_fault_of_the_client(
    store: Any, tmp_path: Path, exit_code: int
) -> None:
    throttle = Throttle()
    checked = accounts(store, tmp_path, f"sys.exit({exit_code})", throttle=throttle)

    with capture_logs() as logs:
        assert await refused(checked, "root", "x")

    assert logs[0]["log_level"] == "error"
    assert not throttle.suspects(PEER)


async def test_pam_that_hangs_is_ended_at_the_deadline(store: Any, tmp_path: Path) -> None:
    checked = accounts(store, tmp_path, "import time; time.sleep(600)", deadline_s=0.3)

    with capture_logs() as logs:
        assert await asyncio.wait_for(refused(checked, "root", "x"), 20)

    assert "in time" in logs[0]["event"]


async def test_those_who_guess_share_one_place_and_others_find_a_free_one(
    store: Any, tmp_path: Path
) -> None:
    hang = "import time; q['password'] == 'good' or time.sleep(600); sys.exit(0)"
    throttle = Throttle()
    checked = accounts(store, tmp_path, hang, throttle=throttle)
    guessers = [f"198.51.100.{number}" for number in range(MAX_WAITING + 8)]
    for guesser in guessers:
        throttle.failed(guesser)

    guesses = [asyncio.create_task(checked.verify("root", "bad", each)) for each in guessers]
    await asyncio.sleep(0)
    refusals = [task for task in guesses if task.done()]
    await asyncio.wait_for(checked.verify("root", "good", PEER), 20)

    for task in guesses:
        task.cancel()
    ended = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(each, TooBusy) for each in ended) >= len(guessers) - 1
    assert len(refusals) <= len(guessers) - 1


async def test_a_peer_that_failed_often_is_refused_before_pam(store: Any, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    count = f"open({str(asked)!r}, 'a').write('x'); sys.exit({pam_check.REFUSED})"
    checked = accounts(store, tmp_path, count, throttle=Throttle(lambda: 1.0))

    for _ in range(9):
        assert await refused(checked, "root", "guess")

    assert asked.read_text() == "xxxxx"


@pytest.mark.parametrize("password", ["", "a\0b", "\ud800", "x" * 2000])
async def test_what_pam_cannot_be_given_is_refused(
    store: Any, tmp_path: Path, password: str
) -> None:
    checked = accounts(store, tmp_path, "sys.exit(0)")

    assert await refused(checked, "root", password)
    assert password == "" or await refused(checked, password[:1] + "\0", "x")


async def test_no_password_stands_in_arguments_or_environment(store: Any, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    tell = f"import os; open({str(seen)!r}, 'w').write(str([sys.argv, dict(os.environ)]))"
    checked = accounts(store, tmp_path, f"{tell}; sys.exit(0)")

    await checked.verify("root", "s3cret", PEER)

    assert "s3cret" not in seen.read_text()
    assert "PATH" in seen.read_text()


async def test_passwords_of_the_host_are_not_changed_here(store: Any, tmp_path: Path) -> None:
    checked = accounts(store, tmp_path)

    with pytest.raises(ChangePasswordRejected):
        await checked.change("root", "a", "b", LOCAL)
    with pytest.raises(ChangePasswordRejected):
        await checked.set("root", "b")


class TestUnixSocket:
    def test_the_kernel_tells_who_connected(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            peer = read_peer(ours)

        assert peer is not None
        assert (peer.pid, peer.uid) == (os.getpid(), os.getuid())
        assert peer.groups == {os.getgid(), *os.getgroups()}

    def test_a_tcp_connection_has_no_peer_of_this_kind(self) -> None:
        with socket.socket() as connection:
            assert read_peer(connection) is None

    async def test_root_and_the_group_are_trusted_and_nobody_else(self) -> None:
        root = LocalPeer(1, 0, frozenset({0}))
        member = LocalPeer(1, 2, frozenset({7, 1}))
        other = LocalPeer(1, 2, frozenset({2}))

        assert await trusted_name(root, GROUP) == "root"
        assert await trusted_name(member, "daemon") == "bin"
        assert await trusted_name(other, "daemon") is None
        assert await trusted_name(member, GROUP) is None

    @pytest.mark.parametrize(
        ("uname", "peer", "user"),
        [
            ("root", LocalPeer(1, 0, frozenset()), "root"),
            ("", LocalPeer(1, 0, frozenset()), "root"),
            ("root", LocalPeer(1, 2, frozenset({1})), "bin"),
            ("bin", LocalPeer(1, 2, frozenset({1})), "bin"),
            ("ann", LocalPeer(1, 2, frozenset({1})), None),
            ("root", LocalPeer(1, 2, frozenset({2})), None),
            ("root", None, None),
        ],
    )
    async def test_no_password_is_needed_by_those(
        self, store: Any, tmp_path: Path, uname: str, peer: LocalPeer | None, user: str | None
    ) -> None:
        sessions = Sessions()
        checked = accounts(store, tmp_path, f"sys.exit({pam_check.REFUSED})")
        logins = Logins(sessions, checked, group="daemon")
        call = ApiCall(None, "session.login_with_password", peer=LOCAL)  # type: ignore[arg-type]
        token = LOCAL_PEER.set(peer)
        try:
            if user is None:
                with pytest.raises(SessionAuthenticationFailed):
                    await logins.login_with_password(call, uname, "")
            else:
                ref = await logins.login_with_password(call, uname, "")
                assert sessions.check(ref).user == user
        finally:
            LOCAL_PEER.reset(token)
