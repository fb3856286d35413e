"""Interfaces, VLANs, bonds, addresses and guests' traffic on a host with cards of its own.

The world outside is a namespace behind the host's switch. After each test `ip`, `bridge` and `xl`
must agree with the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from testhost.api import ApiError
from testhost.daemon import Daemon
from testhost.guest_xenstore import GuestXenstore
from testhost.listener import Listener
from testhost.machine import Machine
from testhost.networks import SPARE, Networks
from testhost.table import Table
from testhost.wiring import Wiring, link_name
from testhost.workbench import Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

MIB = 1 << 20
LEFT, RIGHT, PEER = "10.41.0.11", "10.41.0.12", "10.41.0.1"
BLOCK_MIB, BLOCKS, PORT = 20, 5, 8000
TOLD_WITHIN_S = 1.0
CLIENTS = "pgrep -ax 'dhclient|dhcpcd'; true"
SLOWLY = 300_000  # bytes a second: some seconds for each fetch, one after the other


@pytest.fixture(scope="module")
def nets(workbench: Workbench) -> Iterator[Networks]:
    nets = Networks.on(workbench)
    nets.open()
    yield nets
    nets.close()


@pytest.fixture(scope="module")
def pair(nets: Networks, table: Table) -> tuple[Guest, Guest]:
    """Two guests that run on the network of eth1, and the host outside there."""
    nets.outside.has(f"{PEER}/24")
    network = nets.network_of("eth1")
    left, right = nets.guest("left", network), nets.guest("right", network)
    with table.step("net", "start of two guests"):
        tasks = [nets.call("Async.VM.start", g.vm, False, False) for g in (left, right)]
        for task in tasks:
            nets.settle(task, 120)
    for guest, address in ((left, LEFT), (right, RIGHT)):
        guest.wait_booted()
        guest.inside(f"ip address add {address}/24 dev eth0 && ip link set eth0 up")
    return left, right


@pytest.fixture(autouse=True)
def agreement(nets: Networks) -> Iterator[None]:
    yield
    try:
        nets.check_agreement()
    finally:
        nets.clear()


def reaches(guest: Guest, address: str) -> bool:
    """Whether an address answers the guest within a few seconds."""
    ping = f"for i in 1 2 3; do ping -c 1 -W 2 {address} >/dev/null && break; done && echo yes"
    return "yes" in guest.inside(f"{ping}; true")


def test_a_scan_finds_what_ip_shows(xenhost: Machine, nets: Networks) -> None:
    wiring = Wiring.of(xenhost)
    assert set(nets.pifs) == {"eth0", *SPARE}
    for name, pif in nets.pifs.items():
        record, seen = nets.call("PIF.get_record", pif), wiring.links[name]
        assert (record["MAC"], int(record["MTU"])) == (seen["address"], seen["mtu"])
        metrics = nets.call("PIF_metrics.get_record", record["metrics"])
        assert metrics["vendor_id"] == "1af4"
        assert (
            metrics["pci_bus_path"]
            == xenhost.run(f"basename $(readlink -f /sys/class/net/{name}/device/..)").strip()
        )
    assert not nets.call("PIF.get_managed", nets.pifs["eth0"]), "the administrator uses it"
    with pytest.raises(ApiError, match="PIF_UNMANAGED"):
        nets.call("PIF.unplug", nets.pifs["eth0"])


def test_two_guests_exchange_100_mb(
    nets: Networks, pair: tuple[Guest, Guest], table: Table
) -> None:
    left, right = pair
    assert nets.call("PIF.get_currently_attached", nets.pifs["eth1"]), "the guests need it"
    assert reaches(left, PEER) and reaches(right, PEER)
    place = "/run/www/block"
    left.inside(
        "mkdir -p /run/www; dd if=/dev/urandom of=/run/random bs=1M count=4 2>/dev/null; "
        f"for i in $(seq {BLOCK_MIB // 4}); do cat /run/random; done >{place}; "
        f"httpd -p {PORT} -h /run/www"
    )
    expected = left.inside(f"for i in $(seq {BLOCKS}); do cat {place}; done | md5sum", 120)
    fetch = f"wget -q -O - http://{LEFT}:{PORT}/block"

    with table.step("net", f"{BLOCK_MIB * BLOCKS} MB from guest to guest"):
        right.inside(
            f"(for i in $(seq {BLOCKS}); do {fetch}; done | md5sum >/run/sum; touch /run/done) "
            ">/dev/null 2>&1 & true"
        )
        sent, received = wait_until("it is measured", lambda: busy(nets, left), 60)
        received_sum = right.inside(
            "until test -e /run/done; do sleep 0.1; done; cat /run/sum", 300
        )
    assert received_sum == expected
    left.inside("rm -r /run/www /run/random")
    assert sent > received, "what the guest sends is more than the acknowledgements"


def busy(nets: Networks, guest: Guest) -> tuple[float, float] | None:
    """What passes through the guest's first interface once it is much: kB/s sent and received."""
    (vif,) = nets.call("VM.get_VIFs", guest.vm)
    metrics = nets.call("VIF_metrics.get_record", nets.call("VIF.get_metrics", vif))
    sent, received = float(metrics["io_write_kbs"]), float(metrics["io_read_kbs"])
    return (sent, received) if sent > 100 else None


