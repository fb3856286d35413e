"""What a guest writes into xenstore, and what its record shows of it."""

from __future__ import annotations

import asyncio

import pytest

from xapid.datamodel.declare import NULL
from xapid.datamodel.vm import VM
from xapid.datamodel.vm_guest_metrics import VMGuestMetrics
from xapid.db.text import is_valid_text
from xapid.services.guest_metrics.service import pause_after
from xapid.xen.guest_tree import MAX_NODES, MAX_VALUE, GuestTree

from .world import World, a_domain

LINUX: dict[str, str | bytes] = {
    "data/os_name": "Debian GNU/Linux 12",
    "data/os_distro": "debian",
    "data/os_majorver": "12",
    "data/os_uname": "6.1.0",
    "attr/PVAddons/MajorVersion": "7",
    "attr/PVAddons/MinorVersion": "30",
    "data/meminfo_total": "1000",
    "data/meminfo_free": "400",
    "attr/vif/0/ipv4/0": "10.0.0.5",
    "attr/vif/0/ipv6/0": "fe80::1",
    "control/feature-balloon": "1",
    "data/ts": "1",
}


async def test_what_an_agent_tells_is_shown(world: World) -> None:
    vm = await world.vm()
    await world.tell(5, LINUX)

    world.domains.show(a_domain(5, vm.uuid))
    await world.until(lambda: world.shown(vm) is not None)

    shown = world.shown(vm)
    assert shown is not None
    assert shown.os_version["name"] == "Debian GNU/Linux 12"
    assert shown.PV_drivers_version == {"major": "7", "minor": "30"}
    assert shown.PV_drivers_up_to_date
    assert shown.memory == {"total": "1000", "free": "400", "used": "600"}
    assert shown.networks == {"0/ip": "10.0.0.5", "0/ipv4/0": "10.0.0.5", "0/ipv6/0": "fe80::1"}
    assert shown.other == {"feature-balloon": "1", "data-ts": "1"}


async def test_what_it_tells_later_follows(world: World) -> None:
    vm = await world.vm()
    world.domains.show(a_domain(5, vm.uuid))
    await world.tell(5, {"data/os_name": "one", "attr/vif/0/ipv4/0": "10.0.0.5"})
    await world.until(lambda: (s := world.shown(vm)) is not None and "0/ip" in s.networks)

    await world.tell(5, {"data/os_name": "other"})
    await world.guests.remove("/local/domain/5/attr/vif")
    await world.until(
        lambda: (
            (s := world.shown(vm)) is not None
            and (s.os_version, s.networks) == ({"name": "other"}, {})
        )
    )


async def test_a_guest_that_tells_nothing_has_no_record(world: World) -> None:
    silent, talking = await world.vm(), await world.vm()
    await world.tell(5, {"control/shutdown": "", "data": "", "device/vif/0/state": "4"})
    world.domains.show(a_domain(5, silent.uuid), a_domain(6, talking.uuid))

    await world.tell(6, LINUX)
    await world.until(lambda: world.shown(talking) is not None)

    assert world.shown(silent) is None


async def test_the_record_goes_with_the_domain(world: World) -> None:
    vm = await world.vm()
    await world.tell(5, LINUX)
    world.domains.show(a_domain(5, vm.uuid))
    await world.until(lambda: world.shown(vm) is not None)

    world.domains.show(a_domain(5, vm.uuid, dying=True))
    await world.until(lambda: world.shown(vm) is None)

    assert world.store.count(VMGuestMetrics) == 0


async def test_a_rebooted_guest_keeps_its_record(world: World) -> None:
    vm = await world.vm()
    await world.tell(5, LINUX)
    world.domains.show(a_domain(5, vm.uuid))
    await world.until(lambda: world.shown(vm) is not None)

    world.domains.show(a_domain(6, vm.uuid))
    await world.tell(6, {"data/os_name": "again"})
    await world.until(
        lambda: (s := world.shown(vm)) is not None and s.os_version == {"name": "again"}
    )

    assert world.store.count(VMGuestMetrics) == 1


async def test_a_record_whose_domain_ended_while_nobody_looked_goes_at_the_start(
    world: World,
) -> None:
    gone, there = await world.vm(), await world.vm()
    async with world.store.transaction() as tx:
        for vm in (gone, there):
            tx.set(vm.ref, VM.guest_metrics, tx.create(VMGuestMetrics))
        tx.set(there.ref, VM.domid, 7)
    kept = world.store.get(there.ref).guest_metrics
    await world.service.close()

    await world.service.start()

    assert world.store.refs(VMGuestMetrics) == [kept]
    assert world.store.get(gone.ref).guest_metrics == NULL


async def test_a_change_back_and_forth_of_nothing_makes_no_event(world: World) -> None:
    vm = await world.vm()
    await world.tell(5, LINUX)
    world.domains.show(a_domain(5, vm.uuid))
    await world.until(lambda: world.shown(vm) is not None)
    seen = world.store.feed.current_id

    await world.tell(5, {"data/os_name": LINUX["data/os_name"]})
    await world.tell(5, {"data/last": "x"})
    await world.until(lambda: (s := world.shown(vm)) is not None and "data-last" in s.other)

    assert len(world.store.feed.read(seen, frozenset({"VM_guest_metrics"}))) == 1


