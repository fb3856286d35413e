"""Sessions and accounts: what ends a session, and what a wrong password costs."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.errors import (
    ChangePasswordRejected,
    SessionAuthenticationFailed,
    SessionInvalid,
    TooBusy,
)
from xapid.rpc.accounts import MAX_WAITING, Accounts, PasswordFileUnsafe, Throttle
from xapid.rpc.call import LOCAL
from xapid.rpc.sessions import Sessions


def begin(sessions: Sessions, name: str = "root") -> Ref[Any]:
    return sessions.begin(NULL, name, role="pool-admin")


def test_references_are_random_and_long(clock: Any) -> None:
    sessions = Sessions(clock=clock)

    refs = {begin(sessions) for _ in range(50)}

    assert len(refs) == 50
    assert all(ref.startswith("OpaqueRef:") and len(ref) >= 10 + 43 for ref in refs)


def test_the_references_themselves_are_not_what_is_looked_up(clock: Any) -> None:
    sessions = Sessions(clock=clock)

    ref = begin(sessions)

    assert all(ref.encode() not in key for key in sessions._live)


def test_an_idle_session_ends(clock: Any) -> None:
    sessions = Sessions(clock=clock, idle_s=100)
    ref = begin(sessions)

    clock.pass_seconds(99)
    assert sessions.check(ref).ref == ref
    clock.pass_seconds(99)
    assert sessions.check(ref).ref == ref
    clock.pass_seconds(100)

    with pytest.raises(SessionInvalid):
        sessions.check(ref)
    assert len(sessions) == 0


def test_looking_at_a_session_is_not_using_it(clock: Any) -> None:
    sessions = Sessions(clock=clock, idle_s=100)
    ref = begin(sessions)
    clock.pass_seconds(60)

    assert sessions.find(ref) is not None
    clock.pass_seconds(60)

    with pytest.raises(SessionInvalid):
        sessions.check(ref)


def test_login_sweeps_out_what_is_idle(clock: Any) -> None:
    sessions = Sessions(clock=clock, idle_s=100)
    for _ in range(5):
        begin(sessions)
    clock.pass_seconds(100)

    begin(sessions)

    assert len(sessions) == 1


def test_the_session_idle_longest_makes_room(clock: Any) -> None:
    sessions = Sessions(clock=clock, per_user=2, total=3)
    first, second = begin(sessions), begin(sessions)
    clock.pass_seconds(1)
    sessions.check(first)

    third = begin(sessions)
    assert sessions.find(second) is None
    begin(sessions, "ann")
    begin(sessions, "bob")

    assert sessions.find(first) is None
    assert sessions.find(third) is not None
    assert len(sessions) == 3


def test_last_active_is_when_it_was_used(clock: Any) -> None:
    sessions = Sessions(clock=clock)
    ref = begin(sessions)

    clock.pass_seconds(7)
    sessions.check(ref)

    assert sessions.get(ref).last_active == clock.now


def test_a_user_is_logged_out_everywhere(clock: Any) -> None:
    sessions = Sessions(clock=clock)
    mine, others = begin(sessions, "ann"), begin(sessions, "bob")
    begin(sessions, "ann")

    sessions.end_user("ann")

    assert sessions.find(mine) is None
    assert sessions.find(others) is not None
    assert len(sessions) == 1


class SlowHasher(PasswordHasher):
    """Counts how many hashes are computed at the same time."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str] = []
        self.running = self.most = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002
        self.running += 1
        self.most = max(self.most, self.running)
        self.verified.append(str(hash))
        try:
            return super().verify(hash, password)
        finally:
            self.running -= 1


@pytest.fixture
async def accounts(store: Any, tmp_path: Path) -> Any:
    made = Accounts(store, tmp_path, hasher=SlowHasher())
    await made.prepare()
    yield made
    made.close()


def password_of(directory: Path) -> str:
    return (directory / "root-password").read_text().strip()


class TestFirstStart:
    async def test_makes_root_and_a_private_password(
        self, accounts: Accounts, tmp_path: Path
    ) -> None:
        path = tmp_path / "root-password"

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(password_of(tmp_path)) >= 20
        user = await accounts.verify("root", password_of(tmp_path), "192.0.2.1")
        assert user == accounts.user("root")

    async def test_happens_once(self, accounts: Accounts, store: Any, tmp_path: Path) -> None:
        first, hashed = password_of(tmp_path), store.credential("root")

        again = Accounts(store, tmp_path, hasher=SlowHasher())
        await again.prepare()
        again.close()

        assert password_of(tmp_path) == first
        assert store.credential("root") == hashed
        assert hashed.startswith("$argon2id$")

    async def test_takes_a_password_an_administrator_left(self, store: Any, tmp_path: Path) -> None:
        path = tmp_path / "root-password"
        path.write_text("chosen before\n")
        path.chmod(0o600)
        made = Accounts(store, tmp_path, hasher=SlowHasher())

        await made.prepare()

        await made.verify("root", "chosen before", LOCAL)
        made.close()

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
    async def test_refuses_a_password_others_can_read(
        self, store: Any, tmp_path: Path, mode: int
    ) -> None:
        path = tmp_path / "root-password"
        path.write_text("known\n")
        path.chmod(mode)
        made = Accounts(store, tmp_path, hasher=SlowHasher())

        with pytest.raises(PasswordFileUnsafe, match="mode 0600"):
            await made.prepare()
        made.close()


