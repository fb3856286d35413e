"""The host's own place in the network: no lock-out, nothing lost by a kill or a reboot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from testhost.daemon import Daemon
from testhost.machine import HostError, Machine
from testhost.networks import Networks
from testhost.outside import Outside
from testhost.table import Table
from testhost.workbench import Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

GOOD, BAD, PEER = "10.81.0.5", "10.82.0.5", "10.81.0.1"
WITHIN_S = 60
LATE_BY_S = 25


@pytest.fixture(scope="module")
def nets(workbench: Workbench) -> Iterator[Networks]:
    nets = Networks.on(workbench)
    nets.open()
    yield nets
    nets.close()


@pytest.fixture(autouse=True)
def agreement(nets: Networks) -> Iterator[None]:
    yield
    nets.check_agreement()


def kill(daemon: Daemon, nets: Networks) -> None:
    """kill -9 xapid, and have it running again."""
    daemon.kill9("xapid")
    daemon.wait_dead()
    daemon.start()
    nets.workbench.log_in_again()


def manages(nets: Networks, name: str) -> bool:
    return bool(nets.call("PIF.get_management", nets.pifs[name]))


def test_a_confirmed_change_of_management_outlives_a_kill(daemon: Daemon, nets: Networks) -> None:
    nets.outside.has(f"{PEER}/24")
    nets.call("PIF.plug", nets.pifs["eth1"])
    nets.static(nets.pifs["eth1"], GOOD)
    nets.call("host.management_reconfigure", nets.pifs["eth1"])

    found = nets.outside.call(GOOD, daemon.root_password(), "host.get_all")
    assert found == [nets.workbench.host]
    kill(daemon, nets)

    assert manages(nets, "eth1")
    assert nets.call("host.get_address", nets.workbench.host) == GOOD
    assert nets.outside.call(GOOD, daemon.root_password(), "host.get_all") == found


def test_a_change_that_locks_out_is_taken_back_although_xapid_was_killed(
    daemon: Daemon, nets: Networks, table: Table
) -> None:
    assert manages(nets, "eth1"), "the test before this one made it so"
    pif, password = nets.pifs["eth1"], daemon.root_password()
    wrong = ("Static", BAD, "255.255.255.0", "", "")
    began = time.monotonic()
    with suppress(HostError):  # the answer may have no way back
        nets.outside.call(GOOD, password, "PIF.reconfigure_ip", pif, *wrong)
    assert nets.call("PIF.get_IP", pif) == BAD
    assert not nets.outside.reaches(GOOD)

    kill(daemon, nets)

    up_again = time.monotonic() - began  # an emulated host may take longer than that to start it
    assert nets.call("PIF.get_IP", pif) == BAD or up_again > WITHIN_S - 5
    wait_until("the old address answers", lambda: nets.outside.reaches(GOOD), 120)
    took = time.monotonic() - began
    table.seconds.setdefault("lock-out until taken back", {})["net"] = took
    assert WITHIN_S - 5 < took < max(WITHIN_S, up_again) + LATE_BY_S
    assert nets.outside.call(GOOD, password, "PIF.get_IP", pif) == GOOD
    assert manages(nets, "eth1")


def test_everything_comes_back_after_a_reboot(
    xenhost: Machine, daemon: Daemon, nets: Networks, table: Table
) -> None:
    office, bonded = nets.network("office"), nets.network("bonded")
    nets.call("VLAN.create", nets.pifs["eth1"], "42", office)
    members = [nets.pifs["eth2"], nets.pifs["eth3"]]
    bond = nets.call("Bond.create", bonded, members, "", "active-backup", {})
    master = nets.call("Bond.get_master", bond)
    nets.call("PIF.plug", master)
    nets.outside.serve_dhcp("10.83.0.1", "10.83.0.100", "10.83.0.199")
    nets.call("PIF.reconfigure_ip", master, "DHCP", "", "", "", "")
    guests = [
        sleeper(nets, f"on {name}", network)
        for name, network in (("office", office), ("bonded", bonded))
    ]
    before = known_pifs(nets)
    assert before[master]["IP"].startswith("10.83.0.1")

    with table.step("net", "reboot of the host"):
        xenhost.reboot()
    with table.step("net", "start after the reboot"):
        daemon.start()
    nets.workbench.resume()
    # No server answers yet, and neither xapid nor the guests wait for one.
    wait_until("no address", lambda: not nets.call("PIF.get_IP", master), 10)
    for guest in guests:
        guest.wait_state("Running", 60)
    nets.check_agreement()

    nets.outside = Outside(xenhost)
    nets.outside.open()
    with table.step("net", "an address once its server is there"):
        nets.outside.serve_dhcp("10.83.0.1", "10.83.0.100", "10.83.0.199")
        wait_until("the address", lambda: nets.call("PIF.get_IP", master), 90)
    before[master]["IP"] = nets.call("PIF.get_IP", master)
    with suppress(HostError):  # the lease's gateway and name servers come after its address
        wait_until("the PIFs are what they were", lambda: known_pifs(nets) == before, 20)
    assert known_pifs(nets) == before
    assert nets.outside.reaches(nets.call("PIF.get_IP", master))
    nets.outside.has(f"{PEER}/24")
    assert nets.outside.call(GOOD, daemon.root_password(), "host.get_all")
    assert manages(nets, "eth1")


def sleeper(nets: Networks, name: str, network: str) -> Guest:
    """A small guest on a network that starts with the host."""
    guest = nets.workbench.sleeper(name, other_config={"auto_poweron": "true"})
    nets.adopt(guest.vm)
    nets.vif(guest.vm, network, "0")
    guest.call("start", False, False)
    return guest


def known_pifs(nets: Networks) -> dict[str, dict[str, object]]:
    """What a reboot must not change of the PIFs."""
    found: dict[str, dict[str, object]] = nets.call("PIF.get_all_records")
    return {
        ref: {name: value for name, value in pif.items() if name != "metrics"}
        for ref, pif in found.items()
    }
