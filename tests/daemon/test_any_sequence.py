"""Any sequence of calls, and of what guests and other toolstacks do, keeps the invariants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from xapid.datamodel.declare import MapType, RefType, SetType, Type
from xapid.datamodel.registry import CLASSES

from .conftest import Client, Daemon, Failure, disk, drive, eventually, storage, vm_values

NULL = "OpaqueRef:NULL"
SEEN = ("VM", "VM_metrics", "console", "crashdump", "VBD", "VDI", "SR", "PBD", "host")
PARAMETERS: dict[str, tuple[Any, ...]] = {
    "start": (False, False),
    "pause": (),
    "unpause": (),
    "clean_shutdown": (),
    "clean_reboot": (),
    "hard_shutdown": (),
    "hard_reboot": (),
    "suspend": (),
    "resume": (True, False),
    "power_state_reset": (),
    "clone": ("clone",),
    "copy": ("copy", NULL),
    "destroy": (),
}
MOVES = set(PARAMETERS) - {"clone", "copy", "destroy", "power_state_reset"}
REFUSALS = {
    "VM_BAD_POWER_STATE", "OPERATION_NOT_ALLOWED", "VM_IS_TEMPLATE", "OTHER_OPERATION_IN_PROGRESS",
}  # fmt: skip
LATER = {"OBJECT_IN_USE", "OPERATION_NOT_ALLOWED", "VDI_IN_USE", "VM_HAS_NO_SUSPEND_VDI",
         "VM_MISSING_PV_DRIVERS", "HOST_NOT_ENOUGH_FREE_MEMORY"}  # fmt: skip
"""Why an allowed operation may still end: what it met on its way."""

TOOLSTACK = """
import json, sys
from xapid.xenworker._libxl_mock import ffi, lib
out, count = ffi.new("libxl_ctx **"), ffi.new("int *")
logger = lib.xapid_logger_new(sys.stderr.fileno(), lib.XTL_CRITICAL)
assert lib.xapid_ctx_alloc(out, logger) == 0
ctx = out[0]
for line in sys.stdin:
    what, domid = line.split()
    if what == "destroy":
        lib.libxl_domain_destroy(ctx, int(domid), ffi.NULL)
    elif what != "list":
        lib.xapid_mock_order(int(domid), what.encode(), 1)
    found = lib.libxl_list_domain(ctx, count)
    seen = [
        ["".join(f"{byte:02x}" for byte in found[i].uuid.uuid), found[i].domid,
         bool(found[i].paused), bool(found[i].shutdown or found[i].dying)]
        for i in range(count[0])
    ]
    lib.libxl_dominfo_list_free(found, count[0])
    print(json.dumps(seen), flush=True)
"""


class Toolstack:
    """Another program on the same host: sees Xen's list, and does to domains what guests may."""

    def __init__(self, daemon: Daemon) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TOOLSTACK],
            env={**os.environ, "XAPID_MOCK_STATE": str(daemon.mock_state)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, what: str, domid: str = "0") -> dict[str, tuple[int, bool, bool]]:
        """Do it, and then: domid, paused and ended of each domain, by its uuid without dashes."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{what} {domid}\n")
        self.process.stdin.flush()
        seen = json.loads(self.process.stdout.readline())
        return {uuid: (number, paused, ended) for uuid, number, paused, ended in seen}

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def references(type_: Type[Any], value: Any) -> Iterator[tuple[str, str]]:
    """The (class, reference) pairs in a field's value, less null ones."""
    match type_:
        case RefType():
            if value != NULL:
                yield type_.target, value
        case SetType():
            for item in value:
                yield from references(type_.item, item)
        case MapType():
            for item in value.values():
                yield from references(type_.value, item)


Everything = dict[str, dict[str, dict[str, Any]]]


def disagreements(found: Everything) -> Iterator[str]:
    """References that lead nowhere, and bound fields whose ends do not agree."""
    for name, records in found.items():
        for field in CLASSES[name].fields.values():
            for ref, record in records.items():
                for target, other in references(field.type, record[field.name]):
                    if target not in found:
                        continue
                    place = f"{name} {ref}.{field.name} -> {target} {other}"
                    if other not in found[target]:
                        yield f"{place} leads nowhere"
                    elif field.inverse is not None:
                        back = found[target][other][field.inverse]
                        if ref != back and ref not in back:
                            yield f"{place} is not answered by {field.inverse}"