class TestVerify:
    async def test_an_unknown_user_costs_a_hash_too(self, accounts: Accounts, store: Any) -> None:
        with pytest.raises(SessionAuthenticationFailed):
            await accounts.verify("nobody", "x", LOCAL)
        with pytest.raises(SessionAuthenticationFailed):
            await accounts.verify("root", "x", LOCAL)

        unknown, known = accounts._hasher.verified  # type: ignore[attr-defined]
        assert known == store.credential("root")
        assert unknown != known
        assert unknown.split("$")[:4] == known.split("$")[:4]

    async def test_an_endless_password_is_not_hashed(
        self, accounts: Accounts, tmp_path: Path
    ) -> None:
        with pytest.raises(SessionAuthenticationFailed):
            await accounts.verify("root", "x" * 100_000, LOCAL)

    async def test_one_hash_is_computed_at_a_time_and_few_wait(
        self, accounts: Accounts, tmp_path: Path
    ) -> None:
        password = password_of(tmp_path)
        logins = [accounts.verify("root", password, LOCAL) for _ in range(MAX_WAITING + 3)]

        ended = await asyncio.gather(*logins, return_exceptions=True)

        assert accounts._hasher.most == 1  # type: ignore[attr-defined]
        assert sum(isinstance(end, TooBusy) for end in ended) == 3
        assert sum(isinstance(end, str) for end in ended) == MAX_WAITING

    async def test_a_new_password_replaces_the_old(
        self, accounts: Accounts, tmp_path: Path
    ) -> None:
        first = password_of(tmp_path)

        with pytest.raises(ChangePasswordRejected):
            await accounts.change("root", first, "x" * 2000, LOCAL)
        await accounts.change("root", first, "second", LOCAL)

        await accounts.verify("root", "second", LOCAL)
        with pytest.raises(SessionAuthenticationFailed):
            await accounts.verify("root", first, LOCAL)


class TestThrottle:
    @pytest.fixture
    def seconds(self) -> list[float]:
        return [1000.0]

    @pytest.fixture
    def throttle(self, seconds: list[float]) -> Throttle:
        return Throttle(lambda: seconds[0])

    def test_lets_a_few_failures_pass_and_then_makes_the_peer_wait(
        self, throttle: Throttle, seconds: list[float]
    ) -> None:
        for _ in range(5):
            throttle.check("192.0.2.1")
            throttle.failed("192.0.2.1")

        with pytest.raises(SessionAuthenticationFailed):
            throttle.check("192.0.2.1")
        throttle.check("192.0.2.2")
        seconds[0] += 1.1
        throttle.check("192.0.2.1")

    def test_waits_grow_to_a_minute_and_end_with_a_success(
        self, throttle: Throttle, seconds: list[float]
    ) -> None:
        for _ in range(40):
            throttle.failed("192.0.2.1")

        seconds[0] += 59
        with pytest.raises(SessionAuthenticationFailed):
            throttle.check("192.0.2.1")
        seconds[0] += 2
        throttle.check("192.0.2.1")
        throttle.succeeded("192.0.2.1")
        throttle.failed("192.0.2.1")
        throttle.check("192.0.2.1")

    def test_takes_the_addresses_of_one_ipv6_network_as_one_peer(self, throttle: Throttle) -> None:
        for host in range(6):
            throttle.failed(f"2001:db8::{host}")

        with pytest.raises(SessionAuthenticationFailed):
            throttle.check("2001:db8::ffff")
        throttle.check("2001:db8:0:1::1")

    def test_never_locks_out_the_unix_socket(self, throttle: Throttle) -> None:
        for _ in range(100):
            throttle.failed(LOCAL)

        throttle.check(LOCAL)

    def test_forgets_the_oldest_peers_first(self, throttle: Throttle) -> None:
        for peer in range(10_001):
            for _ in range(6):
                throttle.failed(f"peer{peer}")

        throttle.check("peer0")
        with pytest.raises(SessionAuthenticationFailed):
            throttle.check("peer10000")


async def test_a_throttled_peer_is_refused_even_with_the_right_password(
    accounts: Accounts, tmp_path: Path
) -> None:
    for _ in range(5):
        with pytest.raises(SessionAuthenticationFailed):
            await accounts.verify("root", "wrong", "192.0.2.1")

    with pytest.raises(SessionAuthenticationFailed):
        await accounts.verify("root", password_of(tmp_path), "192.0.2.1")
    await accounts.verify("root", password_of(tmp_path), "192.0.2.9")
