"""Storage under the names of old: repositories, disks, drives, discs."""

from __future__ import annotations

import uuid as uuids
from typing import Any, Final

from ..catalogue import BOOL, INT, NULL, STRING, STRING_MAP, Type, ref_to
from ..command import Call, Command, optional, required
from ..failures import UsageError
from ..generic import PARAMS, create, print_objects
from ..output import shown_lines
from ..storage_choice import repository_for_disks

HOST: Final = required("host", ref_to("host"), "the host; the only one if it is not said")
DEVICE_CONFIG: Final = optional(
    "device-config", STRING_MAP, "how the host reaches the storage: `xe sm-list` tells the keys"
)
SM_CONFIG: Final = optional("sm-config", STRING_MAP, "keys and values for the driver")
SR_TYPE: Final = required("type", STRING, "the driver: `xe sm-list` shows them")
NAME: Final = required("name-label", STRING, "its name", "name")
DESCRIPTION: Final = optional("name-description", STRING, "more about it")
CONTENT: Final = optional("content-type", STRING, "`user` for disks, `iso` for discs")
SHARED: Final = optional("shared", BOOL, "whether several hosts may use it at once")
ISO: Final = "iso"


def _content(call: Call) -> str:
    return str(call.get("content-type", ISO if call.get("type") == ISO else ""))


def _create_sr(call: Call, _: str) -> None:
    name = call.get("name-label")
    sr = call.perform(
        name, "SR.create", call.get("host"), call.get("device-config"),
        call.get("physical-size", "0"), name, call.get("name-description", ""), call.get("type"),
        _content(call), call.get("shared", False), call.get("sm-config"),
    )  # fmt: skip
    call.made("SR", sr)


def _introduce_sr(call: Call, _: str) -> None:
    name = call.get("name-label")
    sr = call.perform(
        name, "SR.introduce", call.get("uuid"), name, call.get("name-description", ""),
        call.get("type"), _content(call), call.get("shared", False), call.get("sm-config"),
    )  # fmt: skip
    call.made("SR", sr)


def _probe_sr(call: Call, _: str) -> None:
    found = call.perform(
        call.get("type"), "SR.probe", call.get("host"), call.get("device-config"),
        call.get("type"), call.get("sm-config"),
    )  # fmt: skip
    call.out.value(shown_lines(found))


def _create_vdi(call: Call, _: str) -> None:
    record = {
        "name_label": call.get("name-label"),
        "name_description": call.get("name-description", ""),
        "SR": repository_for_disks(call, "sr"),
        "virtual_size": call.get("virtual-size"),
        "type": call.get("type", "user"),
        "sharable": call.get("sharable", False),
        "read_only": call.get("read-only", False),
        "other_config": call.get("other-config"),
        "xenstore_data": call.get("xenstore-data"),
        "sm_config": call.get("sm-config"),
    }
    create(call, "VDI", record)


def _introduce_vdi(call: Call, _: str) -> None:
    name = call.get("name-label", "")
    vdi = call.perform(
        name, "VDI.introduce", call.get("uuid", str(uuids.uuid4())), name,
        call.get("name-description", ""), call.get("sr"), call.get("type", "user"),
        call.get("sharable", False), call.get("read-only", False), call.get("other-config"),
        call.get("location"), call.get("xenstore-data"), call.get("sm-config"),
        call.get("managed", True),
    )  # fmt: skip
    call.made("VDI", vdi)


def _resize(call: Call, vdi: str) -> None:
    verb = "resize_online" if call.get("online", False) else "resize"
    call.perform(call.label("VDI", vdi), f"VDI.{verb}", vdi, call.get("disk-size"))


def _copy(call: Call, vdi: str) -> None:
    into = call.get("into-vdi", NULL)
    sr = call.get("sr", NULL)
    if sr == NULL and into == NULL:
        sr = call.server("VDI.get_SR", vdi)
    made = call.perform(
        call.label("VDI", vdi), "VDI.copy", vdi, sr, call.get("base-vdi", NULL), into
    )
    call.made("VDI", made)


def _clone(call: Call, vdi: str) -> None:
    _like(call, vdi, "clone")


def _snapshot(call: Call, vdi: str) -> None:
    _like(call, vdi, "snapshot")


def _like(call: Call, vdi: str, verb: str) -> None:
    made = call.perform(call.label("VDI", vdi), f"VDI.{verb}", vdi, call.get("driver-params"))
    for argument, field in (("new-name-label", "label"), ("new-name-description", "description")):
        if call.has(argument):
            call.server(f"VDI.set_name_{field}", made, call.get(argument))
    call.made("VDI", made)


def _create_vbd(call: Call, _: str) -> None:
    vdi, kind = call.get("vdi", NULL), call.get("type", "Disk")
    if vdi == NULL and kind == "Disk":
        raise UsageError("a disk needs vdi=NAME or vdi-uuid=UUID; for an empty drive say type=CD")
    record: dict[str, Any] = {
        "VM": call.get("vm"),
        "VDI": vdi,
        "userdevice": call.get("device", "autodetect"),
        "bootable": call.get("bootable", False),
        "mode": call.get("mode", "RO" if kind == "CD" else "RW"),
        "type": kind,
        "unpluggable": call.get("unpluggable", True),
        "empty": vdi == NULL,
        "other_config": call.get("other-config"),
        "qos_algorithm_type": call.get("qos_algorithm_type", ""),
        "qos_algorithm_params": call.get("qos_algorithm_params"),
    }
    create(call, "VBD", record)


