"""Many starts at once: builds overlap, and the loop goes on answering."""

from __future__ import annotations

import time

from .conftest import MIB, Client, Daemon, vm_values


def test_four_starts_take_little_longer_than_one(daemon: Daemon, client: Client) -> None:
    vms = [client("VM.create", vm_values(name_label=f"g{n}")) for n in range(5)]
    daemon.knob("build_ms", 1000)

    took_s = []
    for some in (vms[:1], vms[1:]):
        began = time.monotonic()
        tasks = [client("Async.VM.start", vm, False, False) for vm in some]
        ended = [client.wait_for_task(task)["status"] for task in tasks]
        took_s.append(time.monotonic() - began)
        assert ended == ["success"] * len(some)

    alone, together = took_s
    assert alone >= 1.0
    assert together < 3 * alone


def test_fifty_starts_at_once_never_stall_the_loop(daemon: Daemon, client: Client) -> None:
    size = str(64 * MIB)
    small = {f"memory_{f}": size for f in ("static_max", "dynamic_max", "dynamic_min", "target")}
    small["memory_static_min"] = size
    vms = [client("VM.create", vm_values(name_label=f"g{n}", **small)) for n in range(50)]

    tasks = [client("Async.VM.start", vm, False, False) for vm in vms]
    records = [client.wait_for_task(task) for task in tasks]

    assert [record["status"] for record in records] == ["success"] * 50
    daemon.stop()
    assert not [line for line in daemon.errors if "the event loop was blocked" in line]
