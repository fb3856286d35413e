"""The default templates: made once, in a new database, and then the administrator's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog

from ..datamodel.enums import DomainType
from ..datamodel.host import Host
from ..datamodel.vm import VM
from ..datamodel.vm_metrics import VMMetrics
from ..db.store import Store

log = structlog.get_logger(__name__)

GIB: Final = 1 << 30
MIB: Final = 1 << 20


@dataclass(frozen=True)
class Template:
    """What a template offers. memory, disk: bytes. largest_memory: what its guests can use."""

    name: str
    description: str
    domain_type: DomainType
    memory: int
    disk: int
    vcpus: int = 1
    largest_memory: int = 128 * GIB
    largest_vcpus: int = 32


OTHER: Final = "Any operating system, installed from media of your own"

TEMPLATES: Final = (
    Template(
        "Other install media",
        f"{OTHER}, on full virtual hardware (HVM).",
        *(DomainType.HVM, GIB, 16 * GIB),
    ),
    Template(
        "Other install media (PVH)",
        f"{OTHER}, with a kernel that boots as PVH; its disk is booted by pygrub.",
        *(DomainType.PVH, GIB, 16 * GIB),
    ),
    Template(
        "Other install media (PV)",
        f"{OTHER}, with a paravirtual kernel; its disk is booted by pygrub.",
        *(DomainType.PV, GIB, 16 * GIB),
    ),
    Template(
        "Debian 12 (bookworm)",
        "Debian 12 from its installer's image, on full virtual hardware with PV drivers.",
        *(DomainType.HVM, 2 * GIB, 16 * GIB, 2),
    ),
    Template(
        "Debian 13 (trixie)",
        "Debian 13 from its installer's image, on full virtual hardware with PV drivers.",
        *(DomainType.HVM, 2 * GIB, 16 * GIB, 2),
    ),
)


async def make_default_templates(store: Store) -> None:
    """Make the templates in a database that no daemon has served a host with.

    Call it before the host's own record is made: a database with a host in it is not new, and a
    template that was deleted does not come back.
    """
    if store.count(Host) or store.count(VM):
        return
    async with store.transaction() as tx:
        for template in TEMPLATES:
            tx.create(VM, {**values_of(template), "metrics": tx.create(VMMetrics)})
    log.info("the default templates were made", count=len(TEMPLATES))


def values_of(template: Template) -> dict[str, Any]:
    """The fields of a template's record."""
    hvm = template.domain_type is DomainType.HVM
    return {
        "name_label": template.name,
        "name_description": template.description,
        "is_a_template": True,
        "domain_type": template.domain_type,
        "memory_static_max": template.memory,
        "memory_dynamic_max": template.memory,
        "memory_dynamic_min": template.memory,
        "memory_static_min": 256 * MIB,
        "VCPUs_max": template.vcpus,
        "VCPUs_at_startup": template.vcpus,
        "HVM_boot_policy": "BIOS order" if hvm else "",
        "HVM_boot_params": {"order": "cd"} if hvm else {},
        "PV_bootloader": "" if hvm else "pygrub",
        "platform": {"acpi": "1", "apic": "1", "pae": "1"} if hvm else {},
        "recommendations": recommendations(template),
        "other_config": {"default_template": "true", "disks": wanted_disks(template)},
    }


def wanted_disks(template: Template) -> str:
    """The disk that VM.provision makes, on the pool's default SR."""
    return (
        f'<provision><disk device="0" size="{template.disk}" sr="" bootable="true" type="system"/>'
        "</provision>"
    )


def recommendations(template: Template) -> str:
    """What clients may offer for the template's guests, in the form that they know."""
    return (
        "<restrictions>"
        f'<restriction field="memory-static-min" min="{256 * MIB}"/>'
        f'<restriction field="memory-static-max" max="{template.largest_memory}"/>'
        f'<restriction field="vcpus-max" max="{template.largest_vcpus}"/>'
        '<restriction property="number-of-vbds" max="16"/>'
        '<restriction property="number-of-vifs" max="8"/>'
        "</restrictions>"
    )