def test_guests_on_different_networks_do_not_talk(
    xenhost: Machine, nets: Networks, pair: tuple[Guest, Guest], table: Table
) -> None:
    left, right = pair
    longest = "x" * 15
    private, other = nets.network("private", bridge=longest), nets.network("other")
    on_private = [nets.vif(guest.vm, private, "1", MTU="4000") for guest in pair]
    with table.step("net", "VIF.plug"):
        nets.call("VIF.plug", on_private[0])
    nets.call("VIF.plug", on_private[1])
    for guest, address in ((left, "10.42.9.11"), (right, "10.42.9.12")):
        guest.inside(f"ip address add {address}/24 dev eth1 && ip link set eth1 up")
    assert reaches(left, "10.42.9.12")
    wiring = Wiring.of(xenhost)
    assert wiring.links[longest]["mtu"] == wiring.links[f"vif{left.domid}.1"]["mtu"] == 4000
    nets.check_agreement()

    with table.step("net", "VIF.unplug"):
        nets.call("VIF.unplug", on_private[1])
    assert "eth1" not in right.inside("ls /sys/class/net")
    nets.call("VIF.destroy", on_private[1])
    nets.call("VIF.plug", moved := nets.vif(right.vm, other, "1"))
    right.inside("ip address add 10.42.9.12/24 dev eth1 && ip link set eth1 up")
    assert not reaches(left, "10.42.9.12"), "they are on different networks now"
    for vif in (on_private[0], moved):
        nets.call("VIF.unplug", vif)
        nets.call("VIF.destroy", vif)
    assert longest not in Wiring.of(xenhost).links, "nobody needs it"


def test_a_guest_on_a_vlan_reaches_its_peer_and_not_the_untagged_side(
    xenhost: Machine, nets: Networks, pair: tuple[Guest, Guest]
) -> None:
    guest, _ = pair
    office = nets.network("office")
    vlan = nets.call("VLAN.create", nets.pifs["eth1"], "42", office)
    with pytest.raises(ApiError, match="VLAN_IN_USE"):
        nets.call("VLAN.create", nets.pifs["eth1"], "42", nets.network("again"))
    seen = Wiring.of(xenhost).links["eth1.42"]
    assert seen["linkinfo"]["info_data"]["id"] == 42
    assert seen["master"] == nets.bridge(office)
    nets.outside.has("10.42.0.2/24", f"{PEER}/24")
    nets.outside.tagged(42, "10.42.0.1/24")

    nets.call("VIF.plug", vif := nets.vif(guest.vm, office, "1"))
    guest.inside("ip address add 10.42.0.11/24 dev eth1 && ip link set eth1 up")

    assert reaches(guest, "10.42.0.1"), "the peer behind the trunk"
    assert not reaches(guest, "10.42.0.2"), "it is on the untagged side"
    assert reaches(guest, PEER), "the guest's other interface is untagged"
    nets.call("VIF.unplug", vif)
    nets.call("VLAN.destroy", vlan)
    assert "eth1.42" not in Wiring.of(xenhost).links


def test_what_a_guest_tells_and_its_limit_are_seen(
    xenhost: Machine, nets: Networks, pair: tuple[Guest, Guest]
) -> None:
    guest, _ = pair
    GuestXenstore(guest.console()).write({"attr/vif/0/ipv4/0": LEFT, "data/updated": "1"})
    wait_until("the address is told", lambda: addresses(guest).get("0/ip") == LEFT, 20)

    limit = {"qos_algorithm_type": "ratelimit", "qos_algorithm_params": {"kbps": "1000"}}
    vif = nets.vif(guest.vm, nets.network_of("eth1"), "1", **limit)
    nets.call("VIF.plug", vif)

    backend = f"/local/domain/0/backend/vif/{guest.domid}/1"
    assert xenhost.run(f"xenstore-read {backend}/rate").strip() == "51200,50000"


def addresses(guest: Guest) -> dict[str, str]:
    metrics = guest.call("get_guest_metrics")
    found: dict[str, str] = guest.workbench.api.call("VM_guest_metrics.get_networks", metrics)
    return found


