"""Networks, interfaces and the management interface, through the API of a whole daemon."""

from __future__ import annotations

import json
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest

from .conftest import Client, Daemon, Failure, eventually

NULL = "OpaqueRef:NULL"


def scanned(client: Client) -> dict[str, str]:
    """The interfaces of the mock host by name."""
    (host,) = client("host.get_all")
    client("PIF.scan", host)
    records = client("PIF.get_all_records")
    return {record["device"]: ref for ref, record in records.items() if record["VLAN"] == "-1"}


def network(client: Client, name: str) -> str:
    ref: str = client("network.create", {"name_label": name})
    return ref


def test_vlans_bonds_and_addresses(daemon: Daemon, client: Client) -> None:
    (host,) = client("host.get_all")
    pifs = scanned(client)
    assert sorted(pifs) == ["eth0", "eth1", "eth2", "eth3"]
    client("PIF.plug", pifs["eth0"])
    client("PIF.reconfigure_ip", pifs["eth0"], "DHCP", "", "", "", "")
    assert client("PIF.get_IP", pifs["eth0"]) == "192.0.2.100"

    vlan = client("VLAN.create", pifs["eth0"], "42", network(client, "office"))
    with pytest.raises(Failure) as caught:
        client("PIF.create_VLAN", "eth0", network(client, "again"), host, "42")
    assert (caught.value.code, caught.value.parameters) == ("VLAN_IN_USE", ["eth0", "42"])
    (tagged,) = client("pool.create_VLAN", "eth1", network(client, "lab"), "7")
    client("PIF.destroy", tagged)
    members = [pifs["eth1"], pifs["eth2"]]
    bond = client("Bond.create", network(client, "storage"), members, "")
    master = client("Bond.get_master", bond)
    client("PIF.plug", master)
    assert eventually(lambda: client("Bond.get_links_up", bond) == "2")
    assert client("Bond.get_active_slave", bond) in members
    (on_bond,) = client("pool.create_VLAN_from_PIF", master, network(client, "deep"), "9")

    assert client("PIF.get_currently_attached", on_bond)
    before = client("PIF.get_all_records")
    daemon.kill()
    daemon.start()
    client = daemon.client()
    assert client("PIF.get_all_records").keys() == before.keys()
    assert client("PIF.get_IP", pifs["eth0"]) == "192.0.2.100"

    client("PIF.destroy", on_bond)
    client("Bond.destroy", bond)
    client("VLAN.destroy", vlan)
    client("PIF.unplug", pifs["eth0"])
    client("PIF.forget", pifs["eth0"])
    client("PIF.introduce", host, "", "eth0")


def reaches(daemon: Daemon, client: Client) -> bool:
    """Whether the API answers on the network, too."""
    address = daemon.ready.split("https=")[1].split()[0]
    import ssl

    tls = ssl.create_default_context(cafile=str(next(daemon.state.rglob("server.crt"))))
    with xmlrpc.client.ServerProxy(f"https://{address}", context=tls) as proxy:
        try:
            answer: Any = proxy.host.get_all(client.session)
        except OSError:
            return False
    return bool(answer["Status"] == "Success")


def test_the_network_is_left_and_served_again(daemon: Daemon, client: Client) -> None:
    assert reaches(daemon, client)
    client("host.management_disable")
    assert eventually(lambda: not reaches(daemon, client))
    daemon.stop()
    daemon.start()
    client = daemon.client()
    assert not reaches(daemon, client)

    pif = scanned(client)["eth0"]
    with pytest.raises(Failure, match="INTERFACE_HAS_NO_IP"):
        client("host.management_reconfigure", pif)
    client("PIF.plug", pif)
    client("PIF.reconfigure_ip", pif, "Static", "10.1.0.5", "255.255.0.0", "", "")
    client("host.management_reconfigure", pif)
    assert reaches(daemon, client) and client("PIF.get_management", pif)

    daemon.kill()
    pass_time(daemon.state / "management.json")
    daemon.start()
    client = daemon.client()

    assert eventually(lambda: not client("PIF.get_management", pif))
    assert eventually(
        lambda: not json.loads((daemon.state / "management.json").read_text()).get("before")
    )


def pass_time(file: Path) -> None:
    """Let the time for the confirmation be over."""
    state = json.loads(file.read_text())
    assert state["path"] == "10.1.0.5"
    file.write_text(json.dumps(state | {"until": 0.0}))
