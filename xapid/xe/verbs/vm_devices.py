"""A VM's disks, drives and interfaces, by the commands of old that begin with vm-."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..catalogue import INT, NULL, STRING, ref_to
from ..command import Argument, Call, Command, optional, required
from ..failures import Refused, UsageError
from ..generic import print_objects
from ..objects import Record
from ..output import shown
from ..storage_choice import repository_for_disks

DEVICE: Final = required("device", STRING, "its position: a number from 0, or a name like xvda")
VBD_PARAMS: Final = optional("vbd-params", STRING, "the fields of the VBDs to show")
VDI_PARAMS: Final = optional("vdi-params", STRING, "the fields of the VDIs to show")
DISK_FIELDS: Final = ("uuid,vm-name-label,userdevice", "uuid,name-label,sr-name-label,virtual-size")
DISC_FIELDS: Final = ("uuid,vm-name-label,userdevice,empty", "uuid,name-label")


def _devices(call: Call, vm: str, kind: str) -> dict[str, Record]:
    """The VBDs of a VM that are disks, or drives. kind: Disk or CD."""
    found = {}
    for vbd in call.server("VM.get_VBDs", vm):
        record = call.objects.record("VBD", vbd)
        if record is not None and record["type"] == kind:
            found[vbd] = record
    return found


def _list_disks(call: Call, vm: str) -> None:
    _list(call, _devices(call, vm, "Disk"), DISK_FIELDS)


def _list_discs(call: Call, vm: str) -> None:
    _list(call, _devices(call, vm, "CD"), DISC_FIELDS)


def _list(call: Call, vbds: dict[str, Record], usual: tuple[str, str]) -> None:
    print_objects(call, "VBD", vbds, call.get("vbd-params", usual[0]))
    refs = (record["VDI"] for record in vbds.values() if record["VDI"] != NULL)
    vdis = {ref: call.objects.record("VDI", ref) for ref in refs}
    there = {ref: record for ref, record in vdis.items() if record is not None}
    if call.out.form != "minimal":
        print_objects(call, "VDI", there, call.get("vdi-params", usual[1]))


def _list_of(reference: str, class_name: str, call: Call, vm: str) -> None:
    refs: Iterable[str] = call.server(f"VM.get_{reference}", vm)
    records = {ref: call.objects.record(class_name, ref) for ref in refs}
    there = {ref: record for ref, record in records.items() if record is not None}
    print_objects(call, class_name, there, call.get("params", ""))


def _list_interfaces(call: Call, vm: str) -> None:
    _list_of("VIFs", "VIF", call, vm)


def _list_crashdumps(call: Call, vm: str) -> None:
    _list_of("crash_dumps", "crashdump", call, vm)


def _at(call: Call, vm: str, kind: str, device: str) -> str:
    """The VBD at a position. Raises Refused."""
    for vbd, record in _devices(call, vm, kind).items():
        if device in (record["userdevice"], record["device"]):
            return vbd
    thing, verb = ("disk", "disk-list") if kind == "Disk" else ("drive", "cd-list")
    raise Refused(
        f"{call.label('VM', vm)} has no {thing} at {shown(device)}: `xe vm-{verb} vm=…` shows "
        "what it has"
    )


def _vbd(vm: str, vdi: str, device: str, **more: Any) -> dict[str, Any]:
    return {
        "VM": vm, "VDI": vdi, "userdevice": device, "bootable": False, "mode": "RW",
        "type": "Disk", "unpluggable": True, "empty": False, **more,
    }  # fmt: skip


def _runs(call: Call, vm: str) -> bool:
    return bool(call.server("VM.get_power_state", vm) == "Running")


def _add_disk(call: Call, vm: str) -> None:
    sr = repository_for_disks(call, "sr")
    device, label = call.get("device", "autodetect"), call.label("VM", vm)
    disk = {
        "name_label": f"{label} {device}", "SR": sr, "virtual_size": call.get("disk-size"),
        "type": "user", "sharable": False, "read_only": False,
    }  # fmt: skip
    vdi = call.perform(label, "VDI.create", disk)
    try:
        vbd = call.perform(label, "VBD.create", _vbd(vm, vdi, device))
    except BaseException:
        call.server.reconnect()
        call.server("VDI.destroy", vdi)
        raise
    if _runs(call, vm):
        call.perform(label, "VBD.plug", vbd)
    call.made("VBD", vbd)


def _remove_disk(call: Call, vm: str) -> None:
    vbd = _at(call, vm, "Disk", call.get("device"))
    _take_out(call, vm, vbd, with_image=True)


def _take_out(call: Call, vm: str, vbd: str, *, with_image: bool) -> None:
    label = call.label("VM", vm)
    vdi = call.server("VBD.get_VDI", vbd)
    if call.server("VBD.get_currently_attached", vbd) and _runs(call, vm):
        call.perform(label, "VBD.unplug", vbd)
    call.perform(label, "VBD.destroy", vbd)
    if with_image and vdi != NULL:
        call.perform(label, "VDI.destroy", vdi)


def _add_drive(call: Call, vm: str) -> None:
    vdi = call.get("cd-name", NULL)
    device = call.get("device", "autodetect")
    record = _vbd(vm, vdi, device, type="CD", mode="RO", bootable=True, empty=vdi == NULL)
    vbd = call.perform(call.label("VM", vm), "VBD.create", record)
    call.made("VBD", vbd)


def _drive(call: Call, vm: str, *, empty: bool | None = None) -> str:
    """The VM's drive: the one at `device`, or the only one that is empty or is not."""
    if call.has("device"):
        return _at(call, vm, "CD", call.get("device"))
    drives = {
        vbd: record
        for vbd, record in _devices(call, vm, "CD").items()
        if empty is None or record["empty"] == empty
    }
    if len(drives) == 1:
        return next(iter(drives))
    label = call.label("VM", vm)
    if drives:
        places = ", ".join(record["userdevice"] for record in drives.values())
        raise UsageError(f"{label} has several such drives: say device= one of {places}")
    what = {None: "drive", True: "empty drive", False: "drive with a disc"}[empty]
    raise Refused(f"{label} has no {what}: `xe vm-cd-list vm=…` shows its drives")


