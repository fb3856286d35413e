"""Interfaces, VLANs, bonds, addresses and the management interface of a real host.

The host needs interfaces of its own: `host.py --nics 4 --name net up`, then
XAPID_XENHOST_RUNNING=net. `ip` in dom0 is asked whether the records are right.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from testhost.api import Api, ApiError, PlainApi
from testhost.daemon import Daemon
from testhost.machine import Machine
from testhost.workbench import wait_until

SPARE = ("eth1", "eth2", "eth3")
NULL = "OpaqueRef:NULL"


def link(machine: Machine, name: str) -> dict[str, Any] | None:
    """What `ip` says of an interface."""
    found = machine.run(f"ip -j -d link show dev {name} 2>/dev/null", check=False)
    return dict(json.loads(found)[0]) if found.strip() else None


def addresses(machine: Machine, name: str) -> set[str]:
    """The IPv4 addresses of an interface, with their prefixes."""
    (found,) = json.loads(machine.run(f"ip -j -4 address show dev {name}"))
    return {f"{each['local']}/{each['prefixlen']}" for each in found.get("addr_info", ())}


@pytest.fixture
def pifs(xenhost: Machine, daemon: Daemon, api: Api) -> dict[str, str]:
    """The interfaces by name, none of which is plugged."""
    if any(link(xenhost, name) is None for name in SPARE):
        pytest.skip("the host has no spare interfaces: boot it with --nics 4")
    (host,) = api.call("host.get_all")
    for bond in api.call("Bond.get_all"):
        api.call("Bond.destroy", bond)
    for vlan in api.call("VLAN.get_all"):
        api.call("VLAN.destroy", vlan)
    api.call("PIF.scan", host)
    found = {record["device"]: ref for ref, record in api.call("PIF.get_all_records").items()}
    for name in SPARE:
        api.call("PIF.reconfigure_ip", found[name], "None", "", "", "", "")
        api.call("PIF.unplug", found[name])
    return found


def bridge_of(api: Api, pif: str) -> str:
    return str(api.call("network.get_bridge", api.call("PIF.get_network", pif)))


def network(api: Api, name: str) -> str:
    record = {"name_label": name, "name_description": "", "other_config": {}}
    return str(api.call("network.create", record))


def test_a_scan_finds_what_ip_shows(xenhost: Machine, api: Api, pifs: dict[str, str]) -> None:
    for name, pif in pifs.items():
        record, seen = api.call("PIF.get_record", pif), link(xenhost, name)
        assert seen is not None
        assert (record["MAC"], int(record["MTU"])) == (seen["address"], seen["mtu"])
        metrics = api.call("PIF_metrics.get_record", record["metrics"])
        assert metrics["pci_bus_path"] and metrics["vendor_id"] == "1af4"
    assert not api.call("PIF.get_managed", pifs["eth0"]), "the administrator uses it"
    with pytest.raises(ApiError, match="PIF_UNMANAGED"):
        api.call("PIF.unplug", pifs["eth0"])


def test_an_interface_is_plugged_into_its_bridge(
    xenhost: Machine, api: Api, pifs: dict[str, str]
) -> None:
    bridge = bridge_of(api, pifs["eth1"])
    api.call("PIF.plug", pifs["eth1"])

    port, made = link(xenhost, "eth1"), link(xenhost, bridge)
    assert port is not None and made is not None
    assert port["master"] == bridge and "UP" in port["flags"]
    assert made["address"] == port["address"]
    api.call("PIF.unplug", pifs["eth1"])
    assert link(xenhost, bridge) is None


def test_a_vlan_is_there_while_its_record_is(
    xenhost: Machine, api: Api, pifs: dict[str, str]
) -> None:
    office = network(api, "office")
    api.call("PIF.plug", pifs["eth1"])
    vlan = api.call("VLAN.create", pifs["eth1"], "42", office)

    seen = link(xenhost, "eth1.42")
    assert seen is not None
    assert seen["linkinfo"]["info_data"]["id"] == 42
    assert seen["master"] == api.call("network.get_bridge", office)
    api.call("VLAN.destroy", vlan)
    assert link(xenhost, "eth1.42") is None
    api.call("network.destroy", office)


@pytest.mark.parametrize(
    ("mode", "kernel"), [("active-backup", "active-backup"), ("lacp", "802.3ad")]
)
def test_a_bond_is_made_and_taken_apart(
    xenhost: Machine, api: Api, pifs: dict[str, str], mode: str, kernel: str
) -> None:
    network_of_bond = network(api, "bonded")
    members = [pifs["eth2"], pifs["eth3"]]
    api.call("PIF.plug", pifs["eth2"])
    static = ("Static", "10.77.0.5", "255.255.255.0", "", "")
    api.call("PIF.reconfigure_ip", pifs["eth2"], *static)
    bond = api.call("Bond.create", network_of_bond, members, "", mode, {})
    master = api.call("Bond.get_master", bond)
    device = api.call("PIF.get_device", master)

    seen = link(xenhost, device)
    assert seen is not None and seen["linkinfo"]["info_data"]["mode"] == kernel
    bridge = api.call("network.get_bridge", network_of_bond)
    assert seen["master"] == bridge and addresses(xenhost, bridge) == {"10.77.0.5/24"}
    for name in ("eth2", "eth3"):
        slave = link(xenhost, name)
        assert slave is not None and slave["master"] == device
    if mode == "active-backup":
        for lost, left in (("eth2", "eth3"), ("eth3", "eth2")):
            xenhost.run(f"ip link set {lost} down")
            wait_until(
                f"{left} carries",
                lambda left=left: api.call("Bond.get_active_slave", bond) == pifs[left],
                10,
            )
            assert api.call("PIF_metrics.get_carrier", api.call("PIF.get_metrics", master))
            xenhost.run(f"ip link set {lost} up")
    api.call("Bond.destroy", bond)
    assert link(xenhost, device) is None
    assert addresses(xenhost, bridge_of(api, pifs["eth2"])) == {"10.77.0.5/24"}
    api.call("network.destroy", network_of_bond)


def test_a_move_of_management_is_taken_back_after_a_kill(
    xenhost: Machine, daemon: Daemon, api: Api, pifs: dict[str, str]
) -> None:
    pif = pifs["eth1"]
    api.call("PIF.plug", pif)
    api.call("PIF.reconfigure_ip", pif, "Static", "10.78.0.5", "255.255.255.0", "", "")
    api.call("host.management_reconfigure", pif)
    assert api.call("PIF.get_management", pif)
    daemon.kill9("xapid")
    daemon.wait_dead()
    daemon.start()

    again = PlainApi(xenhost.https_port, daemon.root_password())
    wait_until("it is as before", lambda: not again.call("PIF.get_management", pif), 90)
    assert addresses(xenhost, bridge_of(again, pif)) == {"10.78.0.5/24"}, "that was no part of it"
    again.close()
