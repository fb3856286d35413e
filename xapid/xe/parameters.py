"""What an object shows: its fields under the names of old, and what is read through references."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from .catalogue import ApiClass, Type, classes, folded, parse_type
from .failures import UsageError


class Parameter(NamedTuple):
    """One thing that an object shows.

    source: "field"; "name" of what a reference points to; "joined", read from the object that the
    reference in `field` points to, whose field is `inner`; or "call", of the getter `inner`.
    mark: R or S or M, then RO or RW, as `param-list` shows it.
    extra: shown only when it is asked for by its name or for one object alone.
    """

    name: str
    field: str
    source: str
    type: Type
    doc: str
    mark: str
    bytes: bool = False
    inner: str = ""
    extra: bool = False


NAMES: Final = {
    "VM.domid": "dom-id",
    "VM.suspend_VDI": "suspend-VDI-uuid",
    "VM.consoles": "console-uuids",
    "VM.last_booted_record": "last-boot-record",
    "VDI.VBDs": "vbd-uuids",
    "VDI.crash_dumps": "crashdump-uuids",
    "network.VIFs": "VIF-uuids",
    "network.PIFs": "PIF-uuids",
    "host.resident_VMs": "resident-vms",
    "host.suspend_image_sr": "suspend-image-sr-uuid",
    "host.crash_dump_sr": "crash-dump-sr-uuid",
    "PIF.VLAN_master_of": "vlan-master-of",
    "PIF.VLAN_slave_of": "vlan-slave-of",
    "PIF.ip_configuration_mode": "IP-configuration-mode",
    "task.error_info": "error_info",
}
"""Fields whose name of old is not just the field's with hyphens."""

_AS_THEY_ARE: Final = ("qos_algorithm_type", "qos_algorithm_params", "qos_supported_algorithms")

JOINED: Final = {
    "VM": {
        "memory-actual": ("metrics", "memory_actual"),
        "VCPUs-number": ("metrics", "VCPUs_number"),
        "VCPUs-utilisation": ("metrics", "VCPUs_utilisation"),
        "start-time": ("metrics", "start_time"),
        "install-time": ("metrics", "install_time"),
        "os-version": ("guest_metrics", "os_version"),
        "PV-drivers-version": ("guest_metrics", "PV_drivers_version"),
        "PV-drivers-up-to-date": ("guest_metrics", "PV_drivers_up_to_date"),
        "memory": ("guest_metrics", "memory"),
        "disks": ("guest_metrics", "disks"),
        "networks": ("guest_metrics", "networks"),
        "other": ("guest_metrics", "other"),
        "guest-metrics-last-updated": ("guest_metrics", "last_updated"),
    },
    "VBD": {
        "io_read_kbs": ("metrics", "io_read_kbs"),
        "io_write_kbs": ("metrics", "io_write_kbs"),
    },
    "VIF": {
        "io_read_kbs": ("metrics", "io_read_kbs"),
        "io_write_kbs": ("metrics", "io_write_kbs"),
    },
    "PIF": {
        "io_read_kbs": ("metrics", "io_read_kbs"),
        "io_write_kbs": ("metrics", "io_write_kbs"),
        "carrier": ("metrics", "carrier"),
        "vendor-name": ("metrics", "vendor_name"),
        "device-name": ("metrics", "device_name"),
        "speed": ("metrics", "speed"),
        "duplex": ("metrics", "duplex"),
        "pci-bus-path": ("metrics", "pci_bus_path"),
    },
    "host": {
        "memory-total": ("metrics", "memory_total"),
        "memory-free": ("metrics", "memory_free"),
        "host-metrics-live": ("metrics", "live"),
    },
}
"""What is shown of an object although another one has it: the reference, and the field there."""

CALLED: Final = {
    "VM": {
        "possible-hosts": "get_possible_hosts",
        "allowed-VBD-devices": "get_allowed_VBD_devices",
        "allowed-VIF-devices": "get_allowed_VIF_devices",
    },
}
"""What is shown of an object and takes a call of its own."""

SHOWN: Final = {
    "VM": ("uuid", "name-label", "power-state"),
    "pool": ("uuid", "name-label", "name-description", "master", "default-SR"),
    "PIF": ("uuid", "device", "network-uuid", "currently-attached", "host-uuid"),
    "Bond": ("uuid", "master", "slaves"),
    "VLAN": ("uuid", "tagged-PIF", "untagged-PIF", "tag"),
    "VIF": ("uuid", "device", "vm-uuid", "network-uuid"),
    "network": ("uuid", "name-label", "name-description", "bridge"),
    "console": ("uuid", "vm-uuid", "vm-name-label", "protocol", "location"),
    "host": ("uuid", "name-label", "name-description"),
    "host_cpu": ("uuid", "number", "vendor", "speed", "utilisation"),
    "host_crashdump": ("uuid", "host-uuid", "timestamp", "size"),
    "pool_patch": ("uuid", "name-label", "name-description", "size", "after-apply-guidance"),
    "VDI": ("uuid", "name-label", "name-description", "sr-uuid", "virtual-size", "sharable",
            "read-only"),
    "VBD": ("uuid", "vm-uuid", "vm-name-label", "vdi-uuid", "empty", "device"),
    "SR": ("uuid", "name-label", "name-description", "type", "content-type"),
    "SM": ("uuid", "type", "name-label", "name-description", "vendor", "copyright",
           "configuration"),
    "PBD": ("uuid", "host-uuid", "sr-uuid", "device-config", "currently-attached"),
    "task": ("uuid", "name-label", "name-description", "status", "progress"),
    "crashdump": ("uuid", "vm-uuid", "vdi-uuid"),
}  # fmt: skip
"""What a list shows in the form of old when nothing else is asked for."""