async def test_a_domain_older_than_its_record_is_shown_when_it_comes(world: World) -> None:
    identity = "11111111-1111-4111-8111-111111111111"
    await world.tell(5, LINUX)
    world.domains.show(a_domain(5, identity))
    await world.xenstore.read("/local/domain/5/data")

    vm = await world.vm()
    world.domains.show(a_domain(5, identity), a_domain(6, vm.uuid))
    await world.tell(6, LINUX)
    await world.until(lambda: world.shown(vm) is not None)


async def test_xenstored_may_leave_and_come_back(world: World) -> None:
    vm = await world.vm()
    world.domains.show(a_domain(5, vm.uuid))
    await world.tell(5, {"data/os_name": "before"})
    await world.until(lambda: world.shown(vm) is not None)

    await world.xenstored.close()
    await world.xenstored.start()
    await world.guests.wait_available()
    await world.tell(5, {"data/os_name": "after"})

    await world.until(
        lambda: (s := world.shown(vm)) is not None and s.os_version == {"name": "after"}
    )


# Hostile guests


async def tree_of(world: World, domid: int) -> GuestTree:
    tree = GuestTree(world.xenstore, domid)
    await tree.refresh(tree.concerned([f"/local/domain/{domid}"]))
    return tree


async def test_a_guest_cannot_make_a_record_without_end(world: World) -> None:
    for number in range(30):
        told: dict[str, str | bytes] = {f"data/x{number}/y{n}": "v" for n in range(30)}
        await asyncio.gather(*(world.tell(5, {path: value}) for path, value in told.items()))

    tree = await tree_of(world, 5)

    assert tree.truncated
    assert 0 < len(tree.values) <= MAX_NODES


async def test_a_directory_too_large_to_be_listed_is_passed_over(world: World) -> None:
    names = [f"data/{'n' * 40}{n}" for n in range(200)]
    await asyncio.gather(*(world.tell(5, {name: "v"}) for name in names))
    await world.tell(5, {"attr/PVAddons/MajorVersion": "7"})

    tree = await tree_of(world, 5)

    assert tree.truncated
    assert tree.values == {"attr/PVAddons/MajorVersion": "7"}


async def test_a_guest_cannot_write_long_values(world: World) -> None:
    await asyncio.gather(*(world.tell(5, {f"data/{n}": "x" * 3000}) for n in range(100)))

    tree = await tree_of(world, 5)

    assert tree.truncated
    assert all(len(value) <= MAX_VALUE for value in tree.values.values())
    assert sum(len(value) for value in tree.values.values()) <= 64 << 10


async def test_a_guest_cannot_dig_without_end(world: World) -> None:
    await world.tell(5, {"data/" + "/".join("d" * 60): "deep", "data/shallow": "1"})

    tree = await tree_of(world, 5)

    assert tree.values == {"data/shallow": "1"}
    assert tree.concerned(["/local/domain/5/data/" + "/".join("d" * 60)]) == []


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe", b"\xed\xa0\x80", b"a\x00b", b"\x1b[31m", b"\xf0\x9f", b"\xef\xbf\xbf"]
)
async def test_what_is_no_text_is_made_valid(world: World, raw: bytes) -> None:
    vm = await world.vm()
    await world.tell(5, {"data/os_name": raw, "data/os_distro": "debian"})

    world.domains.show(a_domain(5, vm.uuid))
    await world.until(lambda: world.shown(vm) is not None)

    shown = world.shown(vm)
    assert shown is not None
    assert is_valid_text(shown.os_version.get("name", ""))
    assert shown.os_version["distro"] == "debian"


async def test_space_is_given_back_when_nodes_go(world: World) -> None:
    tree = GuestTree(world.xenstore, 5)
    for round_ in range(5):
        told: dict[str, str | bytes] = {f"data/r{round_}/{n}": "x" * 1000 for n in range(30)}
        await asyncio.gather(*(world.tell(5, {path: value}) for path, value in told.items()))
        await tree.refresh(tree.concerned(["/local/domain/5/data"]))
        await world.guests.remove(f"/local/domain/5/data/r{round_}")

    assert not tree.truncated
    assert len(tree.values) == 30


async def test_the_devices_of_a_guest_are_none_of_its_tales(world: World) -> None:
    tree = GuestTree(world.xenstore, 5)

    assert tree.concerned(["/local/domain/5/device/vif/0/state", "/local/domain/5/console"]) == []
    assert tree.concerned(["/local/domain/5/xenserver"]) == ["xenserver/attr"]
    assert tree.concerned(["/local/domain/5/data/a", "/local/domain/5/data"]) == ["data"]


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.0, 1.0), (0.1, 2.0), (0.75, 5.0), (60.0, 5.0)])
def test_a_guest_is_read_seldom_but_never_left_for_long(took_s: float, pause_s: float) -> None:
    assert pause_after(took_s) == pause_s
