"""A whole daemon with an object of every class."""

from __future__ import annotations

import asyncio
import tempfile
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from xapid.datamodel.bond import Bond
from xapid.datamodel.declare import (
    Bool,
    Class,
    DateTime,
    EnumType,
    Float,
    Int,
    MapType,
    RecordType,
    RefType,
    SetType,
    String,
    Type,
)
from xapid.datamodel.pif import PIF
from xapid.datamodel.pif_metrics import PIFMetrics
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vlan import VLAN
from xapid.db.store import Store
from xapid.xen.xenstore import Xenstore

from .conftest import Client, Daemon, disk, drive, eventually, patch, storage, vm_values
from .wire import Wire

NULL = "OpaqueRef:NULL"
DATE = xmlrpc.client.DateTime("20300101T00:00:00Z")


@dataclass
class World:
    """A daemon with an object of each class."""

    daemon: Daemon
    wire: Wire
    objects: dict[str, str]
    gone: dict[str, str]

    def valid(self, type_: Type[Any]) -> Any:
        """A value that the type check lets pass."""
        match type_:
            case EnumType():
                return str(next(iter(type_.values)))
            case RefType():
                return self.objects.get(type_.target, NULL)
            case SetType():
                return []
            case MapType():
                return {}
            case RecordType():
                return self.record(CLASSES[type_.target])
        return {String: "x", Int: "1", Float: 1.5, Bool: False, DateTime: DATE}[type_]

    def record(self, cls: type[Class]) -> dict[str, Any]:
        fields = (field for field in cls.fields.values() if field.qualifier != "RO/runtime")
        return {field.name: self.valid(field.type) for field in fields}


@contextmanager
def populated() -> Iterator[World]:
    """The world, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        daemon = Daemon(Path(directory))
        asyncio.run(seed(daemon.state / "state.db"))
        crashes = daemon.state / "crash"
        (crashes / "202611232144").mkdir(parents=True)
        settings = daemon.state / "settings.toml"
        settings.write_text(f'[host]\ncrash_directory = "{crashes}"\n')
        daemon.arguments = ("--config", str(settings))
        daemon.start()
        wire = Wire(daemon.socket)
        try:
            client = daemon.client()
            wire.session = client.session
            yield World(daemon, wire, *populate(client, daemon))
        finally:
            wire.close()
            daemon.stop()


async def seed(path: Path) -> None:
    """Put objects of the classes that no call makes yet into a new database."""
    store = await Store.open(path, CLASSES)
    async with store.transaction() as tx:
        metrics = tx.create(PIFMetrics, {})
        pifs = [
            tx.create(PIF, {"device": f"eth{n}", "physical": n == 0, "metrics": metrics})
            for n in range(3)
        ]
        tx.create(VLAN, {"tagged_PIF": pifs[0], "untagged_PIF": pifs[1], "tag": 7})
        tx.create(Bond, {"master": pifs[2]})
    await store.close()


def live_guest(client: Client, daemon: Daemon, sr: str, network: str) -> dict[str, str]:
    """A running guest; what only a running or a crashed one has, by class."""
    vm = client("VM.create", vm_values(actions_after_crash="coredump_and_destroy"))
    vbd = drive(client, vm, disk(client, sr))
    vif = card(client, vm, network)
    client("VM.start", vm, False, False)
    daemon.order(client("VM.get_domid", vm), "crash")
    crashdump = eventually(lambda: client("VM.get_crash_dumps", vm))[0]
    eventually(lambda: client("VM.get_power_state", vm) == "Halted")
    eventually(lambda: client("VM.get_current_operations", vm) == {})
    client("VM.start", vm, False, False)
    console = eventually(lambda: client("VM.get_consoles", vm))[0]
    found = {"crashdump": crashdump, "console": console}
    for cls, device in (("VBD", vbd), ("VIF", vif)):
        found[f"{cls}_metrics"] = client(f"{cls}.get_metrics", device)
    asyncio.run(tell(daemon.state / "xenstored", client("VM.get_domid", vm)))
    found["VM_guest_metrics"] = eventually(partial(told, client, vm))
    return found


async def tell(xenstored: Path, domid: str) -> None:
    """Write what a guest's agent would."""
    guest = Xenstore(xenstored)
    await guest.start()
    await guest.write(f"/local/domain/{domid}/data/os_name", b"Linux")
    await guest.close()


def also_gone(client: Client, daemon: Daemon) -> dict[str, str]:
    """References of a repository, its PBD, a network, a task and a host's dump, destroyed."""
    sr = storage(client, daemon, "gone")
    pbd = client("SR.get_PBDs", sr)[0]
    client("PBD.unplug", pbd)
    client("SR.forget", sr)
    network = client("network.create", {"name_label": "gone"})
    client("network.destroy", network)
    task = client("task.create", "gone", "")
    client("task.destroy", task)
    return {"SR": sr, "PBD": pbd, "network": network, "task": task}


def told(client: Client, vm: str) -> str | None:
    """What the guest tells of itself, once it has told something."""
    metrics: str = client("VM.get_guest_metrics", vm)
    return None if metrics == NULL else metrics


def card(client: Client, vm: str, network: str) -> str:
    values = {
        "device": "0", "network": network, "VM": vm, "MAC": "", "MTU": "1500",
        "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {},
    }  # fmt: skip
    ref: str = client("VIF.create", values)
    return ref


def populate(client: Client, daemon: Daemon) -> tuple[dict[str, str], dict[str, str]]:
    """Make objects; their references by class, and those of objects that are gone again."""
    sr = storage(client, daemon)
    network = client(
        "network.create", {"name_label": "n", "name_description": "", "other_config": {}}
    )
    gone = {}
    for _ in range(2):
        vm = client("VM.create", vm_values())
        vdi = disk(client, sr)
        vbd = drive(client, vm, vdi)
        vif = card(client, vm, network)
        user = client("user.create", {"short_name": "somebody", "fullname": ""})
        if not gone:
            gone = {"VBD": vbd, "VIF": vif, "VDI": vdi, "VM": vm, "user": user}
            for name, ref in gone.items():
                client(f"{name}.destroy", ref)
            gone |= also_gone(client, daemon)
    objects = {"VM": vm, "VDI": vdi, "VBD": vbd, "VIF": vif, "network": network, "SR": sr}
    objects |= {"user": user, "session": client.session}
    objects |= live_guest(client, daemon, sr, network)
    backend = client("VM.create", vm_values())
    objects["VTPM"] = client("VTPM.create", {"VM": vm, "backend": backend})
    client("pool_patch.apply", patch(client, daemon), client("host.get_all")[0])
    for name, cls in CLASSES.items():
        if name not in objects and "get_all" in cls.derived:
            found = client(f"{name}.get_all")
            if found:
                objects[name] = found[0]
    objects["task"] = client("task.create", "mine", "")
    return objects, gone
