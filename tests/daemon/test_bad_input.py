"""What no method accepts, for every parameter of every method, generated from the datamodel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from xapid.datamodel.declare import Class
from xapid.datamodel.registry import CLASSES, METHODS, Kind

from .cases import HANDLE, brief, cases, odd_cases
from .wire import VOLATILE
from .world import World, populated

READS = (Kind.GET, Kind.GET_ALL, Kind.GET_ALL_RECORDS, Kind.GET_RECORD, Kind.GET_BY_NAME_LABEL)
WATCHED = ("VM", "VBD", "VIF", "VDI", "SR")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with populated() as made:
        yield made


@pytest.mark.parametrize("name", CLASSES)
def test_wrong_parameters_get_their_own_error_and_change_nothing(world: World, name: str) -> None:
    before = world.wire.everything()
    faults = []

    for method in METHODS.values():
        if method.owner.wire != name:
            continue
        for params, codes in cases(world, method):
            session = [world.wire.session] if method.session else []
            code, told = world.wire.answer(method.name, *session, *params)
            if code not in codes:
                faults.append((method.name, brief(params), code, told, codes))

    assert not faults, "\n".join(map(str, faults[:40]))
    assert world.wire.everything() == before


def test_the_world_has_an_object_of_every_class(world: World) -> None:
    assert CLASSES.keys() - world.objects.keys() == {"event"}
    assert len(world.gone) == 9
    for name, ref in world.gone.items():
        assert world.wire.answer(f"{name}.get_record", world.wire.session, ref)[0] == HANDLE


@pytest.mark.parametrize("name", CLASSES)
def test_odd_values_are_taken_or_refused_with_a_reason_and_without_a_trace(
    world: World, name: str
) -> None:
    faults = []

    for method in METHODS.values():
        if method.owner.wire != name or method.kind in READS:
            continue
        before = records(world, method.owner)
        for params in odd_cases(world, method):
            session = [world.wire.session] if method.session else []
            code, told = world.wire.answer(method.name, *session, *params)
            after = records(world, method.owner)
            if code == "INTERNAL_ERROR" or (code != "Success" and after != before):
                faults.append((method.name, brief(params), code, told))
            before = after

    assert not faults, "\n".join(map(str, faults[:40]))


def records(world: World, cls: type[Class]) -> dict[str, Any]:
    """What a call to a method of the class could have changed."""
    own = {cls.wire} if "get_all_records" in cls.derived and cls.wire not in VOLATILE else set()
    return {name: world.wire.call(f"{name}.get_all_records") for name in {*WATCHED, *own}}
