"""Events of a whole daemon: what a client that follows it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Client, Daemon, disk, drive, eventually, storage, vm_values

Event = dict[str, Any]


def heard(client: Client, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """What comes until it is enough."""
    events: list[Event] = []

    def more() -> bool:
        events.extend(client("event.next"))
        return enough(events)

    eventually(more)
    return events


def each_of(*wanted: tuple[str, str, str]) -> Callable[[list[Event]], bool]:
    """Whether each (class, operation, ref) has come."""
    return lambda events: {*wanted} <= {(e["class"], e["operation"], e["ref"]) for e in events}


@pytest.fixture
def follower(daemon: Daemon) -> Client:
    client = daemon.client()
    client("event.register", ["VM", "VBD", "VDI", "SR", "task"])
    return client


def test_the_other_end_of_a_bound_field_is_an_event_too(
    daemon: Daemon, client: Client, follower: Client
) -> None:
    sr = storage(client, daemon)
    vm, vdi = client("VM.create", vm_values()), disk(client, sr)
    heard(follower, each_of(("VM", "add", vm), ("VDI", "add", vdi), ("SR", "mod", sr)))

    vbd = drive(client, vm, vdi)

    events = heard(follower, each_of(("VBD", "add", vbd), ("VM", "mod", vm), ("VDI", "mod", vdi)))
    told = {(e["class"], e["operation"]): e for e in events}
    assert told["VM", "mod"]["snapshot"]["VBDs"] == [vbd]
    assert told["VDI", "mod"]["snapshot"]["VBDs"] == [vbd]
    assert told["VBD", "add"]["snapshot"]["VM"] == vm
    assert told["VBD", "add"]["obj_uuid"] == client("VBD.get_uuid", vbd)


def test_a_start_is_followed_from_task_to_console(client: Client, follower: Client) -> None:
    vm = client("VM.create", vm_values())

    task = client("Async.VM.start", vm, False, False)

    events = heard(follower, lambda told: ended(told, task) and shows_console(told, vm))
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    assert any(e["ref"] == vm and e["snapshot"]["power_state"] == "Running" for e in events)


def ended(events: list[Event], task: str) -> bool:
    return any(e["ref"] == task and e["snapshot"]["status"] == "success" for e in events)


def shows_console(events: list[Event], vm: str) -> bool:
    return any(e["ref"] == vm and e["snapshot"]["consoles"] for e in events)
