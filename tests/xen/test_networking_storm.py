"""Many guests that start at once, each with an interface: our hotplug script and Xen's own."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
from testhost.machine import Machine
from testhost.networks import Networks
from testhost.table import Table
from testhost.wiring import Wiring
from testhost.workbench import Workbench, wait_until

pytestmark = pytest.mark.xen

GUESTS = 20
FEW = 4
"""With more, one host processor cannot run Xen's own script within libxl's 40 s."""
SMALLEST_MIB = 4
OWN, KEPT = "$(find /opt/xapid /usr/lib/xapid -name vif-xapid 2>/dev/null)", "/root/vif-own"
STOCK = "/etc/xen/scripts/vif-bridge"
TIMES = "/run/hotplug-times"
MEASURED = f"""#!/bin/sh
began=$(date +%s%N)
{{script}} "$@" || exit
[ "$1" != online ] || echo $(($(date +%s%N) - began)) >>{TIMES}
"""


@pytest.fixture
def nets(workbench: Workbench) -> Iterator[Networks]:
    nets = Networks.on(workbench)
    yield nets
    nets.close()


@pytest.fixture
def crowd(nets: Networks) -> list[str]:
    """Halted guests on one network of their own."""
    network, vms = nets.network("crowded"), []
    for number in range(GUESTS):
        vms.append(nets.workbench.sleeper(f"one of {GUESTS}: {number}", SMALLEST_MIB).vm)
        nets.adopt(vms[-1])
        nets.vif(vms[-1], network, "0")
    return vms


@pytest.fixture
def measured(xenhost: Machine) -> Iterator[None]:
    """Each run of a hotplug script leaves its time."""
    xenhost.run(f"cp -a {OWN} {KEPT}")
    yield
    xenhost.run(f"cp -a {KEPT} {OWN}")


def test_twenty_guests_start_at_once(
    xenhost: Machine, nets: Networks, crowd: list[str], measured: None, table: Table
) -> None:
    took: dict[str, float] = {}
    for column, script, vms in (("stock", STOCK, crowd[:FEW]), ("own", KEPT, crowd)):
        xenhost.run(f"cat >{OWN}; rm -f {TIMES}", stdin=MEASURED.format(script=script).encode())
        with table.step(column, f"start of {len(vms)} guests with a VIF"):
            tasks = [nets.call("Async.VM.start", vm, False, False) for vm in vms]
            for task in tasks:
                nets.settle(task, 300)
        (bridge,) = {nets.bridge(network) for network in nets.networks}
        plugged = [name for name, master in Wiring.of(xenhost).bridges.items() if master == bridge]
        assert len(plugged) == len(vms)
        nets.check_agreement()
        times = [int(each) / 1e9 for each in xenhost.run(f"cat {TIMES}").split()]
        assert len(times) == len(vms)
        took[column] = statistics.median(times)
        table.seconds.setdefault("hotplug of a VIF, median", {})[column] = took[column]
        for vm in vms:
            nets.call("VM.hard_shutdown", vm)
        wait_until("the bridge goes", lambda b=bridge: b not in Wiring.of(xenhost).links, 10)
    assert took["own"] < took["stock"]
