"""Interfaces, VLANs, bonds, addresses and guests' traffic on a host with cards of its own.

The world outside is a namespace behind the host's switch. After each test `ip`, `bridge` and `xl`
must agree with the records.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testhost.api import ApiError
from testhost.machine import Machine
from testhost.networks import SPARE, Networks
from testhost.table import Table
from testhost.wiring import Wiring
from testhost.workbench import Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

MIB = 1 << 20
LEFT, RIGHT, PEER = "10.41.0.11", "10.41.0.12", "10.41.0.1"
BLOCK_MIB, BLOCKS, PORT = 20, 5, 8000
TOLD_WITHIN_S = 1.0


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
    nets.check_agreement()


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
    nets.call("VIF.destroy", vif)
    nets.call("VLAN.destroy", vlan)
    assert "eth1.42" not in Wiring.of(xenhost).links