def _insert(call: Call, vm: str) -> None:
    vdi = call.get("cd-name")
    call.perform(call.label("VM", vm), "VBD.insert", _drive(call, vm, empty=True), vdi)


def _eject(call: Call, vm: str) -> None:
    call.perform(call.label("VM", vm), "VBD.eject", _drive(call, vm, empty=False))


def _remove_drive(call: Call, vm: str) -> None:
    _take_out(call, vm, _drive(call, vm), with_image=False)


CD_NAME: Final = optional("cd-name", ref_to("VDI"), "the disc", "cd", "vdi")
SOME_DEVICE: Final = DEVICE._replace(required=False)
PARAMS: Final = optional("params", STRING, "the fields to show")


def _vm(verb: str, summary: str, run: Any, *arguments: Argument) -> Command:
    return Command(
        f"vm-{verb}", "vm", summary, run, arguments, "VM", only=(("is_a_template", False),)
    )


COMMANDS = (
    _vm("disk-list", "List the disks of a VM.", _list_disks, VBD_PARAMS, VDI_PARAMS),
    _vm("cd-list", "List the drives of a VM.", _list_discs, VBD_PARAMS, VDI_PARAMS),
    _vm("vif-list", "List the network interfaces of a VM.", _list_interfaces, PARAMS),
    _vm("crashdump-list", "List the crash dumps of a VM.", _list_crashdumps, PARAMS),
    _vm(
        "disk-add", "Make a disk and give it to a VM; a running one gets it at once.", _add_disk,
        required("disk-size", INT, "its size, such as 20GiB"), SOME_DEVICE,
        optional("sr", ref_to("SR"), "where it goes; the pool's default repository"),
    ),
    _vm("disk-remove", "Take a disk from a VM, and destroy it.", _remove_disk, DEVICE),
    _vm("cd-add", "Give a VM a drive, with a disc or empty.", _add_drive, CD_NAME, SOME_DEVICE),
    _vm(
        "cd-insert", "Put a disc into a VM's empty drive.", _insert,
        CD_NAME._replace(required=True), SOME_DEVICE,
    ),
    _vm("cd-eject", "Take the disc out of a VM's drive.", _eject, SOME_DEVICE),
    _vm("cd-remove", "Take a drive from a VM.", _remove_drive, SOME_DEVICE),
)  # fmt: skip
