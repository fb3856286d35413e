"""What is measured of many real guests at once, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testhost.daemon import Daemon
from testhost.daemon_cost import DaemonCost
from testhost.listener import Listener
from testhost.machine import Machine
from testhost.table import Table
from testhost.workbench import MIB, Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

GUESTS = 20
SMALLEST_MIB = 4
# A pass over 20 guests, of which none changes, may cost this many times one over a single guest.
GENTLE = 4


@pytest.fixture(scope="module")
def first(workbench: Workbench) -> Iterator[Guest]:
    guest = workbench.sleeper("guest 0", SMALLEST_MIB)
    guest.call("start", False, False)
    yield guest
    guest.call("hard_shutdown")


@pytest.fixture(scope="module")
def cost_of_one(xenhost: Machine, daemon: Daemon, first: Guest, table: Table) -> float:
    """Processor seconds of one pass while a single guest runs."""
    with Listener(xenhost.https_port, daemon.root_password(), "host_cpu") as heard:
        cost = DaemonCost(xenhost, heard).of_pass()
    table.seconds.setdefault("CPU of a sampling pass, 1 guest", {})["host"] = cost
    return cost


@pytest.fixture(scope="module")
def crowd(
    workbench: Workbench, first: Guest, cost_of_one: float, table: Table
) -> Iterator[list[Guest]]:
    """Guests that differ in memory and number of vCPUs, all running."""
    crowd = [first]
    with table.step("pvh", f"start of {GUESTS - 1} small guests"):
        for number in range(1, GUESTS):
            vcpus = str(1 + number % 2)
            guest = workbench.sleeper(
                f"guest {number}",
                SMALLEST_MIB + number,
                VCPUs_max=vcpus,
                VCPUs_at_startup=vcpus,
            )
            guest.call("start", False, False)
            crowd.append(guest)
    yield crowd
    for guest in crowd[1:]:
        guest.call("hard_shutdown")
        guest.call("destroy")


def measured(workbench: Workbench, crowd: list[Guest]) -> dict[str, dict[str, Any]]:
    """The VM_metrics of each guest, by the VM's reference."""
    every = workbench.api.call("VM_metrics.get_all_records")
    vms = workbench.api.call("VM.get_all_records")
    return {guest.vm: every[vms[guest.vm]["metrics"]] for guest in crowd}


def test_each_of_many_guests_is_measured_as_xl_sees_it(
    xenhost: Machine, workbench: Workbench, crowd: list[Guest], table: Table
) -> None:
    domains = {
        row.split()[0]: row.split() for row in xenhost.run("xl list").splitlines() if "xapid" in row
    }
    assert len(domains) >= GUESTS

    with table.step("pvh", f"{GUESTS} guests in VM_metrics"):
        wait_until(
            "every guest is measured",
            lambda: all(int(m["VCPUs_number"]) for m in measured(workbench, crowd).values()),
            15,
        )

    every = measured(workbench, crowd)
    for number, guest in enumerate(crowd):
        metrics = every[guest.vm]
        row = domains[guest.domain_name]
        assert int(metrics["memory_actual"]) // MIB == int(row[2]) == SMALLEST_MIB + number
        assert metrics["VCPUs_number"] == row[3]
        assert "blocked" in metrics["state"]
        assert sorted(metrics["VCPUs_utilisation"]) == [str(n) for n in range(1 + number % 2)]
        assert all(share < 0.05 for share in metrics["VCPUs_utilisation"].values())
        # A sleeper never wakes its second vCPU.
        online = [vcpu for vcpu, flags in metrics["VCPUs_flags"].items() if "online" in flags]
        assert online == ["0"]


def test_cost_of_a_pass_grows_gently_with_the_guests(
    xenhost: Machine, daemon: Daemon, crowd: list[Guest], cost_of_one: float, table: Table
) -> None:
    with Listener(xenhost.https_port, daemon.root_password(), "host_cpu", "VM_metrics") as heard:
        cost = DaemonCost(xenhost, heard).of_pass()
        about_guests = [each for each in heard.heard if each.event["class"] == "VM_metrics"]

    table.seconds.setdefault(f"CPU of a sampling pass, {GUESTS} guests", {})["host"] = cost
    assert cost < GENTLE * cost_of_one
    # What sleeps does not change, and what does not change makes no event; dom0 is not asleep.
    assert len(about_guests) < len(crowd)
