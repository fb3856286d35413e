"""Making and unmaking VMs under the names of old: install, clone, copy, create, uninstall."""

from __future__ import annotations

from typing import Any, Final
from xml.etree import ElementTree

from ..catalogue import BOOL, INT, NULL, STRING, classes, ref_to
from ..command import Call, Command, optional, required
from ..failures import Cancelled, Failure, Refused, Unreachable, UsageError
from ..generic import create, field_argument, given_fields
from ..objects import Record
from ..output import shown
from ..storage_choice import repository_for_disks

NEW_NAME: Final = required("new-name-label", STRING, "name of the new VM", "name", "new-name")
NEW_DESCRIPTION: Final = optional("new-name-description", STRING, "more about the new VM")
SR: Final = optional("sr", ref_to("SR"), "the repository for the disks; the pool's default one")
MEMORY: Final = optional("memory", INT, "bytes of memory, such as 4GiB")
VCPUS: Final = optional("vcpus", INT, "number of vCPUs")
DISK: Final = optional("disk-size", INT, "size of the first disk, such as 20GiB")
NETWORK: Final = optional("network", ref_to("network"), "the network of its first interface")
CD: Final = optional("cd", ref_to("VDI"), "a disc for its drive, such as an installer's")
DISKS: Final = "disks"
TEMPLATE: Final = (("is_a_template", True),)
GUEST: Final = (("is_a_template", False),)
SIZES: Final = ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min")


def _install(call: Call, _: str) -> None:
    """A VM from a template, with its disks, its interface and its disc; or nothing at all."""
    template, name = call.get("template"), call.get("new-name-label")
    record = call.objects.record("VM", template)
    if record is None or not record["is_a_template"]:
        raise Refused(f"{call.label('VM', template)} is no template: see `xe template-list`")
    document = _wanted_disks(call, record)
    vm = _from_template(call, template, record, name, document)
    try:
        _describe(call, vm)
        call.perform(name, "VM.provision", vm)
        if call.has("network"):
            _add_interface(call, vm, call.get("network"))
        if call.has("cd"):
            _add_drive(call, vm, call.get("cd"))
    except (Failure, Cancelled, Refused, Unreachable, KeyboardInterrupt):
        _take_back(call, vm)
        raise
    call.made("VM", vm)


def _wanted_disks(call: Call, record: Record) -> str:
    """The template's list of disks, with the repository and the size that were asked for."""
    text = record["other_config"].get(DISKS, "")
    if not text:
        if call.has("disk-size"):
            raise UsageError("this template asks for no disk: add one with vm-disk-add")
        return ""
    try:
        document = ElementTree.fromstring(text)  # noqa: S314 - from the server that is trusted
    except ElementTree.ParseError as error:
        raise Refused(f"the template's other-config:{DISKS} cannot be read ({error})") from error
    disks = document.findall("disk")
    if disks and call.has("disk-size"):
        disks[0].set("size", call.get("disk-size"))
    if call.has("sr") or any(not disk.get("sr") for disk in disks):
        sr = repository_for_disks(call, "sr")
        uuid = call.objects.uuid("SR", sr) or ""
        for disk in disks:
            if call.has("sr") or not disk.get("sr"):
                disk.set("sr", uuid)
    return ElementTree.tostring(document, encoding="unicode")


def _from_template(call: Call, template: str, record: Record, name: str, document: str) -> str:
    """The copy of the template: a clone, or where sizes are asked for, a VM made like it."""
    sized = {argument: call.get(argument) for argument in ("memory", "vcpus") if call.has(argument)}
    if not sized:
        vm: str = call.perform(name, "VM.clone", template, name)
        if document:
            call.server("VM.add_to_other_config", vm, DISKS, document)
        if "default_template" in record["other_config"]:
            call.server("VM.remove_from_other_config", vm, "default_template")
        return vm
    if record["VBDs"]:
        raise UsageError(
            "this template has disks of its own and is cloned, so its memory and vCPUs stay as "
            "they are: leave memory= and vcpus= out"
        )
    fields = classes()["VM"].fields
    values = {field.name: record[field.name] for field in fields if field.given}
    values |= {"name_label": name, "power_state": "Halted", "suspend_VDI": NULL}
    kept = {k: v for k, v in record["other_config"].items() if k != "default_template"}
    values["other_config"] = {**kept, DISKS: document} if document else kept
    values |= _sizes(sized)
    made: str = call.perform(name, "VM.create", values)
    return made


def _sizes(asked: dict[str, Any]) -> dict[str, Any]:
    """The fields of a VM that follow from an amount of memory and a number of vCPUs."""
    fields: dict[str, Any] = {}
    if "memory" in asked:
        fields = dict.fromkeys((*SIZES, "memory_target"), asked["memory"])
        fields["memory_static_min"] = str(min(int(asked["memory"]), 256 << 20))
    if "vcpus" in asked:
        fields |= {"VCPUs_max": asked["vcpus"], "VCPUs_at_startup": asked["vcpus"]}
    return fields


def _describe(call: Call, vm: str) -> None:
    if call.has("new-name-description"):
        call.server("VM.set_name_description", vm, call.get("new-name-description"))


def _add_interface(call: Call, vm: str, network: str) -> None:
    device = call.server("VM.get_allowed_VIF_devices", vm)[0]
    call.server("VIF.create", {"VM": vm, "network": network, "device": device, "MAC": ""})


def _add_drive(call: Call, vm: str, vdi: str) -> None:
    device = call.server("VM.get_allowed_VBD_devices", vm)[-1]
    call.server(
        "VBD.create",
        {
            "VM": vm, "VDI": vdi, "userdevice": device, "type": "CD", "mode": "RO",
            "bootable": True, "empty": vdi == NULL, "unpluggable": True,
        },
    )  # fmt: skip


