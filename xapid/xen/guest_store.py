"""What a guest and its agents find in xenstore when they start, and who may write there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..datamodel.errors import InvalidValue
from .guest_tree import domain_path
from .xenstore import Nodes, Step, Xenstore
from .xenstore_wire import Permissions

GUEST_OWNS = (
    "attr", "control", "data", "drivers", "error", "feature", "hvmloader", "messages", "rrd",
    "vm-data", "xenserver/attr",
)  # fmt: skip
"""Directories that the guest may write; libxl makes some of them, and control for reading only."""

GUEST_READS = ("xenserver", "bios-strings")

VM_DATA = "vm-data"
VM_DATA_PATH = re.compile(r"[A-Za-z0-9_@-]{1,64}(/[A-Za-z0-9_@-]{1,64}){0,7}")
MAX_VALUE = 2048  # what xenstored takes for one node where nobody changed its limits
MAX_ENTRIES = 256


@dataclass(frozen=True)
class GuestMemory:
    """What the guest's balloon driver is told; bytes in the records, KiB here."""

    dynamic_min_kib: int
    dynamic_max_kib: int
    initial_target_kib: int


@dataclass(frozen=True)
class GuestStore:
    """Everything to be written for one guest, by path from its directory."""

    memory: GuestMemory
    vm_data: Mapping[str, str] = field(default_factory=dict)


def plan_vm_data(xenstore_data: Mapping[str, str]) -> dict[str, str]:
    """VM.xenstore_data by path below vm-data; the prefix may be given or left out.

    Raises INVALID_VALUE: nothing else of the guest's directory can be named, and every value fits.
    """
    if len(xenstore_data) > MAX_ENTRIES:
        raise InvalidValue("xenstore_data", f"more than {MAX_ENTRIES} keys")
    planned = {}
    for key, value in xenstore_data.items():
        path = key.removeprefix(f"{VM_DATA}/")
        if not VM_DATA_PATH.fullmatch(path):
            raise InvalidValue("xenstore_data", key)
        if len(value.encode()) > MAX_VALUE:
            raise InvalidValue(f"xenstore_data:{key}", f"longer than {MAX_VALUE} bytes")
        if path in planned:
            raise InvalidValue("xenstore_data", key)
        planned[path] = value
    return planned


async def prepare_guest(xenstore: Xenstore, domid: int, plan: GuestStore) -> None:
    """Add to what libxl made what guests' agents expect; for a domain that does not yet run.

    All of it is there at once, or none. Raises XenstoreError: XenstoreNotFound when the domain has
    no directory, XenstoreUnavailable.
    """
    top = domain_path(domid)
    writable = Permissions(domid)
    readable = Permissions(0, grants=((domid, "r"),))

    steps = [Step.sees(top)]  # never make the directory of a domain that has gone
    for name in GUEST_READS:
        steps += _own(f"{top}/{name}", readable)
    for name in (*GUEST_OWNS, "memory/uncooperative"):
        steps += _own(f"{top}/{name}", writable)
    for name, kib in _memory_nodes(plan.memory).items():
        steps.append(Step.writes(f"{top}/memory/{name}", str(kib).encode()))
    steps += _vm_data(top, plan.vm_data)
    await xenstore.transaction(lambda nodes: nodes.do(steps))


def _memory_nodes(memory: GuestMemory) -> dict[str, int]:
    return {
        "dynamic-min": memory.dynamic_min_kib,
        "dynamic-max": memory.dynamic_max_kib,
        "initial-target": memory.initial_target_kib,
    }


def _own(path: str, permissions: Permissions) -> list[Step]:
    return [Step.makes(path), Step.permits(path, permissions)]


def _vm_data(top: str, vm_data: Mapping[str, str]) -> list[Step]:
    return [
        Step.writes(f"{top}/{VM_DATA}/{path}", value.encode()) for path, value in vm_data.items()
    ]


async def replace_vm_data(xenstore: Xenstore, domid: int, vm_data: Mapping[str, str]) -> None:
    """Bring the vm-data of a running guest in line with what `plan_vm_data` made.

    Raises XenstoreError as prepare_guest does.
    """
    top = domain_path(domid)
    steps = [*_own(f"{top}/{VM_DATA}", Permissions(domid)), *_vm_data(top, vm_data)]

    async def write(nodes: Nodes) -> None:
        await nodes.read(top)
        await nodes.remove(f"{top}/{VM_DATA}")
        await nodes.do(steps)

    await xenstore.transaction(write)