def test_a_bond_keeps_a_transfer_going_while_each_link_is_taken_down(
    xenhost: Machine,
    daemon: Daemon,
    nets: Networks,
    pair: tuple[Guest, Guest],
    table: Table,
) -> None:
    guest, _ = pair
    nets.call("PIF.plug", nets.pifs["eth2"])
    nets.static(nets.pifs["eth2"], "10.77.0.5")
    bonded = nets.network("bonded")
    members = [nets.pifs["eth2"], nets.pifs["eth3"]]
    bond = nets.call("Bond.create", bonded, members, "", "active-backup", {})
    master = nets.call("Bond.get_master", bond)
    info = Wiring.of(xenhost).links["bond0"]["linkinfo"]["info_data"]
    assert (info["mode"], info["miimon"]) == ("active-backup", 100)
    assert nets.call("PIF.get_IP", master) == "10.77.0.5", "its member had it"
    nets.outside.has("10.77.0.1/24", f"{PEER}/24")
    assert nets.outside.reaches("10.77.0.5")
    nets.call("VIF.plug", vif := nets.vif(guest.vm, bonded, "1"))
    guest.inside("ip address add 10.77.0.11/24 dev eth1 && ip link set eth1 up")
    guest.inside("mkdir -p /run/www; dd if=/dev/urandom of=/run/www/few bs=1M count=2 2>/dev/null")
    guest.inside(f"httpd -p 10.77.0.11:{PORT + 1} -h /run/www")
    fetch = f"curl -sS --limit-rate {SLOWLY} http://10.77.0.11:{PORT + 1}/few | md5sum"
    nets.outside.begin("outside-fetch", f"until test -e /run/enough; do {fetch}; done")
    told: list[float] = []
    for lost, left in (("eth2", "eth3"), ("eth3", "eth2")):
        with Listener(xenhost.https_port, daemon.root_password(), "PIF_metrics") as heard:
            for present in (False, True):
                told.append(cable(xenhost, nets, heard, lost, present=present))
                links = "2" if present else "1"
                wait_until("links", lambda n=links: nets.call("Bond.get_links_up", bond) == n, 10)
        assert nets.call("Bond.get_active_slave", bond) == nets.pifs[left]
        assert nets.call("PIF_metrics.get_carrier", nets.call("PIF.get_metrics", master))
    table.seconds.setdefault("cable pulled until the event, worst", {})["net"] = max(told)
    assert min(told) < TOLD_WITHIN_S, told  # on a host that others keep busy, one of four
    xenhost.run("touch /run/enough; while systemctl -q is-active outside-fetch; do sleep 0.3; done")

    fetched = xenhost.run("rm /run/enough; cat /run/outside-fetch").splitlines()
    assert len(fetched) > 1 and set(fetched) == {guest.inside("md5sum </run/www/few")}
    nets.call("VIF.unplug", vif)
    nets.call("Bond.destroy", bond)
    assert "bond0" not in Wiring.of(xenhost).links
    assert nets.call("PIF.get_IP", nets.pifs["eth2"]) == "10.77.0.5"


def cable(
    machine: Machine, nets: Networks, heard: Listener, interface: str, *, present: bool
) -> float:
    """Pull a cable or put it in: seconds until the event that tells of it was here."""
    uuid = nets.call("PIF_metrics.get_uuid", nets.call("PIF.get_metrics", nets.pifs[interface]))

    def tells(event: dict[str, Any]) -> bool:
        now = event["snapshot"]
        return bool(now["uuid"] == uuid and now["carrier"] == present)

    before, began = len(heard.heard), time.monotonic()
    machine.set_carrier(interface, present=present)
    return heard.wait(f"carrier of {interface}", tells, 10, after=before).at - began


def test_a_bond_by_lacp_is_what_the_kernel_makes(xenhost: Machine, nets: Networks) -> None:
    members = [nets.pifs["eth2"], nets.pifs["eth3"]]
    network = nets.network("lacp")
    bond = nets.call("Bond.create", network, members, "", "lacp", {})
    nets.call("PIF.plug", nets.call("Bond.get_master", bond))

    links = Wiring.of(xenhost).links
    assert links["bond0"]["linkinfo"]["info_data"]["mode"] == "802.3ad"
    assert {links[name]["master"] for name in ("eth2", "eth3")} == {"bond0"}
    (tagged,) = nets.call(
        "pool.create_VLAN_from_PIF",
        nets.call("Bond.get_master", bond),
        nets.network("on the bond"),
        "7",
    )
    assert "bond0.7" in Wiring.of(xenhost).links
    assert nets.call("PIF.get_currently_attached", tagged)


