"""Every message while libxl refuses everything: each answers with an error that it declares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.registry import METHODS, Kind, Method

from .conftest import MIB
from .world import World, populated

DECLARATIONS = Path(__file__).parents[2] / "native" / "xenlight.cdef.h"
FUNCTION = re.compile(r"\b((?:libxl|xapid_set|xapid_domain)_\w+)\(")
WITHOUT_FAILURES = re.compile(
    r"_(init|dispose|free|from_json|to_json|to_string|from_string)$|bitmap|name_to|to_name"
    r"|ao_abort|_event_|ctx_|read_finish"
)
ENDS_IT_ALL = {"session.logout", "session.local_logout", "session.change_password"} | {
    "host.restart_agent"
}
GIVEN: dict[str, tuple[Any, ...]] = {
    "VM.start": (False, False),
    "VM.set_memory_target_live": (str(128 * MIB),),
    "VM.set_VCPUs_number_live": ("1",),
    "VM.add_to_VCPUs_params_live": ("weight", "100"),
    "VM.maximise_memory": (str(1 << 30), False),
    "VM.send_sysrq": ("h",),
    "VM.send_trigger": ("nmi",),
    "host.send_debug_keys": ("q",),
}
"""What follows the object, where any value of the type would be refused before libxl is asked."""


def functions() -> list[str]:
    found = set(FUNCTION.findall(DECLARATIONS.read_text()))
    return sorted(name for name in found if not WITHOUT_FAILURES.search(name))


def fail_all(world: World, rc: int) -> None:
    names = functions()
    assert 40 < len(names) < 64  # as many as the mock has room for
    world.daemon.xen(
        f"for name in {names!r}:\n"
        f"    done = lib.xapid_mock_fail(name.encode(), 0, {rc}, 1 << 30, 0xffffffff, ffi.NULL)\n"
        "    assert done == 0"
    )


@pytest.fixture
def world() -> Iterator[World]:
    with populated() as made:
        yield made
        made.daemon.xen("assert lib.xapid_mock_release() == 0")


def running(world: World) -> dict[str, str]:
    """The guest that runs and its devices, by class."""
    vm = world.wire.call("console.get_VM", world.objects["console"])
    record = world.wire.call("VM.get_record", vm)
    return {"VM": vm, "VBD": record["VBDs"][0], "VIF": record["VIFs"][0]}


def parameters(world: World, method: Method) -> list[Any]:
    values = [world.valid(param.type) for param in method.params]
    given = GIVEN.get(method.name, ())
    return values[:1] + list(given) if given else values


@pytest.mark.parametrize("rc", [-3, -4, -5, -9, -21], ids=lambda rc: f"rc{rc}")
def test_every_message_has_a_declared_error_for_what_libxl_refuses(world: World, rc: int) -> None:
    kinds = (Kind.MESSAGE, Kind.CREATE, Kind.DESTROY)
    messages = [m for m in METHODS.values() if m.kind in kinds and m.name not in ENDS_IT_ALL]
    halted, failures = dict(world.objects), set()
    fail_all(world, rc)

    for objects in (running(world), halted):
        world.objects.update(objects)
        for method in messages:
            session = [world.wire.session] if method.session else []
            code, told = world.wire.answer(method.name, *session, *parameters(world, method))
            assert code != "INTERNAL_ERROR", (method.name, told)
            failures |= {method.name} if code != "Success" else set()

    assert failures >= {"VM.start", "VM.pause", "VBD.unplug", "host.dmesg", "VM.get_possible_hosts"}
    # that each error was a declared one is looked up in the log when the daemon ends