IN_TABLE: Final = {
    "VM": ("name-label", "power-state", "VCPUs-max", "memory-static-max", "uuid"),
    "pool": ("name-label", "master-name-label", "default-SR-name-label", "uuid"),
    "PIF": ("device", "network-name-label", "MAC", "IP", "currently-attached", "uuid"),
    "Bond": ("mode", "links-up", "master", "slaves", "uuid"),
    "VLAN": ("tag", "tagged-PIF", "untagged-PIF", "uuid"),
    "VIF": ("vm-name-label", "device", "network-name-label", "MAC", "currently-attached", "uuid"),
    "network": ("name-label", "bridge", "name-description", "uuid"),
    "console": ("vm-name-label", "protocol", "location", "uuid"),
    "host": ("name-label", "address", "enabled", "memory-total", "memory-free", "uuid"),
    "VDI": ("name-label", "sr-name-label", "virtual-size", "physical-utilisation", "type", "uuid"),
    "VBD": ("vm-name-label", "userdevice", "vdi-name-label", "type", "mode", "currently-attached",
            "uuid"),
    "SR": ("name-label", "type", "physical-size", "physical-utilisation", "shared", "uuid"),
    "SM": ("type", "name-description", "version"),
    "PBD": ("sr-name-label", "host-name-label", "device-config", "currently-attached", "uuid"),
    "task": ("name-label", "status", "progress", "created", "uuid"),
    "crashdump": ("vm-name-label", "vdi-uuid", "uuid"),
}  # fmt: skip
"""What a table on a terminal shows when nothing else is asked for."""


@cache
def parameters(class_name: str) -> list[Parameter]:
    """All that an object of a class shows, in the order in which it is shown."""
    cls = classes()[class_name]
    found = []
    for field in cls.fields:
        found += _of_field(cls, field.name)
    for name, (reference, inner) in JOINED.get(class_name, {}).items():
        found.append(_joined(cls, name, reference, inner))
    for name, getter in CALLED.get(class_name, {}).items():
        message = cls.message(getter)
        found.append(
            Parameter(
                name, "", "call", message.result, message.doc, "SRO", inner=getter, extra=True
            )
        )
    return found


def _of_field(cls: ApiClass, field_name: str) -> list[Parameter]:
    field = cls.field(field_name)
    kind = {"set": "S", "map": "M"}.get(field.type.kind, "")
    mark = kind + ("RW" if field.accessors else "RO")
    name = NAMES.get(f"{cls.name}.{field_name}")
    if name is None:
        name = field_name if field_name in _AS_THEY_ARE else field_name.replace("_", "-")
        if _is_named_after_class(field_name, field.type):
            name = f"{name.lower()}-uuid"
    itself = Parameter(name, field_name, "field", field.type, field.doc, mark, field.bytes)
    if field.type.kind != "ref" or not classes()[field.type.target].has_name:
        return [itself]
    stem = name.removesuffix("-uuid")
    plain = stem == name
    label = Parameter(
        f"{stem}-name-label", field_name, "name", parse_type("string"), field.doc, "RO",
        extra=plain,
    )  # fmt: skip
    return [itself, label]


def _is_named_after_class(field_name: str, type_: Type) -> bool:
    return type_.kind == "ref" and field_name.lower() == type_.target.lower()


def _joined(cls: ApiClass, name: str, reference: str, inner: str) -> Parameter:
    field = classes()[cls.field(reference).type.target].field(inner)
    kind = {"set": "S", "map": "M"}.get(field.type.kind, "")
    return Parameter(
        name, reference, "joined", field.type, field.doc, f"{kind}RO", field.bytes, inner
    )


def find(class_name: str, name: str) -> Parameter | None:
    """The parameter of a name, in any case, with `_` or `-`, with or without `-uuid`."""
    asked = folded(name)
    known = {folded(p.name): p for p in parameters(class_name)}
    for candidate in (asked, f"{asked}-uuid", f"{asked}-uuids", asked.removesuffix("-uuid")):
        if candidate in known:
            return known[candidate]
    return next((p for p in parameters(class_name) if folded(p.field) == asked), None)


def wanted(class_name: str, name: str) -> Parameter:
    """As `find`. Raises UsageError with what comes near when there is none."""
    parameter = find(class_name, name)
    if parameter is None:
        raise UsageError(unknown(name, [p.name for p in parameters(class_name)], class_name))
    return parameter


def unknown(name: str, known: list[str], class_name: str) -> str:
    """The sentence about a name that does not exist."""
    import difflib  # only for mistakes

    near = difflib.get_close_matches(folded(name), [folded(k) for k in known], 3)
    exact = [k for k in known if folded(k) in near]
    hint = f"did you mean {' or '.join(exact)}?" if exact else f"there are {', '.join(known)}"
    return f"a {class_name} has no {name}: {hint}"


def selected(class_name: str, asked: str, *, table: bool) -> list[Parameter]:
    """The parameters that `params=` asks for; "" takes the usual ones. Raises UsageError."""
    every = parameters(class_name)
    if asked == "all":
        return [p for p in every if not p.extra]
    if asked:
        return [wanted(class_name, name) for name in asked.replace(";", ",").split(",") if name]
    usual = (IN_TABLE if table else SHOWN).get(class_name, ())
    known = {p.name: p for p in every}
    if usual:
        return [known[name] for name in usual]
    likely = ("uuid", "name-label", "name-description", "type", "size")
    guess: list[str] = [name for name in likely if name in known]
    if len(guess) < 3:
        guess += [p.name for p in every if not p.extra and p.name not in guess][: 4 - len(guess)]
    return [known[name] for name in guess]