def test_addresses_are_given_and_leased(xenhost: Machine, nets: Networks, table: Table) -> None:
    pif = nets.pifs["eth2"]
    bridge = nets.bridge(nets.network_of("eth2"))
    nets.outside.serve_dhcp("10.78.0.1", "10.78.0.100", "10.78.0.199")
    nets.call("PIF.plug", pif)
    nets.static(pif, "10.78.0.5", "10.78.0.1")
    assert nets.outside.reaches("10.78.0.5")
    route = xenhost.run(f"ip route show default dev {bridge}").split()
    assert route[:3] == ["default", "via", "10.78.0.1"] and "200" in route

    with table.step("net", "an address by DHCP"):
        nets.call("PIF.reconfigure_ip", pif, "DHCP", "", "", "", "")
    wait_until("the route", lambda: nets.call("PIF.get_gateway", pif), 10)
    record = nets.call("PIF.get_record", pif)
    assert record["IP"].startswith("10.78.0.1") and record["netmask"] == "255.255.255.0"
    route = xenhost.run(f"ip route show default dev {bridge}").split()
    assert record["gateway"] == route[2] == "10.78.0.1" and "200" in route
    assert nets.outside.reaches(record["IP"]) and not nets.outside.reaches("10.78.0.5")
    nets.check_agreement()

    assert bridge in xenhost.run(CLIENTS)
    nets.call("PIF.reconfigure_ip", pif, "None", "", "", "", "")
    assert bridge not in xenhost.run(CLIENTS)


BY_HAND = """
ip link add br-admin type bridge && ip link set eth3 master br-admin
ip link set eth3 up && ip link set br-admin up && ip address add 10.79.0.5/24 dev br-admin
ip link add link eth3 name eth3.7 type vlan id 7 && ip link set eth3.7 up
ip link add bond-admin type bond mode active-backup miimon 100
ip link set eth2 master bond-admin && ip link set bond-admin up
"""
HAND_MADE = ("br-admin", "eth3.7", "bond-admin")


def hand_made(machine: Machine) -> dict[str, list[Any]]:
    """What the administrator decided of each interface."""
    kept = ("ifname", "mtu", "address", "master", "ifalias", "link")
    links = Wiring.of(machine).links
    return {
        name: [links[name].get(key) for key in kept] + [links[name]["linkinfo"]["info_kind"]]
        for name in HAND_MADE
    }


def test_what_the_administrator_made_is_used_as_it_is(
    xenhost: Machine, nets: Networks, pair: tuple[Guest, Guest]
) -> None:
    guest, _ = pair
    for name in ("eth2", "eth3"):
        nets.call("PIF.forget", nets.pifs.pop(name))
    xenhost.run(f"set -e; {BY_HAND}")
    before = hand_made(xenhost)
    nets.outside.has("10.79.0.1/24", f"{PEER}/24")

    nets.call("PIF.scan", nets.workbench.host)
    nets.find()
    found = nets.call("PIF.get_all_records").values()
    named = {link_name(pif): pif for pif in found}
    assert not any(named[name]["managed"] for name in ("eth2", "eth3", "eth3.7", "bond-admin"))
    assert (named["eth3"]["IP"], named["eth3"]["netmask"]) == ("10.79.0.5", "255.255.255.0")
    (bond,) = nets.call("Bond.get_all")
    assert nets.call("Bond.get_slaves", bond) == [nets.pifs["eth2"]]
    with pytest.raises(ApiError, match="PIF_UNMANAGED"):
        nets.call("PIF.plug", nets.pifs["eth3"])
    theirs = nets.network_of("eth3")
    assert nets.bridge(theirs) == "br-admin"
    nets.call("VIF.plug", vif := nets.vif(guest.vm, theirs, "1"))
    guest.inside("ip address add 10.79.0.11/24 dev eth1 && ip link set eth1 up")
    assert reaches(guest, "10.79.0.1")
    nets.check_agreement()
    nets.call("VIF.unplug", vif)
    nets.call("VIF.destroy", vif)

    nets.call("VLAN.destroy", named["eth3.7"]["VLAN_master_of"])
    nets.call("Bond.destroy", bond)
    assert hand_made(xenhost) == before
    for name in ("eth2", "eth3"):
        nets.call("PIF.forget", nets.pifs.pop(name))
    nets.call("network.destroy", theirs)
    xenhost.run("".join(f"ip link delete {name};" for name in reversed(HAND_MADE)))
    xenhost.run("ip link set eth2 down; ip link set eth3 down")
    nets.call("PIF.scan", nets.workbench.host)
    nets.find()


def test_a_guest_keeps_its_address_when_it_boots_anew(
    nets: Networks, pair: tuple[Guest, Guest]
) -> None:
    _, guest = pair
    (vif,) = guest.call("get_VIFs")
    mac = nets.call("VIF.get_MAC", vif)
    assert guest.inside("cat /sys/class/net/eth0/address") == mac

    guest.call("hard_reboot")

    guest.wait_booted()
    assert guest.inside("cat /sys/class/net/eth0/address") == mac