def _unplug(call: Call, vbd: str) -> None:
    verb = "unplug_force" if call.get("force", False) else "unplug"
    call.perform(call.label("VBD", vbd), f"VBD.{verb}", vbd)


def _list_discs(call: Call, _: str) -> None:
    """The images in repositories of discs."""
    discs = {
        ref: record
        for ref, record in call.objects.records("VDI").items()
        if (call.objects.record("SR", record["SR"]) or {}).get("content_type") == ISO
    }
    print_objects(call, "VDI", discs, call.get("params", "name-label,uuid"))


GUEST: Final = (("is_a_template", False),)
DRIVER_PARAMS: Final = optional("driver-params", STRING_MAP, "keys and values for the driver")
LIKE: Final = (
    optional("new-name-label", STRING, "name of the new disk"),
    optional("new-name-description", STRING, "more about the new disk"),
    DRIVER_PARAMS,
)
MAPS: Final = (
    optional("other-config", STRING_MAP, "keys and values for the clients' own use"),
    optional("xenstore-data", STRING_MAP, "keys and values to write into xenstore"),
    SM_CONFIG,
)
FLAGS: Final = (
    optional("sharable", BOOL, "whether several VMs may write to it at once"),
    optional("read-only", BOOL, "whether nobody may write to it"),
)
VDI_TYPE: Final = optional("type", Type("enum", "vdi_type"), "what it is for; user if not said")

COMMANDS = (
    Command(
        "sr-create", "sr", "Make a repository on storage, which is wiped, and attach it.",
        _create_sr,
        (
            NAME, SR_TYPE, DEVICE_CONFIG, HOST, DESCRIPTION, CONTENT, SHARED,
            optional("physical-size", INT, "its size; all there is if it is not said"), SM_CONFIG,
        ),
        details="For instance: xe sr-create name-label=disks type=file "
        "device-config:location=/srv/xapid",
    ),
    Command(
        "sr-introduce", "sr", "Make a record for a repository that exists.", _introduce_sr,
        (
            required("uuid", STRING, "identity of the repository: sr-probe shows it"), NAME,
            SR_TYPE, DESCRIPTION, CONTENT, SHARED, SM_CONFIG,
        ),
        details="Then make a PBD (pbd-create) and plug it (pbd-plug).",
    ),
    Command(
        "sr-probe", "sr", "Look what a host can see on storage; the answer is XML.", _probe_sr,
        (SR_TYPE, DEVICE_CONFIG, HOST, SM_CONFIG),
    ),
    Command(
        "vdi-create", "vdi", "Make a disk, and print its uuid.", _create_vdi,
        (
            NAME, required("virtual-size", INT, "its size, such as 20GiB", "size", "disk-size"),
            optional("sr", ref_to("SR"), "where it goes; the pool's default repository"),
            DESCRIPTION, VDI_TYPE, *FLAGS, *MAPS,
        ),
    ),
    Command(
        "vdi-introduce", "vdi", "Make a record for a disk that exists in a repository.",
        _introduce_vdi,
        (
            required("sr", ref_to("SR"), "the repository that holds it"),
            required("location", STRING, "where it is, in the words of the driver"),
            optional("uuid", STRING, "its identity; a new one if it is not said"),
            NAME._replace(required=False), DESCRIPTION, VDI_TYPE, *FLAGS,
            optional("managed", BOOL, "whether clients may use it"), *MAPS,
        ),
    ),
    Command(
        "vdi-resize", "vdi", "Make a disk larger.", _resize,
        (
            required("disk-size", INT, "the new size", "size", "virtual-size"),
            optional("online", BOOL, "while a VM uses it"),
        ),
        "VDI",
    ),
    Command(
        "vdi-copy", "vdi", "Make a full copy of a disk.", _copy,
        (
            optional("sr", ref_to("SR"), "where the copy goes; where the original is"),
            optional("base-vdi", ref_to("VDI"), "copy only what differs from this disk"),
            optional("into-vdi", ref_to("VDI"), "a disk to overwrite"),
        ),
        "VDI",
    ),
    Command(
        "vdi-clone", "vdi", "Make a disk with the same contents, sharing data if it can.", _clone,
        LIKE, "VDI",
    ),
    Command(
        "vdi-snapshot", "vdi", "Keep the contents of a disk as they are now.", _snapshot, LIKE,
        "VDI",
    ),
    Command(
        "vbd-create", "vbd", "Give a VM a disk, or a drive for discs.", _create_vbd,
        (
            required("vm", ref_to("VM"), "the VM", only=GUEST),
            optional("device", STRING, "a number from 0; a free one if not said", "userdevice"),
            optional("vdi", ref_to("VDI"), "the disk or disc; none for an empty drive"),
            optional("bootable", BOOL, "whether the guest may boot from it"),
            optional("type", Type("enum", "vbd_type"), "Disk if it is not said"),
            optional("mode", Type("enum", "vbd_mode"), "RW for a disk, RO for a drive"),
            optional("unpluggable", BOOL, "whether it may be unplugged from a running VM"),
            MAPS[0],
            optional("qos_algorithm_type", STRING, "how access is limited"),
            optional("qos_algorithm_params", STRING_MAP, "the parameters of the limit"),
        ),
    ),
    Command(
        "vbd-unplug", "vbd", "Ask the guest to let go of a disk, and unplug it.", _unplug,
        (optional("force", BOOL, "take it away without asking; data may be lost"),), "VBD",
    ),
    Command("cd-list", "cd", "List the discs that drives can take.", _list_discs, (PARAMS,)),
)  # fmt: skip
