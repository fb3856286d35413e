"""The log's line for each changing call, and the counts of all calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from xapid.datamodel.network import Network
from xapid.rpc.xmlrpc import Request

from .world import PEER, Daemon

FIELDS = {"user", "peer", "method", "object", "ref", "outcome", "ms", "task", "call"}


@pytest.fixture
async def daemon(tmp_path: Path) -> Any:
    async with Daemon.running(tmp_path) as made:
        made.turns.limit(rate=1000, burst=1000)
        yield made


@pytest.fixture
async def network(daemon: Daemon) -> str:
    async with daemon.store.transaction() as tx:
        return str(tx.create(Network, {Network.name_label: "blue"}))
    raise AssertionError


def lines(logs: Any) -> list[dict[str, Any]]:
    return [entry for entry in logs if entry["event"] == "call"]


async def test_a_change_is_told_with_everything(daemon: Daemon, network: str) -> None:
    session = daemon.login()

    with capture_logs() as logs:
        await daemon.call("network.set_name_description", session, network, "secret plan")

    (line,) = lines(logs)
    assert line.keys() >= FIELDS
    assert (line["user"], line["peer"], line["method"]) == (
        "root",
        PEER,
        "network.set_name_description",
    )
    assert (line["object"], line["ref"], line["outcome"]) == ("blue", network, "done")
    assert line["ms"] >= 0
    assert len(line["call"]) == 8
    assert "secret" not in str(logs)


async def test_an_asynchronous_change_names_its_task(daemon: Daemon) -> None:
    session = daemon.login()

    with capture_logs() as logs:
        await daemon.call("Async.user.create", session, {"short_name": "ann", "fullname": "Ann"})
        await daemon.tasks.wait_idle()

    made = [line for line in lines(logs) if line["method"] == "user.create"]
    assert [line["outcome"] for line in made] == ["done"]
    assert made[0]["task"].startswith("OpaqueRef:")
    assert daemon.store.class_of(made[0]["ref"]).wire == "user"


async def test_what_is_destroyed_is_named_all_the_same(daemon: Daemon, network: str) -> None:
    session = daemon.login()

    with capture_logs() as logs:
        await daemon.call("task.create", session, "mine", "")
        (task,) = daemon.store.all(daemon.store.class_of(lines(logs)[0]["ref"]))
        await daemon.call("task.destroy", session, str(task.ref))

    assert [(line["object"], line["ref"]) for line in lines(logs)] == [("mine", task.ref)] * 2
    assert daemon.store.class_of(task.ref) is None


async def test_a_refused_change_is_told_with_its_error(daemon: Daemon, network: str) -> None:
    reader, admin = daemon.login("read-only"), daemon.login()

    with capture_logs() as logs:
        await daemon.call("network.set_name_label", reader, network, "x")
        await daemon.call("network.set_name_label", admin, network, 7)
        await daemon.call("network.set_name_label", admin, "OpaqueRef:nothing", "x")

    assert [(line["ref"], line["outcome"]) for line in lines(logs)] == [
        (network, "RBAC_PERMISSION_DENIED"),
        (network, "FIELD_TYPE_ERROR"),
        ("", "HANDLE_INVALID"),
    ]


async def test_a_login_is_told_without_password_or_session(daemon: Daemon, tmp_path: Path) -> None:
    password = (tmp_path / "root-password").read_text().strip()

    with capture_logs() as logs:
        answer = await daemon.call("session.login_with_password", "root", password)
        await daemon.call("session.login_with_password", "root", "wrong-secret")

    assert [line["outcome"] for line in lines(logs)] == ["done", "SESSION_AUTHENTICATION_FAILED"]
    session = b"".join(answer.pieces).decode().split("OpaqueRef:")[1].split("<")[0]
    for secret in (password, "wrong-secret", session):
        assert secret not in str(logs)


async def test_reading_is_not_told(daemon: Daemon, network: str) -> None:
    session = daemon.login()

    with capture_logs() as logs:
        await daemon.call("network.get_all", session)
        await daemon.call("network.get_record", session, network)
        await daemon.call("network.get_name_label", session, network)

    assert lines(logs) == []


async def test_calls_are_counted_by_what_exists_and_never_by_what_a_client_says(
    daemon: Daemon, network: str
) -> None:
    session = daemon.login()
    await daemon.call("network.get_name_label", session, network)
    await daemon.call("network.get_name_label", session, "OpaqueRef:nothing")
    await daemon.call('evil"} 1', session)

    text = await daemon.registry.text()

    counted = 'xapid_calls_total{class="network",method="get_name_label",result='
    assert f'{counted}"success"}} 1\n' in text
    assert f'{counted}"failure"}} 1\n' in text
    assert 'xapid_calls_total{class="unknown",method="unknown",result="failure"} 1\n' in text
    assert 'xapid_call_failures_total{code="HANDLE_INVALID"} 1\n' in text
    assert 'xapid_call_duration_seconds_count{class="network"} 2\n' in text
    assert "xapid_callers 2\n" in text
    assert "evil" not in text


async def test_an_asynchronous_call_is_counted_when_it_ends(daemon: Daemon) -> None:
    session = daemon.login()

    await daemon.call("Async.user.create", session, {"short_name": "bob", "fullname": ""})
    await daemon.tasks.wait_idle()

    text = await daemon.registry.text()
    assert 'xapid_calls_total{class="user",method="create",result="success"} 1\n' in text


async def test_who_has_no_session_is_throttled_by_address_and_others_are_not(
    daemon: Daemon, network: str
) -> None:
    session = daemon.login()
    daemon.turns.limit(rate=0.01, burst=1)

    async def guess() -> None:
        await daemon.call("session.get_uuid", "OpaqueRef:guess", "OpaqueRef:guess")

    await daemon.call("network.get_all", session)
    guesses = [asyncio.ensure_future(guess()) for _ in range(20)]
    await asyncio.sleep(0)
    await daemon.call("network.get_all", daemon.login(name="ann"))

    assert daemon.turns.waiting == 19
    assert "xapid_calls_waiting 19\n" in await daemon.registry.text()
    daemon.turns.close()
    await asyncio.gather(*guesses)


async def test_the_daemon_itself_needs_no_turn(daemon: Daemon) -> None:
    daemon.turns.limit(rate=0.01, burst=1)

    async with asyncio.timeout(5):
        for _ in range(10):
            await daemon.dispatcher.answer(Request("session.get_uuid", ["", ""]), "")

    assert daemon.turns.callers == 0


async def test_figures_are_bounded_and_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    from xapid import prometheus
    from xapid.prometheus import Counter, Histogram, Reading, Registry

    monkeypatch.setattr(prometheus, "MAX_SERIES", 2)
    counter = Counter("a", "About.", ("x",))
    for label in ('q"\\\n', "b", "c", "d"):
        counter.add(label)
    seconds = Histogram("s", "About.", bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        seconds.observe(value)
    registry = Registry()
    registry.add(counter, seconds, Reading("gauge", "g", "About.", lambda: {("v",): 1.5}, ("l",)))

    assert (await registry.text()).splitlines() == [
        "# HELP a About.",
        "# TYPE a counter",
        'a{x="q\\"\\\\\\n"} 1',
        'a{x="b"} 1',
        'a{x="other"} 2',
        "# HELP s About.",
        "# TYPE s histogram",
        's_bucket{le="0.1"} 2',
        's_bucket{le="1"} 3',
        's_bucket{le="+Inf"} 4',
        "s_sum 7.65",
        "s_count 4",
        "# HELP g About.",
        "# TYPE g gauge",
        'g{l="v"} 1.5',
    ]
    with pytest.raises(ValueError, match="already"):
        registry.gauge("g", "Again.", lambda: 0)