def untrue(found: Everything, domains: dict[str, tuple[int, bool, bool]]) -> Iterator[str]:
    """Where the records of VMs and Xen's list do not agree."""
    left = {uuid for uuid, (domid, _, _) in domains.items() if domid != 0}
    for record in found["VM"].values():
        if record["is_control_domain"]:
            continue
        uuid = record["uuid"].replace("-", "")
        left.discard(uuid)
        there = domains.get(uuid)
        said = (record["power_state"], int(record["domid"]))
        if there is None:
            if said not in (("Halted", -1), ("Suspended", -1)):
                yield f"{said} without a domain"
        elif there[2]:
            yield f"{said} with a domain that has ended"
        elif said != ("Paused" if there[1] else "Running", there[0]):
            yield f"{said} with the domain {there}"
        attached = [
            found["VBD"][vbd]["currently_attached"]
            for vbd in record["VBDs"]
            if record["power_state"] == "Halted"
        ]
        if any(attached):
            yield "a halted VM with an attached disk"
    yield from (f"no record of domain {uuid}" for uuid in left)


class AnySequence(RuleBasedStateMachine):
    """Calls on a handful of VMs and disks of one daemon; it outlives the sequences."""

    daemon: ClassVar[Daemon]
    client: ClassVar[Client]
    toolstack: ClassVar[Toolstack]
    sr: ClassVar[str]

    @initialize(state=st.sampled_from(["Halted", "Running", "Paused", "Suspended"]))
    def begin(self, state: str) -> None:
        self.create("pv")
        [vm] = self.vms()
        if state != "Halted":
            self.client("VM.start", vm, state == "Paused", False)
        if state == "Suspended":
            self.client("VM.suspend", vm)
        self.settled()

    def vms(self) -> dict[str, dict[str, Any]]:
        everyone = self.client("VM.get_all_records").items()
        default = "default_template"
        return {
            ref: vm
            for ref, vm in everyone
            if not vm["is_control_domain"] and default not in vm["other_config"]
        }

    def pick(self, number: int) -> tuple[str, dict[str, Any]] | None:
        vms = list(self.vms().items())
        return vms[number % len(vms)] if vms else None

    def settled(self) -> None:
        """Wait until the daemon has taken notice, and check that all is in order."""

        def in_order() -> bool:
            self.faults = self.look()
            return not self.faults

        try:
            eventually(in_order, 120.0)  # a reboot loop is slowed down, and the machine may be busy
        except AssertionError:
            raise AssertionError("\n".join(self.faults)) from None

    def look(self) -> list[str]:
        found = {
            name: self.client(f"{name}.get_all_records")
            for name in SEEN
            if "get_all_records" in CLASSES[name].derived
        }
        busy = [
            f"{name} {ref} is worked on"
            for name, records in found.items()
            for ref, record in records.items()
            if record.get("current_operations")
        ]
        return [*busy, *disagreements(found), *untrue(found, self.toolstack("list"))]

    def refused(self, method: str, *parameters: Any) -> str:
        """The code of the error that a call ended with; "" when it did what it should."""
        try:
            self.client(method, *parameters)
        except Failure as failure:
            if failure.code == "INTERNAL_ERROR":
                raise
            return failure.code
        return ""

    @rule(kind=st.sampled_from(["pv", "hvm"]))
    def create(self, kind: str) -> None:
        if len(self.vms()) > 3:
            return
        policy = "BIOS order" if kind == "hvm" else ""
        vm = self.client(
            "VM.create", vm_values(HVM_boot_policy=policy, actions_after_crash="restart")
        )
        drive(self.client, vm, disk(self.client, self.sr))
        self.settled()

    @rule(number=st.integers(0, 3), operation=st.sampled_from(sorted(PARAMETERS)))
    def operate(self, number: int, operation: str) -> None:
        picked = self.pick(number)
        if picked is None or (operation in ("clone", "copy") and len(self.vms()) > 3):
            return
        vm, record = picked
        allowed = operation in record["allowed_operations"]
        parameters = PARAMETERS[operation]
        if operation == "destroy":
            self.remove_devices(record)
        code = self.refused(f"VM.{operation}", vm, *parameters)
        if allowed:
            assert code in {"", *LATER}, (operation, code)
        elif not record["current_operations"]:  # else what held it may have ended by now
            assert code in REFUSALS, (operation, code, record["power_state"])
        self.settled()

    @rule(number=st.integers(0, 3), choice=st.integers(0, 30))
    def operate_as_allowed(self, number: int, choice: int) -> None:
        """Most operations are refused in most states: this one walks on through the states."""
        picked = self.pick(number)
        known = [op for op in picked[1]["allowed_operations"] if op in MOVES] if picked else []
        if picked is not None and known:
            operation = known[choice % len(known)]
            code = self.refused(f"VM.{operation}", picked[0], *PARAMETERS[operation])
            assert code in {"", *LATER}, (operation, code)
            self.settled()

    def remove_devices(self, record: dict[str, Any]) -> None:
        for vbd in record["VBDs"]:
            vdi = self.client("VBD.get_VDI", vbd)
            if not self.refused("VBD.destroy", vbd):
                self.refused("VDI.destroy", vdi)

    @rule(number=st.integers(0, 3), template=st.booleans())
    def make_a_template(self, number: int, template: bool) -> None:
        picked = self.pick(number)
        if picked is not None:
            vm, record = picked
            code = self.refused("VM.set_is_a_template", vm, template)
            assert (code == "") == (record["power_state"] == "Halted")
            self.settled()

    @rule(
        number=st.integers(0, 3),
        action=st.sampled_from(["plug", "unplug", "destroy", "unplug_force"]),
    )
    def work_on_a_disk(self, number: int, action: str) -> None:
        picked = self.pick(number)
        if picked is None or not picked[1]["VBDs"]:
            return
        vbd = picked[1]["VBDs"][0]
        vdi, allowed = (
            self.client("VBD.get_VDI", vbd),
            self.client("VBD.get_allowed_operations", vbd),
        )
        code = self.refused(f"VBD.{action}", vbd)
        if action in ("plug", "unplug"):
            assert (code == "") == (action in allowed), (action, code, allowed)
        if action == "destroy" and not code:
            self.client("VDI.destroy", vdi)
        self.settled()

    @rule(number=st.integers(0, 3))
    def add_a_disk(self, number: int) -> None:
        picked = self.pick(number)
        if picked is None:
            return
        vm, record = picked
        if not record["VBDs"]:
            made = disk(self.client, self.sr)
            try:
                drive(self.client, vm, made)
            except Failure:
                self.client("VDI.destroy", made)
            self.settled()

    @rule(
        number=st.integers(0, 3),
        event=st.sampled_from(["crash", "poweroff", "reboot", "destroy"]),
    )
    def end_from_inside_or_behind(self, number: int, event: str) -> None:
        picked = self.pick(number)
        if picked is not None and picked[1]["domid"] != "-1":
            self.toolstack(event, picked[1]["domid"])
            self.settled()

    def teardown(self) -> None:
        for vm in self.vms():
            self.refused("VM.power_state_reset", vm)
            self.refused("VM.set_is_a_template", vm, False)
            self.remove_devices(self.client("VM.get_record", vm))
            eventually(lambda vm=vm: self.refused("VM.destroy", vm) in ("", "HANDLE_INVALID"))


def test_any_sequence_of_calls_keeps_the_invariants() -> None:
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        daemon = Daemon(Path(directory))
        daemon.start()
        toolstack = Toolstack(daemon)
        try:
            AnySequence.daemon, AnySequence.client = daemon, daemon.client()
            AnySequence.toolstack = toolstack
            AnySequence.sr = storage(AnySequence.client, daemon)
            pool = AnySequence.client("pool.get_all")[0]
            AnySequence.client("pool.set_default_SR", pool, AnySequence.sr)
            run_state_machine()
        finally:
            toolstack.close()
            daemon.stop()


def run_state_machine() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        AnySequence,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