def _take_back(call: Call, vm: str) -> None:
    """Remove a VM that could not be finished, with what was made for it."""
    call.server.reconnect()
    try:
        remove(call, vm)
    except (Failure, Unreachable) as failure:
        call.note(f"{call.label('VM', vm)} stayed behind half made ({failure}): vm-uninstall it")


def _clone(call: Call, vm: str) -> None:
    name = call.get("new-name-label")
    made = call.perform(call.label("VM", vm), "VM.clone", vm, name)
    _describe(call, made)
    call.made("VM", made)


def _copy(call: Call, vm: str) -> None:
    name, sr = call.get("new-name-label"), call.get("sr", NULL)
    made = call.perform(call.label("VM", vm), "VM.copy", vm, name, sr)
    _describe(call, made)
    call.made("VM", made)


def _create(call: Call, _: str) -> None:
    record = given_fields(call)
    asked = {name: call.get(name) for name in ("memory", "vcpus") if call.has(name)}
    record = {**_sizes(asked), **record}
    if "memory_static_max" not in record:
        raise UsageError("say how much memory the VM gets: memory=1GiB")
    for field in SIZES[1:]:
        record.setdefault(field, record["memory_static_max"])
    record.setdefault("memory_target", record["memory_dynamic_max"])
    create(call, "VM", record)


def _uninstall(call: Call, vm: str) -> None:
    """Remove a VM with all its disks that nothing else uses."""
    record = call.objects.record("VM", vm)
    if record is None:
        raise Refused("the VM is gone already")
    if record["power_state"] != "Halted":
        if not call.get("force", False):
            raise Refused(
                f"{call.label('VM', vm)} is {record['power_state'].lower()}: shut it down first, "
                "or say --force to stop it at once"
            )
        call.perform(call.label("VM", vm), "VM.hard_shutdown", vm)
        call.objects.forget()
    disks = own_disks(call, vm)
    if not call.get("force", False):
        _agreed(call, vm, disks)
    remove(call, vm)


def own_disks(call: Call, vm: str) -> list[str]:
    """The images that this VM alone uses; discs are never among them."""
    found = []
    for vbd in call.server("VM.get_VBDs", vm):
        record = call.server("VBD.get_record", vbd)
        if record["VDI"] == NULL or record["type"] != "Disk":
            continue
        if call.server("VDI.get_VBDs", record["VDI"]) == [vbd]:
            found.append(record["VDI"])
    return found


def _agreed(call: Call, vm: str, disks: list[str]) -> None:
    import sys  # only here: a person is asked

    lines = [f"The VM {call.label('VM', vm)} is removed for ever, with"]
    lines += [f"  the disk {call.label('VDI', disk)}" for disk in disks] or ["  no disk"]
    if not sys.stdin.isatty():
        raise Refused("\n".join([*lines, "say --force, as nobody can be asked here"]))
    sys.stderr.write("\n".join([*lines, "Type yes to go on: "]))
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "yes":
        raise Refused("nothing was removed")


def remove(call: Call, vm: str) -> None:
    """Destroy a halted VM, its devices, and the disks that only it uses."""
    disks = own_disks(call, vm)
    label = call.label("VM", vm)
    for vbd in call.server("VM.get_VBDs", vm):
        call.perform(label, "VBD.destroy", vbd)
    for vif in call.server("VM.get_VIFs", vm):
        call.perform(label, "VIF.destroy", vif)
    for vtpm in call.server("VM.get_VTPMs", vm):
        call.perform(label, "VTPM.destroy", vtpm)
    for disk in disks:
        call.perform(label, "VDI.destroy", disk)
    call.perform(label, "VM.destroy", vm)


def _uninstall_template(call: Call, template: str) -> None:
    if call.server("VM.get_other_config", template).get("default_template") == "true":
        raise Refused(f"{shown(call.label('VM', template))} came with xapid and stays")
    _uninstall(call, template)


FORCE: Final = optional("force", BOOL, "stop it if it runs, and do not ask")
_FIELDS: Final = tuple(
    field_argument(field)._replace(required=field.name == "name_label")
    for field in classes()["VM"].fields
    if field.given and field.name not in ("power_state", "suspend_VDI")
)

COMMANDS = (
    Command(
        "vm-install", "vm", "Make a VM from a template, with the disks that the template asks for.",
        _install,
        (
            required(
                "template", ref_to("VM"), "the template", "template-name", "template-uuid",
                "template-name-label", only=TEMPLATE,
            ),
            NEW_NAME, NEW_DESCRIPTION, SR, MEMORY, VCPUS, DISK, NETWORK, CD,
        ),
        details="What cannot be finished is taken back.",
    ),
    Command(
        "vm-clone", "vm", "Make a VM like this one, whose disks share data with the originals.",
        _clone, (NEW_NAME, NEW_DESCRIPTION), "VM", only=GUEST, alone=True,
    ),
    Command(
        "vm-copy", "vm", "Make a VM like this one, with full copies of its disks.", _copy,
        (NEW_NAME, NEW_DESCRIPTION, optional("sr", ref_to("SR"), "the repository for the copies")),
        "VM", only=GUEST, alone=True,
    ),
    Command(
        "vm-create", "vm", "Make a VM without disks, and print its uuid.", _create,
        (MEMORY, VCPUS, *_FIELDS),
    ),
    Command(
        "vm-uninstall", "vm", "Remove a VM together with the disks that only it uses.",
        _uninstall, (FORCE,), "VM", only=GUEST,
    ),
    Command(
        "template-uninstall", "template", "Remove a template together with its disks.",
        _uninstall_template, (FORCE,), "VM", only=TEMPLATE,
    ),
)  # fmt: skip
