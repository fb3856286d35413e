"""Events of a whole daemon: what a client that follows it is told."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Client, Daemon, disk, drive, eventually, storage, vm_values


def heard(client: Client, wanted: set[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """What comes until each (class, operation, ref) has."""
    events: list[dict[str, Any]] = []

    def all_there() -> bool:
        events.extend(client("event.next"))
        return wanted <= {(e["class"], e["operation"], e["ref"]) for e in events}

    eventually(all_there)
    return events


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
    heard(follower, {("VM", "add", vm), ("VDI", "add", vdi), ("SR", "mod", sr)})

    vbd = drive(client, vm, vdi)

    events = heard(follower, {("VBD", "add", vbd), ("VM", "mod", vm), ("VDI", "mod", vdi)})
    told = {(e["class"], e["operation"]): e for e in events}
    assert told["VM", "mod"]["snapshot"]["VBDs"] == [vbd]
    assert told["VDI", "mod"]["snapshot"]["VBDs"] == [vbd]
    assert told["VBD", "add"]["snapshot"]["VM"] == vm
    assert told["VBD", "add"]["obj_uuid"] == client("VBD.get_uuid", vbd)


def test_a_start_is_followed_from_claim_to_console(
    daemon: Daemon, client: Client, follower: Client
) -> None:
    vm = client("VM.create", vm_values())
    heard(follower, {("VM", "add", vm)})

    task = client("Async.VM.start", vm, False, False)

    events = heard(follower, {("task", "add", task)})
    while not (ended(events, task) and running(events, vm)):
        events += follower("event.next")
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    console = eventually(lambda: client("VM.get_consoles", vm))[0]
    while not any(e["ref"] == vm and e["snapshot"]["consoles"] == [console] for e in events):
        events += follower("event.next")


def ended(events: list[dict[str, Any]], task: str) -> bool:
    return any(e["ref"] == task and e["snapshot"]["status"] == "success" for e in events)


def running(events: list[dict[str, Any]], vm: str) -> bool:
    return any(e["ref"] == vm and e["snapshot"]["power_state"] == "Running" for e in events)
