"""The declarations hold what the specification says, and nothing that is not marked as ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import EnumType, MapType, SetType, Type, wire_name
from xapid.datamodel.enums import ENUMERATIONS, EXTENSIONS
from xapid.datamodel.errors import BY_CODE, ApiError
from xapid.datamodel.registry import CLASSES, METHODS, Kind, Method

SPECIFICATION: dict[str, Any] = json.loads(
    Path(__file__).with_name("xenapi-1.1.json").read_text(encoding="utf-8")
)

# Where the document that the project was made from and the data differ, the document is right:
# what exists here although the data has it not, with the section that asks for it.
DOCUMENT_ADDS = {
    "pool.get_by_name_label": "1.2: each class that has a name_label field has it",
}

# Section 2.3.3, in its order.
DOCUMENT_ENUMERATIONS = {
    "event_operation": "add del mod",
    "console_protocol": "vt100 rfb rdp",
    "vbd_operations": "attach eject insert plug unplug unplug_force",
    "vdi_operations": "scan clone copy resize snapshot destroy forget force_unlock",
    "storage_operations": "scan destroy forget plug unplug vdi_create vdi_introduce vdi_destroy"
    " vdi_resize vdi_clone vdi_snapshot",
    "vif_operations": "attach plug unplug",
    "network_operations": "attaching",
    "host_allowed_operations": "provision evacuate",
    "vm_power_state": "Halted Paused Running Suspended Unknown",
    "after_apply_guidance": "restartHVM restartPV restartHost restartXAPI",
    "task_status_type": "pending success failure cancelling cancelled",
    "task_allowed_operations": "cancel",
    "vm_operations": "clone copy provision start start_on pause unpause clean_shutdown"
    " clean_reboot hard_shutdown power_state_reset hard_reboot suspend csvm resume resume_on"
    " pool_migrate migrate statistics get_boot_record send_sysrq send_trigger"
    " changing_memory_live changing_shadow_memory_live changing_VCPUs_live"
    " assert_operation_valid update_allowed_operations make_into_template import export destroy",
    "on_normal_exit": "destroy restart",
    "on_crash_behaviour": "destroy coredump_and_destroy restart coredump_and_restart preserve"
    " rename_restart",
    "ip_configuration_mode": "None DHCP Static",
    "vdi_type": "system user ephemeral suspend crashdump",
    "vbd_mode": "RO RW",
    "vbd_type": "CD Disk",
}

# Section 2.2: the pairs of bound fields, with how many objects stand at each end.
DOCUMENT_BOUND_FIELDS = """
    PIF.bond_slave_of      Bond.slaves           one-to-many
    PIF.bond_master_of     Bond.master           many-to-one
    PIF.VLAN_slave_of      VLAN.tagged_PIF       many-to-one
    host.PBDs              PBD.host              many-to-one
    SR.PBDs                PBD.SR                many-to-one
    VDI.VBDs               VBD.VDI               many-to-one
    VDI.crash_dumps        crashdump.VDI         many-to-one
    VBD.VM                 VM.VBDs               one-to-many
    crashdump.VM           VM.crash_dumps        one-to-many
    VIF.VM                 VM.VIFs               one-to-many
    VIF.network            network.VIFs          one-to-many
    PIF.host               host.PIFs             one-to-many
    PIF.network            network.PIFs          one-to-many
    SR.VDIs                VDI.SR                many-to-one
    VTPM.VM                VM.VTPMs              one-to-many
    console.VM             VM.consoles           one-to-many
    host.resident_VMs      VM.resident_on        many-to-one
    host.host_CPUs         host_cpu.host         many-to-one
    host.crashdumps        host_crashdump.host   many-to-one
    host.patches           host_patch.host       many-to-one
    pool_patch.host_patches host_patch.pool_patch many-to-one
