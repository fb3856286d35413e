"""Fills a database and directories of disks with what the scale benchmark needs."""

from __future__ import annotations

import os
import subprocess
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from xapid.datamodel.declare import Ref
from xapid.datamodel.network import Network
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.sr import SR
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vdi import VDI
from xapid.datamodel.vif import VIF
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.storage.driver import VolumeLabel

from .population import vm_values

DISK_BYTES: Final = 1 << 30
AT_ONCE: Final = 100
PAGE: Final = 4096


def make_raw_disk(directory: Path, name: str) -> str:
    """A sparse raw disk with its label, as the daemon makes them, but not synced. Its uuid."""
    own = str(uuid.uuid4())
    with (directory / f"{own}.raw").open("wb") as file:
        file.truncate(DISK_BYTES)
    label = {"format": 1} | asdict(VolumeLabel(name))
    (directory / f"{own}.json").write_bytes(orjson.dumps(label))
    return own


def make_qcow2_disks(directory: Path, count: int) -> None:
    """Empty qcow2 disks without labels: one that qemu-img makes, and copies as sparse as can be."""
    model = directory / "model"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(model), str(DISK_BYTES)]
    subprocess.run(command, check=True)
    content = model.read_bytes()
    model.unlink()
    pieces = [(at, content[at : at + PAGE]) for at in range(0, len(content), PAGE)]
    pieces = [(at, piece) for at, piece in pieces if any(piece)]
    for _ in range(count):
        fd = os.open(directory / f"{uuid.uuid4()}.qcow2", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        for at, piece in pieces:
            os.pwrite(fd, piece, at)
        os.ftruncate(fd, len(content))
        os.close(fd)


async def add_vms(path: Path, sr: str, disks: Path, network: str, count: int) -> None:
    """Add VMs with two disks in an SR of the type file and two interfaces on a network each."""
    store = await Store.open(path, CLASSES)
    for start in range(0, count, AT_ONCE):
        async with store.transaction() as tx:
            for number in range(start, min(start + AT_ONCE, count)):
                vm = tx.create(VM, vm_values(number, full=False))
                _equip(tx, vm, Ref(sr), disks, Ref(network), number)
    await store.close()


def _equip(
    tx: Any, vm: Ref[VM], sr: Ref[SR], disks: Path, network: Ref[Network], number: int
) -> None:
    for device in (0, 1):
        name = f"disk {device} of vm{number:04d}"
        own = make_raw_disk(disks, name)
        values = {"name_label": name, "SR": sr, "virtual_size": DISK_BYTES}
        vdi = tx.create(VDI, values | {"location": f"{own}.raw"}, uuid=own)
        tx.create(VBD, {"VM": vm, "VDI": vdi, "userdevice": str(device), "bootable": not device})
        mac = f"00:16:3e:{device:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        tx.create(VIF, {"VM": vm, "network": network, "device": str(device), "MAC": mac})
