"""Networks under the names of old: interfaces of VMs and of the host, VLANs and bonds."""

from __future__ import annotations

from typing import Any, Final

from ..catalogue import BOOL, INT, STRING, STRING_MAP, Type, ref_to
from ..command import Call, Command, optional, required
from ..failures import Refused
from ..generic import create
from ..output import shown

NETWORK: Final = required("network", ref_to("network"), "the network")
OTHER_CONFIG: Final = optional("other-config", STRING_MAP, "keys and values of your own")


def _create_vif(call: Call, _: str) -> None:
    vm = call.get("vm")
    mac = call.get("mac", "")
    record: dict[str, Any] = {
        "VM": vm,
        "network": call.get("network"),
        "device": call.get("device", "") or call.server("VM.get_allowed_VIF_devices", vm)[0],
        "MAC": "" if mac.lower() == "random" else mac,
        "MTU": call.get("MTU", "1500"),
        "other_config": call.get("other-config"),
        "qos_algorithm_type": call.get("qos_algorithm_type", ""),
        "qos_algorithm_params": call.get("qos_algorithm_params"),
    }
    create(call, "VIF", record)


def _create_vlan(call: Call, _: str) -> None:
    vlan = call.perform("", "VLAN.create", call.get("pif"), call.get("vlan"), call.get("network"))
    call.made("PIF", call.server("VLAN.get_untagged_PIF", vlan))


def _destroy_vlan(call: Call, _: str) -> None:
    """By the uuid of the VLAN, or by that of the interface, which vlan-create prints."""
    uuid = call.get("uuid")
    for vlan, record in call.objects.records("VLAN").items():
        if uuid in (record["uuid"], call.objects.uuid("PIF", record["untagged_PIF"])):
            call.perform(f"{record['tag']}", "VLAN.destroy", vlan)
            return
    raise Refused(f"there is no VLAN with the uuid {shown(uuid)}: `xe vlan-list` shows them")


def _create_pool_vlan(call: Call, _: str) -> None:
    made = call.perform(
        "", "pool.create_VLAN_from_PIF", call.get("pif"), call.get("network"), call.get("vlan")
    )
    call.out.value([call.objects.uuid("PIF", ref) for ref in made])


def _create_bond(call: Call, _: str) -> None:
    bond = call.perform(
        "", "Bond.create", call.get("network"), call.get("pif-uuids"), call.get("mac", ""),
        call.get("mode", "balance-slb"), call.get("properties"),
    )  # fmt: skip
    call.made("Bond", bond)


def _introduce_pif(call: Call, _: str) -> None:
    pif = call.perform(
        call.get("device"), "PIF.introduce", call.get("host"), call.get("mac", ""),
        call.get("device"), call.get("managed", True),
    )  # fmt: skip
    call.made("PIF", pif)


def _reconfigure_ip(call: Call, pif: str) -> None:
    call.perform(
        call.server("PIF.get_device", pif), "PIF.reconfigure_ip", pif, call.get("mode"),
        call.get("IP", ""), call.get("netmask", ""), call.get("gateway", ""), call.get("DNS", ""),
    )  # fmt: skip


VLAN_ARGUMENTS: Final = (
    required("pif", ref_to("PIF"), "the interface that carries it", "tagged-PIF"),
    required("vlan", INT, "the tag, from 0 to 4094", "tag"),
    NETWORK,
)
MAC: Final = optional("mac", STRING, "Ethernet address; made up if it is not said")

COMMANDS = (
    Command(
        "vif-create", "vif", "Give a VM a network interface, and print its uuid.", _create_vif,
        (
            required("vm", ref_to("VM"), "the VM", only=(("is_a_template", False),)),
            NETWORK,
            optional("device", STRING, "a number from 0; a free one if it is not said"),
            MAC,
            optional("MTU", INT, "size of the largest packet in bytes; 1500"),
            OTHER_CONFIG,
            optional("qos_algorithm_type", STRING, "how traffic is limited, such as ratelimit"),
            optional("qos_algorithm_params", STRING_MAP, "the parameters, such as kbps"),
        ),
    ),
    Command(
        "vlan-create", "vlan", "Make a VLAN on an interface, and print the new interface's uuid.",
        _create_vlan, VLAN_ARGUMENTS,
    ),
    Command(
        "vlan-destroy", "vlan", "Destroy a VLAN and the interface that it appears as.",
        _destroy_vlan, (required("uuid", STRING, "of the VLAN or of its interface", "vlan"),),
    ),
    Command(
        "pool-vlan-create", "pool", "Make a VLAN on every host.", _create_pool_vlan,
        VLAN_ARGUMENTS,
    ),
    Command(
        "bond-create", "bond", "Join several interfaces into a bond, and print its uuid.",
        _create_bond,
        (
            NETWORK,
            required("pif-uuids", Type("set", item=ref_to("PIF")), "the interfaces", "members"),
            optional("mode", Type("enum", "bond_mode"), "how traffic is spread; balance-slb"),
            optional("mac", STRING, "Ethernet address; that of a member if it is not said"),
            optional("properties", STRING_MAP, "further settings of the mode"),
        ),
    ),
    Command(
        "pif-introduce", "pif", "Make a record for an interface that the host has.",
        _introduce_pif,
        (
            required("device", STRING, "its name on the host"),
            required("host", ref_to("host"), "the host; the only one if it is not said"),
            optional("mac", STRING, "its Ethernet address; found by its name if not said"),
            optional("managed", BOOL, "whether xapid configures it"),
        ),
    ),
    Command(
        "pif-reconfigure-ip", "pif", "Change where an interface has its address from.",
        _reconfigure_ip,
        (
            required("mode", Type("enum", "ip_configuration_mode"), "where it comes from"),
            optional("IP", STRING, "the address, if it is static"),
            optional("netmask", STRING, "the network mask, if it is static"),
            optional("gateway", STRING, "the gateway"),
            optional("DNS", STRING, "the name servers, with commas between them"),
        ),
        "PIF", alone=True,
    ),
)  # fmt: skip