"""

every_class = pytest.mark.parametrize("wire", SPECIFICATION)


def own_methods(wire: str) -> dict[str, Method]:
    """The methods of a class that the specification data should know."""
    return {
        method.name.partition(".")[2]: method
        for method in METHODS.values()
        if method.owner.wire == wire and not method.extension and method.name not in DOCUMENT_ADDS
    }


def enumerations_in(kind: Type[Any]) -> set[str]:
    if isinstance(kind, EnumType):
        return {wire_name(kind.values)}
    if isinstance(kind, SetType):
        return enumerations_in(kind.item)
    if isinstance(kind, MapType):
        return enumerations_in(kind.key) | enumerations_in(kind.value)
    return set()


def test_the_classes_are_those_of_the_specification() -> None:
    assert list(CLASSES) == list(SPECIFICATION)
    assert len(CLASSES) == 30


@every_class
def test_the_fields_have_the_types_and_qualifiers_of_the_specification(wire: str) -> None:
    expected = {
        name: (field["type"], field["qualifier"])
        for name, field in SPECIFICATION[wire]["fields"].items()
    }

    declared = {
        name: (field.type.name, field.qualifier)
        for name, field in CLASSES[wire].fields.items()
        if not field.extension
    }

    assert declared == expected
    assert list(declared) == list(expected), "records keep the order of the specification"


@every_class
def test_there_is_no_method_more_or_less_than_in_the_specification(wire: str) -> None:
    assert set(own_methods(wire)) == set(SPECIFICATION[wire]["messages"])


@every_class
def test_the_methods_take_and_give_what_the_specification_says(wire: str) -> None:
    expected = {
        name: (
            [(p["name"], p["type"], p["required"]) for p in message["params"]],
            message["result"],
        )
        for name, message in SPECIFICATION[wire]["messages"].items()
    }

    session = ("session_id", "session ref", True)
    declared = {
        name: (
            [session] * method.session + [(p.name, p.type.name, p.required) for p in method.params],
            method.result.name,
        )
        for name, method in own_methods(wire).items()
    }

    assert declared == expected


@every_class
def test_the_methods_need_the_roles_of_the_specification(wire: str) -> None:
    expected = {n: m["min_role"] for n, m in SPECIFICATION[wire]["messages"].items()}

    assert {n: m.min_role for n, m in own_methods(wire).items()} == expected


@every_class
def test_a_method_may_raise_every_error_that_the_specification_declares(wire: str) -> None:
    missing = {
        name: undeclared
        for name, message in SPECIFICATION[wire]["messages"].items()
        if (
            undeclared := set(message["errors"])
            - {e.code for e in own_methods(wire)[name].raises if issubclass(e, ApiError)}
        )
    }

    assert missing == {}


@every_class
def test_what_the_specification_calls_implicit_is_derived(wire: str) -> None:
    written = {
        name
        for name, message in SPECIFICATION[wire]["messages"].items()
        if message["implicit"] and own_methods(wire)[name].kind is Kind.MESSAGE
    }

    assert written == set()


def test_what_the_document_adds_exists_and_is_not_in_the_data() -> None:
    for name in DOCUMENT_ADDS:
        wire, _, method = name.partition(".")
        assert name in METHODS
        assert method not in SPECIFICATION[wire]["messages"]


def test_extensions_are_not_in_the_specification_and_have_a_reason() -> None:
    reasons = [
        field.extension or ""
        for cls in CLASSES.values()
        for name, field in cls.fields.items()
        if name not in SPECIFICATION[cls.wire]["fields"]
    ]
    reasons += [v.extension or "" for e in ENUMERATIONS for v in e if v.extension is not None]
    reasons += EXTENSIONS.values()

    assert reasons
    assert all(re.fullmatch(r"[A-Za-z].{20,}\.", reason) for reason in reasons)


@pytest.mark.parametrize("values", ENUMERATIONS, ids=wire_name)
def test_the_enumerations_have_the_values_of_the_specification(values: Any) -> None:
    name = wire_name(values)
    if values in EXTENSIONS:
        assert name not in DOCUMENT_ENUMERATIONS
        return
    data = next((c["enums"][name] for c in SPECIFICATION.values() if name in c["enums"]), None)
    in_document = DOCUMENT_ENUMERATIONS.get(name)

    declared = [str(value) for value in values if value.extension is None]

    assert declared == (in_document.split() if in_document else data)
    assert all(value.doc.endswith(".") for value in values)


def test_an_enumeration_is_declared_for_each_that_fields_and_methods_use_and_for_no_other() -> None:
    used: set[str] = set()
    for cls in CLASSES.values():
        for field in cls.fields.values():
            used |= enumerations_in(field.type)
    for method in METHODS.values():
        for param in method.params:
            used |= enumerations_in(param.type)

    assert {wire_name(e) for e in ENUMERATIONS} == used
    assert set(DOCUMENT_ENUMERATIONS) <= used


def test_the_bound_fields_are_those_of_section_2_2() -> None:
    expected = set()
    for line in DOCUMENT_BOUND_FIELDS.split("\n"):
        if not line.strip():
            continue
        left, right, relation = line.split()
        single_end_first = relation == "one-to-many"
        assert relation in ("one-to-many", "many-to-one")
        one, many = (left, right) if single_end_first else (right, left)
        expected.add((one, many))

    declared = set()
    for cls in CLASSES.values():
        for name, field in cls.fields.items():
            if field.inverse and not isinstance(field.type, SetType):
                declared.add((f"{cls.wire}.{name}", f"{field.type.target}.{field.inverse}"))

    assert declared == expected
    assert sum(bool(f.inverse) for c in CLASSES.values() for f in c.fields.values()) == 42


def test_every_error_that_the_specification_declares_has_a_class() -> None:
    declared = {
        code
        for cls in SPECIFICATION.values()
        for message in cls["messages"].values()
        for code in message["errors"]
    }

    assert declared <= set(BY_CODE)


@pytest.mark.parametrize(
    ("name", "asynchronous"),
    [
        ("VM.clone", True),
        ("VM.create", True),
        ("SR.destroy", True),
        ("VM.get_all", True),
        ("VM.get_name_label", False),
        ("VM.set_name_label", False),
        ("VM.add_to_other_config", False),
        ("VM.remove_from_other_config", False),
        ("VM.set_memory_target_live", True),
        ("session.change_password", False),
        ("task.cancel", False),
        ("event.next", False),
    ],
)
def test_asynchronous_calls_are_those_of_section_1_4_3(name: str, asynchronous: bool) -> None:
    assert METHODS[name].asynchronous is asynchronous


def test_the_states_of_figure_1_1_are_those_of_the_lifecycle_messages() -> None:
    allowed = {
        method.name.partition(".")[2]: set(map(str, method.message.allowed_in))
        for method in METHODS.values()
        if method.owner.wire == "VM" and method.message and method.message.operation
    }

    expected = {
        "start": {"Halted"},
        "start_on": {"Halted"},
        "pause": {"Running"},
        "unpause": {"Paused"},
        "clean_shutdown": {"Running"},
        "clean_reboot": {"Running"},
        "hard_shutdown": {"Running", "Paused", "Suspended"},
        "hard_reboot": {"Running", "Paused"},
        "suspend": {"Running"},
        "resume": {"Suspended"},
        "resume_on": {"Suspended"},
        "power_state_reset": set(),
        "provision": {"Halted"},
        "clone": {"Halted"},
        "copy": {"Halted"},
        "pool_migrate": {"Running"},
        "send_sysrq": {"Running"},
        "send_trigger": {"Running"},
        "set_memory_target_live": {"Running", "Paused"},
        "set_VCPUs_number_live": {"Running", "Paused"},
        "add_to_VCPUs_params_live": {"Running", "Paused"},
        "set_shadow_multiplier_live": {"Running"},
    }
    assert allowed == expected
