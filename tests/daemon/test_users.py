"""Accounts beside root: made, given a password, used, and gone."""

from __future__ import annotations

import pytest

from .conftest import Client, Daemon, Failure

FIRST, SECOND = "correct horse", "battery staple"


@pytest.fixture
def ann(client: Client) -> str:
    ref: str = client("user.create", {"short_name": "ann", "fullname": "Ann"})
    return ref


def log_in(daemon: Daemon, client: Client, password: str) -> Client:
    other = Client.__new__(Client)
    other.transport, other.proxy = client.transport, client.proxy
    other.session = client.raw("session.login_with_password", "ann", password)
    return other


def test_a_user_can_log_in_once_it_was_given_a_password(
    daemon: Daemon, client: Client, ann: str
) -> None:
    with pytest.raises(Failure) as refused:
        log_in(daemon, client, "")
    assert refused.value.code == "SESSION_AUTHENTICATION_FAILED"

    client("user.set_password", ann, FIRST)

    own = log_in(daemon, client, FIRST)
    assert own("session.get_this_user", own.session) == ann
    assert client("user.get_fullname", ann) == "Ann"


def test_a_user_changes_its_own_password(daemon: Daemon, client: Client, ann: str) -> None:
    client("user.set_password", ann, FIRST)
    own = log_in(daemon, client, FIRST)

    own("session.change_password", FIRST, SECOND)

    log_in(daemon, client, SECOND)
    with pytest.raises(Failure):
        log_in(daemon, client, FIRST)


def test_a_new_password_logs_out_whoever_had_the_old_one(
    daemon: Daemon, client: Client, ann: str
) -> None:
    client("user.set_password", ann, FIRST)
    own = log_in(daemon, client, FIRST)

    client("user.set_password", ann, SECOND)

    with pytest.raises(Failure) as refused:
        own("host.get_all")
    assert refused.value.code == "SESSION_INVALID"
    assert client("host.get_all")


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_a_password_has_from_1_to_1024_bytes(client: Client, ann: str, password: str) -> None:
    with pytest.raises(Failure) as refused:
        client("user.set_password", ann, password)

    assert refused.value.code == "CHANGE_PASSWORD_REJECTED"


def test_a_user_that_is_gone_cannot_log_in(daemon: Daemon, client: Client, ann: str) -> None:
    client("user.set_password", ann, FIRST)

    client("user.destroy", ann)

    with pytest.raises(Failure):
        log_in(daemon, client, FIRST)
    client("user.create", {"short_name": "ann", "fullname": ""})
    with pytest.raises(Failure):
        log_in(daemon, client, FIRST)


def test_no_password_is_ever_logged(daemon: Daemon, client: Client, ann: str) -> None:
    client("user.set_password", ann, FIRST)
    log_in(daemon, client, FIRST)

    daemon.stop()

    assert FIRST not in "".join(daemon.errors)
