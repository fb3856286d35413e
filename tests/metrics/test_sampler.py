"""What one sample after another leaves in the store, and which events it makes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from xapid.datamodel.host_cpu import HostCpu
from xapid.datamodel.host_metrics import HostMetrics
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vbd_metrics import VBDMetrics
from xapid.datamodel.vif_metrics import VIFMetrics
from xapid.datamodel.vm import VM
from xapid.datamodel.vm_metrics import VMMetrics
from xapid.db.store import Store
from xapid.services.metrics.records import govern
from xapid.services.metrics.sampler import AT_ONCE, SCHEDULING_EVERY, MetricsSampler
from xapid.xen.device_counters import Moved
from xapid.xen.errors import XenUnavailable
from xapid.xen.types import VcpuSample

from .world import SECOND_NS, World

XVDA = 51712
MIB = 1 << 20


async def test_a_vm_shows_how_busy_each_vcpu_was(world: World) -> None:
    vm = await world.guest(3, 0, 0)
    await world.sampler.sample()

    world.xen.at_ns += 4 * SECOND_NS
    world.xen.show(3, vm.uuid, 1 * SECOND_NS, 4 * SECOND_NS)
    await world.sampler.sample()

    metrics = world.metrics(vm)
    assert metrics.VCPUs_utilisation == {0: 0.25, 1: 1.0}
    assert metrics.VCPUs_CPU == {0: 0, 1: 1}
    assert metrics.VCPUs_flags == {0: ("online", "running"), 1: ("online", "running")}
    assert metrics.VCPUs_number == 2
    assert metrics.VCPUs_params == {"weight": "256", "cap": "0"}
    assert metrics.memory_actual == 2 * MIB
    assert metrics.state == ("running",)


async def test_a_vcpu_that_is_offline_is_nowhere(world: World) -> None:
    vm = await world.guest(3)
    vcpus = (VcpuSample(0, 1, False, True, 5), VcpuSample(1, None, False, False, 0))
    world.xen.show(3, vm.uuid, vcpus=vcpus, state=("blocked",))

    await world.sampler.sample()

    metrics = world.metrics(vm)
    assert metrics.VCPUs_CPU == {0: 1}
    assert metrics.VCPUs_flags == {0: ("online", "blocked"), 1: ()}
    assert metrics.VCPUs_number == 1


async def test_disks_and_interfaces_show_their_rates(world: World) -> None:
    vm = await world.guest(3)
    world.xen.disks[3, XVDA] = Moved(0, 0)
    world.xen.nics[3, 0] = Moved(0, 0)
    await world.sampler.sample()

    world.xen.at_ns += 2 * SECOND_NS
    world.xen.disks[3, XVDA] = Moved(4 * MIB, 2 * MIB)
    world.xen.nics[3, 0] = Moved(1024, 10240)
    await world.sampler.sample()

    record = world.store.get(vm.ref)
    disk = world.store.get(world.store.get(record.VBDs[0]).metrics)
    nic = world.store.get(world.store.get(record.VIFs[0]).metrics)
    assert (disk.io_read_kbs, disk.io_write_kbs) == (2048.0, 1024.0)
    assert (nic.io_read_kbs, nic.io_write_kbs) == (0.5, 5.0)


async def test_a_counter_that_began_anew_gives_no_rate(world: World) -> None:
    vm = await world.guest(3)
    world.xen.disks[3, XVDA] = Moved(4 * MIB, 4 * MIB)
    await world.sampler.sample()

    world.xen.at_ns += SECOND_NS
    world.xen.disks[3, XVDA] = Moved(0, 0)
    await world.sampler.sample()

    disk = world.store.get(world.store.get(world.store.get(vm.ref).VBDs[0]).metrics)
    assert (disk.io_read_kbs, disk.io_write_kbs) == (0.0, 0.0)


async def test_a_device_taken_away_moves_nothing(world: World) -> None:
    vm = await world.guest(3)
    vbd = world.store.get(vm.ref).VBDs[0]
    world.xen.disks[3, XVDA] = Moved(0, 0)
    await world.sampler.sample()
    world.xen.at_ns += SECOND_NS
    world.xen.disks[3, XVDA] = Moved(MIB, MIB)
    await world.sampler.sample()

    await world.store.set(vbd, VBD.currently_attached, False)
    await world.sampler.sample()

    assert world.store.get(world.store.get(vbd).metrics).io_read_kbs == 0.0


async def test_the_host_shows_its_memory_and_cpus(world: World) -> None:
    await world.sampler.sample()

    world.xen.at_ns += 10 * SECOND_NS
    world.xen.idle_ns = (10 * SECOND_NS, SECOND_NS)
    await world.sampler.sample()

    (metrics,) = world.store.all(HostMetrics)
    busy = {cpu.number: cpu.utilisation for cpu in world.store.all(HostCpu)}
    assert (metrics.memory_total, metrics.memory_free) == (1000 * 1024, 400 * 1024)
    assert metrics.live
    assert busy == {0: 0.0, 1: 0.9}


async def test_a_host_whose_xen_is_away_is_not_live(world: World) -> None:
    vm = await world.guest(3)
    await world.sampler.sample()
    world.xen.failure = XenUnavailable("away")

    await world.sampler.sample()

    (metrics,) = world.store.all(HostMetrics)
    assert not metrics.live
    assert world.metrics(vm).state == ("running",)

    world.xen.failure = None
    await world.sampler.sample()
    assert world.store.all(HostMetrics)[0].live


async def test_where_nothing_changed_there_is_no_event(world: World) -> None:
    await world.guest(3)
    await world.sampler.sample()
    world.xen.at_ns += SECOND_NS
    await world.sampler.sample()
    seen = world.store.feed.current_id

    world.xen.at_ns += SECOND_NS
    await world.sampler.sample()

    assert world.events_since(seen) == []


async def test_a_change_is_one_event_with_its_date(world: World) -> None:
    vm = await world.guest(3)
    await world.sampler.sample()
    before = world.metrics(vm).last_updated
    seen = world.store.feed.current_id

    world.xen.show(3, vm.uuid, 0, memory_kib=4096, state=("paused",))
    await world.sampler.sample()

    (event,) = world.events_since(seen)
    assert (event.class_name, event.operation) == ("VM_metrics", "mod")
    assert world.metrics(vm).last_updated > before


async def test_samples_write_nothing_to_the_disk(world: World) -> None:
    vm = await world.guest(3)
    await world.sampler.sample()
    commits = world.store.commits

    for step in range(1, 4):
        world.xen.at_ns += SECOND_NS
        world.xen.show(3, vm.uuid, step)
        await world.sampler.sample()

    assert world.store.commits == commits


async def test_a_vm_without_domain_uses_nothing(world: World) -> None:
    vm = await world.guest(3)
    await world.sampler.sample()

    world.xen.domains.clear()
    await world.sampler.sample()

    metrics = world.metrics(vm)
    assert (metrics.memory_actual, metrics.VCPUs_number) == (0, 0)
    assert (metrics.state, metrics.VCPUs_utilisation) == ((), {})


async def test_of_many_guests_each_is_measured_and_then_back_at_zero(world: World) -> None:
    vms = [await world.guest(domid) for domid in range(1, AT_ONCE + 3)]

    await world.sampler.sample()
    running = [world.metrics(vm).memory_actual for vm in vms]
    world.xen.domains.clear()
    await world.sampler.sample()

    assert running == [2 * MIB] * len(vms)
    assert [world.metrics(vm).memory_actual for vm in vms] == [0] * len(vms)


async def test_a_new_domain_of_a_vm_begins_from_zero(world: World) -> None:
    vm = await world.guest(3, 50 * SECOND_NS)
    await world.sampler.sample()

    world.xen.at_ns += SECOND_NS
    world.xen.domains.clear()
    world.xen.show(4, vm.uuid, 60 * SECOND_NS)
    await world.sampler.sample()

    assert world.metrics(vm).VCPUs_utilisation == {0: 0.0}


async def test_the_domain_that_lives_counts_beside_one_that_dies(world: World) -> None:
    vm = await world.guest(3)
    world.xen.show(4, vm.uuid, 0, memory_kib=512)
    world.xen.show(5, vm.uuid, 0, memory_kib=8, state=("dying",))

    await world.sampler.sample()

    assert world.metrics(vm).memory_actual == 512 * 1024


async def test_the_control_domain_is_measured_too(world: World) -> None:
    async with world.store.transaction() as tx:
        values = {"name_label": "dom0", "is_control_domain": True, "metrics": tx.create(VMMetrics)}
        values |= {"memory_static_max": 1, "memory_dynamic_max": 1, "memory_dynamic_min": 1}
        dom0 = tx.create(VM, values)
    world.xen.show(0, "00000000-0000-0000-0000-000000000000", 0)

    await world.sampler.sample()

    assert world.metrics(world.store.get(dom0)).memory_actual == 2 * MIB


async def test_a_foreign_domain_gets_metrics_that_go_with_it(world: World) -> None:
    async with world.store.transaction() as tx:
        values = {"name_label": "foreign", "is_foreign_domain": True, "domid": 9}
        values |= {"memory_static_max": 1, "memory_dynamic_max": 1, "memory_dynamic_min": 1}
        foreign = tx.create(VM, values, volatile=True)
    world.xen.show(9, world.store.get(foreign).uuid, 0)
    await world.sampler.sample()
    metrics = world.store.get(foreign).metrics
    assert world.store.get(metrics).memory_actual == 2 * MIB

    await world.store.transact(lambda tx: tx.destroy(foreign))
    await world.sampler.sample()

    assert world.store.class_of(metrics) is None


async def test_a_device_has_its_metrics_from_its_first_moment(world: World) -> None:
    vm = await world.guest(3)
    vbd, vif = world.store.get(vm.ref).VBDs[0], world.store.get(vm.ref).VIFs[0]
    first = world.store.get(vbd).metrics

    await world.store.set(vbd, VBD.currently_attached, False)
    await world.sampler.sample()

    assert (world.store.get(vbd).metrics, world.store.count(VBDMetrics)) == (first, 1)
    assert world.store.get(world.store.get(vif).metrics).io_read_kbs == 0.0


async def test_metrics_of_a_device_that_went_without_them_go_at_the_next_sample(
    world: World,
) -> None:
    vm = await world.guest(3)

    await world.store.transact(lambda tx: tx.destroy(world.store.get(vm.ref).VBDs[0]))
    await world.sampler.sample()

    assert (world.store.count(VBDMetrics), world.store.count(VIFMetrics)) == (0, 1)


async def test_a_device_of_an_older_database_gets_its_metrics_at_the_start(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "old.db", CLASSES)
    async with store.transaction() as tx:
        vbd = tx.create(VBD, {"VM": tx.create(VM, {"name_label": "old"})})

    await govern(store)

    assert store.class_of(store.get(vbd).metrics) is VBDMetrics
    await store.close()


async def test_scheduling_is_read_at_first_and_then_seldom(world: World) -> None:
    await world.guest(3)

    for _ in range(2 * SCHEDULING_EVERY):
        await world.sampler.sample()

    assert world.xen.asked[0] == (3,)
    assert world.xen.asked.count((3,)) <= 3
    assert world.xen.asked.count(()) >= 2 * SCHEDULING_EVERY - 3


async def test_scheduling_is_read_once_the_record_names_the_domain(world: World) -> None:
    vm = await world.guest(3)
    await world.store.set(vm.ref, VM.domid, -1)
    await world.sampler.sample()

    await world.store.set(vm.ref, VM.domid, 3)
    await world.sampler.sample()

    assert world.xen.asked == [(), (3,)]


async def test_what_the_scheduler_was_told_stays_while_it_is_not_read(world: World) -> None:
    vm = await world.guest(3)
    await world.sampler.sample()

    world.xen.show(3, vm.uuid, 0, scheduling=None)
    await world.sampler.sample()

    assert world.metrics(vm).VCPUs_params == {"weight": "256", "cap": "0"}


async def test_it_samples_again_and_again_until_closed(world: World) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            enough.set()
            await asyncio.Event().wait()

    sampler = MetricsSampler(
        world.store, world.xen, interval_s=5.0, counters=world.xen.counters, pause=pause
    )
    await sampler.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await sampler.close()

    assert len(world.xen.asked) == 3
    assert all(2.5 <= seconds <= 5.0 for seconds in pauses)


async def test_a_bug_in_one_pass_does_not_end_the_sampling(world: World) -> None:
    failures: list[Any] = [ZeroDivisionError(), None]
    enough = asyncio.Event()

    async def pause(_: float) -> None:
        world.xen.failure = failures.pop(0) if failures else None
        if len(world.xen.asked) == 3:
            enough.set()
            await asyncio.Event().wait()

    sampler = MetricsSampler(world.store, world.xen, counters=world.xen.counters, pause=pause)
    await sampler.start()
    async with asyncio.timeout(10):
        await enough.wait()
    await sampler.close()

    assert world.store.all(HostMetrics)[0].live


async def test_closing_during_a_pass_ends_it(world: World) -> None:
    asked = asyncio.Event()

    class Silent:
        async def sample(self, scheduling: object = ()) -> Any:
            asked.set()
            await asyncio.Event().wait()

    sampler = MetricsSampler(world.store, Silent(), counters=world.xen.counters)
    await sampler.start()
    async with asyncio.timeout(10):
        await asked.wait()
        await sampler.close()
