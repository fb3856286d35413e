"""Fills a new database with virtual machines as a busy host has them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Final

from xapid.datamodel.declare import Ref
from xapid.datamodel.network import Network
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.sr import SR
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vdi import VDI
from xapid.datamodel.vif import VIF
from xapid.datamodel.vm import VM
from xapid.db.store import Store

SMALL: Final = 64 << 20
AT_ONCE: Final = 100
RECORD_BYTES: Final = 10_000
"""About what one record of such a VM takes in an answer."""


def vm_values(number: int, *, full: bool) -> dict[str, Any]:
    """A small PV guest's fields; `full`: with as much text as makes a record of 10 kB."""
    values: dict[str, Any] = {
        "name_label": f"vm{number:04d}",
        "name_description": f"description {number}",
        "memory_static_max": SMALL,
        "memory_dynamic_max": SMALL,
        "memory_dynamic_min": SMALL,
        "memory_static_min": SMALL,
        "memory_target": SMALL,
        "VCPUs_max": 2,
        "VCPUs_at_startup": 1,
        "PV_bootloader": "pygrub",
    }
    if full:
        values["other_config"] = {
            f"org.example.inventory:{key:03d}": f"{number}-{key} " + "x" * 60 for key in range(45)
        }
        values["xenstore_data"] = {f"vm-data/{key:02d}": "y" * 40 for key in range(12)}
    return values


async def populate(path: Path, count: int, *, bare: int = 0) -> None:
    """Make `count` VMs with two disks and an interface each, then `bare` small ones without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = await Store.open(path, CLASSES)
    async with store.transaction() as tx:
        sr = tx.create(SR, {"name_label": "disks", "type": "dummy"})
        network = tx.create(Network, {"name_label": "net"})
    for start in range(0, count, AT_ONCE):
        async with store.transaction() as tx:
            for number in range(start, min(start + AT_ONCE, count)):
                vm = tx.create(VM, vm_values(number, full=True))
                _equip(tx, vm, sr, network, number)
    async with store.transaction() as tx:
        for number in range(bare):
            tx.create(VM, vm_values(number, full=False) | {"name_label": f"bare{number:04d}"})
    await store.close()


def _equip(tx: Any, vm: Ref[VM], sr: Ref[SR], network: Ref[Network], number: int) -> None:
    """Two disks and an interface."""
    for device in ("0", "1"):
        vdi = tx.create(
            VDI,
            {
                "name_label": f"disk {device} of vm{number:04d}",
                "SR": sr,
                "virtual_size": 8 << 30,
                "location": str(uuid.uuid4()),
            },
        )
        tx.create(VBD, {"VM": vm, "VDI": vdi, "userdevice": device, "bootable": device == "0"})
    mac = f"00:16:3e:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    tx.create(VIF, {"VM": vm, "network": network, "device": "0", "MAC": mac})
