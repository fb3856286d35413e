"""Turning a template's copy into a VM: the disks that its `other_config:disks` asks for."""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from ...datamodel.declare import NULL, Ref
from ...datamodel.enums import VbdMode, VbdType, VdiType
from ...datamodel.errors import InvalidValue, ProvisionOnlyAllowedOnTemplate, SRNotAttached
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...db.store import Store
from ...undo import Undo
from ...xen.plan import device_index
from ..operations import Operations
from ..ports import Call, Disks, implements

DISKS = "disks"
MAX_DOCUMENT = 16 << 10
MAX_PROVISIONED = 16
ATTRIBUTES = frozenset({"device", "size", "sr", "bootable", "type"})


@dataclass(frozen=True)
class WantedDisk:
    """One `<disk device= size= sr= bootable= type=/>` of a template; size in bytes."""

    device: str
    size: int
    sr: str
    bootable: bool
    kind: VdiType


def read_wanted_disks(document: str) -> tuple[WantedDisk, ...]:
    """Read `<provision><disk …/>…</provision>`. Raises INVALID_VALUE."""
    if not document:
        return ()
    if len(document) > MAX_DOCUMENT:
        _refuse("too long")
    found: list[WantedDisk] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if name != ("provision", "disk")[min(depth, 1)] or depth > 1:
            _refuse(name)
        if depth == 1:
            found.append(_wanted(attributes))
        depth += 1

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> NoReturn:
        _refuse("DOCTYPE")

    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(document, True)
    except xml.parsers.expat.ExpatError as error:
        _refuse(str(error))
    if len(found) > MAX_PROVISIONED or len({device_index(w.device) for w in found}) < len(found):
        _refuse("too many disks, or two on one device")
    return tuple(found)


def _wanted(attributes: Mapping[str, str]) -> WantedDisk:
    size = attributes.get("size", "")
    if not set(attributes) <= ATTRIBUTES or not (size.isascii() and size.isdigit()):
        _refuse(size)
    if len(size) > 18 or int(size) == 0:
        _refuse(size)
    kind = attributes.get("type", VdiType.SYSTEM)
    if kind not in (VdiType.SYSTEM, VdiType.USER, VdiType.EPHEMERAL):
        _refuse(kind)
    bootable = attributes.get("bootable", "false")
    device = attributes.get("device", "")
    device_index(device)
    return WantedDisk(
        device, int(size), attributes.get("sr", ""), bootable == "true", VdiType(kind)
    )


def _refuse(what: str) -> NoReturn:
    raise InvalidValue(f"other_config:{DISKS}", what)


@dataclass
class ProvisionService:
    store: Store
    operations: Operations
    disks: Disks

    @implements(VM.provision)
    async def provision(self, call: Call, vm: Ref[VM]) -> None:
        """Make the wanted disks, all or none, and the template a VM."""
        if not self.store.get(vm).is_a_template:
            raise ProvisionOnlyAllowedOnTemplate()
        async with self.operations.claim(call, vm, VM.provision) as record, Undo() as undo:
            wanted = read_wanted_disks(record.other_config.get(DISKS, ""))
            storage = [self._storage(disk.sr) for disk in wanted]
            made: list[tuple[WantedDisk, Ref[VDI]]] = []
            for disk, sr in zip(wanted, storage, strict=True):
                label = f"{record.name_label} {disk.device}"
                vdi = await self.disks.create(call, sr, disk.size, label, disk.kind)
                undo.add(self.disks.destroy, call, vdi)
                made.append((disk, vdi))
                call.progress(0.95 * len(made) / len(wanted))
            async with self.store.transaction() as tx:
                for disk, vdi in made:
                    tx.create(VBD, _device(vm, disk, vdi))
                kept = {k: v for k, v in tx.get(vm).other_config.items() if k != DISKS}
                tx.update(vm, {"is_a_template": False, "other_config": kept})
            undo.commit()

    def _storage(self, uuid: str) -> Ref[SR]:
        """The SR a template names by uuid, or the pool's default one for ""."""
        if not uuid:
            chosen = next(
                (p.default_SR for p in self.store.all(Pool) if p.default_SR != NULL), NULL
            )
        else:
            chosen = self.store.by_uuid(SR, uuid) or NULL
        if chosen == NULL:
            raise SRNotAttached(uuid or "the pool's default SR")
        return chosen


def _device(vm: Ref[VM], disk: WantedDisk, vdi: Ref[VDI]) -> dict[str, object]:
    return {
        "VM": vm,
        "VDI": vdi,
        "userdevice": disk.device,
        "bootable": disk.bootable,
        "mode": VbdMode.RW,
        "type": VbdType.DISK,
        "unpluggable": True,
    }
