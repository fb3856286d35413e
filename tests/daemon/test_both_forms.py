"""A call and its asynchronous form give the same result and the same error."""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import pytest

from xapid.datamodel.registry import CLASSES, METHODS, Kind, Method

from .cases import brief, odd_cases
from .conftest import eventually
from .world import World, populated

READING = {
    *("VM.get_boot_record", "VM.maximise_memory", "VM.assert_can_boot_here"),
    *("VM.get_possible_hosts", "VM.get_allowed_VBD_devices", "VM.get_allowed_VIF_devices"),
    *("VM.assert_operation_valid", "host.list_methods", "host.get_system_status_capabilities"),
    *("SR.get_supported_types", "VBD.assert_attachable", "host.assert_can_evacuate"),
}
"""Messages that change nothing."""

READS = (Kind.GET_ALL, Kind.GET_ALL_RECORDS, Kind.GET_RECORD, Kind.GET_BY_UUID)
OF_THE_MOMENT = re.compile("OpaqueRef:[0-9a-f-]{36}|[0-9a-f-]{36}")
"""References and uuids of what the failing call itself made for a moment."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with populated() as made:
        yield made


def outcome(world: World, method: Method, params: list[Any]) -> tuple[str, Any]:
    """What the call gives at once."""
    code, told = world.wire.answer(method.name, world.wire.session, *params)
    return (code, told) if code == "Success" else ("failure", [code, *told])


def outcome_of_task(world: World, method: Method, params: list[Any]) -> tuple[str, Any]:
    """What the asynchronous form gives in the end: its own refusal, or what its task shows."""
    code, told = world.wire.answer(f"Async.{method.name}", world.wire.session, *params)
    if code != "Success":
        return "failure", [code, *told]

    def ended() -> dict[str, Any] | None:
        record: dict[str, Any] = world.wire.call("task.get_record", told)
        return None if record["status"] in ("pending", "cancelling") else record

    record = eventually(ended)
    world.wire.call("task.destroy", told)
    if record["status"] == "success":
        text = f"<methodResponse><params><param>{record['result'] or '<value></value>'}</param>"
        [value], _ = xmlrpc.client.loads(f"{text}</params></methodResponse>")
        return "Success", value
    return record["status"], record["error_info"]


def plain(told: Any) -> str:
    return OF_THE_MOMENT.sub("*", str(told))


@pytest.mark.parametrize("name", CLASSES)
def test_a_failure_is_the_same_in_both_forms(world: World, name: str) -> None:
    compared, faults = 0, []

    for method in METHODS.values():
        if method.owner.wire != name or not method.asynchronous:
            continue
        for params in odd_cases(world, method):
            if len(str(params)) > 1000:
                continue  # long ones differ from short ones in nothing that matters here
            first = outcome(world, method, params)
            if first[0] == "Success":
                continue
            compared += 1
            second = outcome_of_task(world, method, params)
            if plain(first) != plain(second):
                faults.append((method.name, brief(params), first, second))

    assert not faults, "\n".join(map(str, faults[:20]))
    assert compared or name not in ("VM", "VBD", "VIF", "VDI", "SR", "host", "pool")


def test_a_result_is_the_same_in_both_forms(world: World) -> None:
    compared = set()

    for method in METHODS.values():
        if not method.asynchronous or not (method.kind in READS or method.name in READING):
            continue
        if method.owner.wire.endswith("_metrics") or method.owner.wire == "host_cpu":
            continue  # what is measured moves between two calls
        params = [world.valid(param.type) for param in method.params]
        if method.kind is Kind.GET_BY_UUID:
            own = world.objects[method.owner.wire]
            params = [world.wire.call(f"{method.owner.wire}.get_uuid", own)]

        first, second = outcome(world, method, params), outcome_of_task(world, method, params)

        assert first == second, method.name
        compared |= {method.name} if first[0] == "Success" else set()

    assert len(compared) > 60 and compared >= {"VM.get_boot_record", "host.list_methods"}
