"""Disks in LVM's thin pools on real Xen: on a loop device of dom0, and over iSCSI.

The tests of one kind of storage follow one another: a guest writes, is snapshotted, overwrites; a
second guest reads what the first had written; disks grow, are copied, and all space comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from testhost.api import ApiError
from testhost.block_storage import (
    IQN,
    SECRET,
    drop_loop_device,
    drop_lun,
    iscsi_config,
    loop_device,
    serve_lun,
)
from testhost.machine import Machine
from testhost.table import Table
from testhost.workbench import DIRECT, MIB, Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

SR_MIB = 1024
DISK = 192 * MIB
GROWN = 256 * MIB
PATTERN_MIB = 24
OVERHEAD = 40 * MIB
"""What LVM takes of a device of this size for itself."""


@dataclass
class Storage:
    """One SR and what the tests made in it so far."""

    workbench: Workbench
    kind: str
    config: dict[str, str]
    sr: str = ""
    empty: int = 0
    vdis: dict[str, str] = field(default_factory=dict)
    guests: dict[str, Guest] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, *arguments: Any) -> Any:
        return self.workbench.api.call(method, *arguments)

    def used(self) -> int:
        self.call("SR.scan", self.sr)
        return int(self.call("SR.get_physical_utilisation", self.sr))

    def volumes(self) -> set[str]:
        """The logical volumes of the SR, as dom0's own LVM sees them."""
        uuid = self.call("SR.get_uuid", self.sr)
        listed = self.workbench.machine.run(f"lvs --noheadings -o lv_name xapid-{uuid}")
        return set(listed.split())

    def path(self, vdi: str) -> str:
        uuid, location = self.call("SR.get_uuid", self.sr), self.call("VDI.get_location", vdi)
        return f"/dev/xapid-{uuid}/{location}"

    def start(self, name: str, vdi: str) -> Guest:
        """A PVH guest that runs with the disk."""
        fields = {"domain_type": "pvh", **DIRECT}
        vm = self.workbench.vm(name, fields)
        self.workbench.vbd(vm, vdi, "0")
        guest = Guest(self.workbench, "pvh", vm, "", 120, vdi, "")
        guest.call("start", False, False)
        guest.wait_booted()
        self.guests[name] = guest
        return guest

    def task_ends(self, task: str) -> tuple[str, set[float]]:
        """The final status of a task, and the progress that was seen on its way."""
        seen: set[float] = set()

        def ended() -> bool:
            status = self.call("task.get_status", task)
            seen.add(self.call("task.get_progress", task))
            return status not in ("pending", "cancelling")

        wait_until("the task ends", ended, 300)
        return str(self.call("task.get_status", task)), seen


def result_of(storage: Storage, task: str) -> str:
    found = re.search(r"OpaqueRef:[^<]+", str(storage.call("task.get_result", task)))
    assert found
    return found[0]


@pytest.fixture(scope="class", params=["lvm", "lvmoiscsi"])
def storage(request: pytest.FixtureRequest, workbench: Workbench) -> Iterator[Storage]:
    machine = workbench.machine
    if request.param == "lvm":
        device = loop_device(machine, "lvm", SR_MIB)
        yield Storage(workbench, "lvm", {"device": device})
        drop_loop_device(machine, device, "lvm")
    else:
        serve_lun(machine, SR_MIB)
        yield Storage(workbench, "lvmoiscsi", iscsi_config())
        drop_lun(machine)


def make_pattern(guest: Guest) -> str:
    """Write new random bytes to the beginning of the guest's disk; their MD5 sum."""
    write = f"dd if=/dev/urandom of=/tmp/p bs=1M count={PATTERN_MIB} 2>/dev/null"
    guest.inside(f"{write} && dd if=/tmp/p of=/dev/xvda bs=1M conv=fsync 2>/dev/null", 200)
    return guest.inside("sync; md5sum </tmp/p; rm /tmp/p", 120).split()[0]


def read_pattern(guest: Guest) -> str:
    fresh = "echo 3 >/proc/sys/vm/drop_caches"
    read = f"dd if=/dev/xvda bs=1M count={PATTERN_MIB} 2>/dev/null | md5sum"
    return guest.inside(f"{fresh}; {read}", 200).split()[0]


class TestThinDisks:
    def test_probe_shows_what_is_there(self, storage: Storage, table: Table) -> None:
        host = storage.workbench.host

        with table.step(storage.kind, "probe"):
            found = str(storage.call("SR.probe", host, storage.config, storage.kind, {}))

        assert "<UUID></UUID>" in found
        assert f"<size>{SR_MIB * MIB}</size>" in found
        if storage.kind == "lvmoiscsi":
            names = {"target": storage.config["target"]}
            listed = str(storage.call("SR.probe", host, names, storage.kind, {}))
            assert f"<targetIQN>{IQN}</targetIQN>" in listed
            self.nothing_stays(storage.workbench.machine)

    def nothing_stays(self, machine: Machine) -> None:
        """A session ends with what needed it, and its secret with it."""
        assert not machine.run("iscsiadm -m session 2>/dev/null || true")
        assert not machine.run(f"grep -rl {SECRET} /etc/iscsi /var/lib/iscsi 2>/dev/null || true")

    def test_sr_is_made_as_large_as_its_device(self, storage: Storage, table: Table) -> None:
        with table.step(storage.kind, "create SR"):
            storage.sr = str(
                storage.call(
                    "SR.create", storage.workbench.host, storage.config, "0",
                    storage.kind, "", storage.kind, "", False, {},
                )
            )  # fmt: skip

        size = int(storage.call("SR.get_physical_size", storage.sr))
        assert SR_MIB * MIB - OVERHEAD < size < SR_MIB * MIB
        storage.empty = storage.used()
        assert storage.volumes() == {"pool"}

    def test_device_with_an_sr_is_not_taken_again(self, storage: Storage) -> None:
        with pytest.raises(ApiError, match="SR_DEVICE_IN_USE"):
            storage.call(
                "SR.create", storage.workbench.host, storage.config, "0",
                "second", "", storage.kind, "", False, {},
            )  # fmt: skip

    def test_guest_writes_to_a_new_disk(self, storage: Storage, table: Table) -> None:
        with table.step(storage.kind, "create disk"):
            vdi = storage.workbench.vdi("first", DISK, storage.sr)
        storage.vdis["first"] = vdi

        guest = storage.start(f"{storage.kind} first", vdi)
        with table.step(storage.kind, f"guest writes {PATTERN_MIB} MiB"):
            storage.sums["old"] = make_pattern(guest)

        assert read_pattern(guest) == storage.sums["old"]
        assert storage.used() >= storage.empty + PATTERN_MIB * MIB

    def test_disk_is_snapshotted_while_its_guest_runs(self, storage: Storage, table: Table) -> None:
        used = storage.used()

        with table.step(storage.kind, "snapshot"):
            storage.vdis["snapshot"] = str(storage.call("VDI.snapshot", storage.vdis["first"], {}))

        assert storage.used() == used
        guest = storage.guests[f"{storage.kind} first"]
        storage.sums["new"] = make_pattern(guest)
        assert read_pattern(guest) == storage.sums["new"] != storage.sums["old"]

    def test_second_guest_reads_the_old_pattern(self, storage: Storage, table: Table) -> None:
        with table.step(storage.kind, "clone"):
            storage.vdis["clone"] = str(storage.call("VDI.clone", storage.vdis["snapshot"], {}))

        second = storage.start(f"{storage.kind} second", storage.vdis["clone"])

        assert read_pattern(second) == storage.sums["old"]
        assert read_pattern(storage.guests[f"{storage.kind} first"]) == storage.sums["new"]

    def test_clone_of_100_gib_takes_as_long(self, storage: Storage, table: Table) -> None:
        with table.step(storage.kind, "create disk of 100 GiB"):
            huge = storage.workbench.vdi("huge", 100 << 30, storage.sr)
        with table.step(storage.kind, "clone disk of 100 GiB"):
            twin = str(storage.call("VDI.clone", huge, {}))
        with table.step(storage.kind, "snapshot disk of 100 GiB"):
            third = str(storage.call("VDI.snapshot", huge, {}))

        for vdi in (huge, twin, third):
            assert int(storage.call("VDI.get_virtual_size", vdi)) == 100 << 30
            storage.call("VDI.destroy", vdi)

    def test_guest_sees_its_disk_grow(self, storage: Storage, table: Table) -> None:
        guest = storage.guests[f"{storage.kind} first"]
        read_one = "dd if=/dev/xvda of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null"

        with table.step(storage.kind, "resize online"):
            storage.call("VDI.resize_online", storage.vdis["first"], str(GROWN))
            sectors = f"{read_one}; cat /sys/block/xvda/size"
            wait_until("it grows", lambda: int(guest.inside(sectors)) * 512 == GROWN, 60)

        tail = (GROWN - DISK) // MIB
        skip = f"dd if=/dev/xvda bs=1M skip={DISK // MIB} count={tail} 2>/dev/null"
        assert guest.inside(f"{skip} | tr -d '\\000' | wc -c", 120) == "0"
        assert read_pattern(guest) == storage.sums["new"]

    def test_guests_volume_group_stays_the_guests_own(self, storage: Storage) -> None:
        machine = storage.workbench.machine
        device = loop_device(machine, "guests", 64)
        machine.run(
            f"vgcreate -q guestsgroup {device} && lvcreate -q -an -Zn -L 8M -n own guestsgroup "
            f"&& sync {device} && udevadm settle && losetup -d {device}"
        )
        # Or else dom0 finds the group there, rightly.
        machine.run(f"while losetup {device} 2>/dev/null; do sleep 0.2; done")
        # As though the guest had made it: nothing tells dom0 that this disk has changed.
        path = storage.path(storage.vdis["clone"])
        machine.run(f"dd if=/srv/guests.img of={path} bs=1M conv=fsync status=none")

        machine.run("udevadm trigger --settle --subsystem-match=block; pvscan -q; vgchange -q -ay")
        storage.call("SR.scan", storage.sr)

        assert "guestsgroup" not in machine.run("vgs --noheadings -o vg_name; dmsetup ls")
        machine.run("rm /srv/guests.img")

    def test_copy_shows_its_progress(self, storage: Storage, table: Table) -> None:
        snapshot = storage.vdis["snapshot"]
        with table.step(storage.kind, f"copy {DISK // MIB} MiB to a directory"):
            task = str(storage.call("Async.VDI.copy", snapshot, storage.workbench.sr))
            status, seen = storage.task_ends(task)
        assert status == "success"
        assert any(0 < fraction < 1 for fraction in seen)
        copy = result_of(storage, task)
        storage.vdis["copy"] = copy

        with table.step(storage.kind, f"copy {DISK // MIB} MiB from a directory"):
            back = str(storage.call("VDI.copy", copy, storage.sr))

        used = int(storage.call("VDI.get_physical_utilisation", back))
        assert PATTERN_MIB * MIB <= used < DISK / 2  # what was never written stays a hole
        third = storage.start(f"{storage.kind} third", back)
        assert read_pattern(third) == storage.sums["old"]
        storage.vdis["back"] = back

    def test_cancelled_copy_leaves_nothing(self, storage: Storage, table: Table) -> None:
        source = storage.workbench.vdi("long", 400 * MIB)
        path = storage.workbench.vdi_path(source)
        storage.workbench.machine.run(
            f"openssl rand -out {path} {400 * MIB} 2>/dev/null || "
            f"dd if=/dev/urandom of={path} bs=1M count=400 conv=notrunc status=none",
            timeout_s=300,
        )
        before, used = storage.volumes(), storage.used()
        task = str(storage.call("Async.VDI.copy", source, storage.sr))
        wait_until(
            "a good part is copied", lambda: storage.call("task.get_progress", task) > 0.3, 200
        )

        with table.step(storage.kind, "cancel a copy"):
            storage.call("task.cancel", task)
            status, _ = storage.task_ends(task)

        assert status == "cancelled"
        assert storage.volumes() == before
        assert storage.used() == used
        storage.call("VDI.destroy", source)

    def test_disks_survive_kill_of_the_daemon(self, storage: Storage, table: Table) -> None:
        workbench = storage.workbench
        known = {storage.call("VDI.get_location", vdi) for name, vdi in storage.vdis.items()
                 if name != "copy"}  # fmt: skip

        workbench.daemon.kill9("xapid")
        workbench.daemon.wait_dead()
        with table.step(storage.kind, "start after kill -9"):
            workbench.daemon.start()

        for guest in storage.guests.values():
            guest.wait_state("Running", 60)
        assert read_pattern(storage.guests[f"{storage.kind} second"]) == storage.sums["old"]
        assert storage.volumes() == known | {"pool"}

    def test_everything_goes_and_all_space_comes_back(self, storage: Storage, table: Table) -> None:
        with table.step(storage.kind, "stop guests, detach"):
            for guest in storage.guests.values():
                guest.call("hard_shutdown")
                for vbd in guest.call("get_VBDs"):
                    storage.call("VBD.destroy", vbd)
                guest.call("destroy")
        open_volumes = storage.workbench.machine.run("lvs --noheadings -S lv_active=active")
        assert "vdi-" not in open_volumes

        with table.step(storage.kind, "destroy a disk"):
            storage.call("VDI.destroy", storage.vdis.pop("first"))
        for vdi in storage.vdis.values():
            storage.call("VDI.destroy", vdi)

        assert storage.volumes() == {"pool"}
        assert storage.used() == storage.empty

    def test_sr_is_plugged_again_and_destroyed(self, storage: Storage, table: Table) -> None:
        machine = storage.workbench.machine
        (pbd,) = storage.call("SR.get_PBDs", storage.sr)
        with table.step(storage.kind, "unplug PBD"):
            storage.call("PBD.unplug", pbd)
        assert "xapid--" not in machine.run("dmsetup ls")
        with table.step(storage.kind, "plug PBD"):
            storage.call("PBD.plug", pbd)
        storage.call("PBD.unplug", pbd)

        with table.step(storage.kind, "destroy SR"):
            storage.call("SR.destroy", storage.sr)

        assert not machine.run("vgs --noheadings; pvs --noheadings").strip()
        if storage.kind == "lvmoiscsi":
            self.nothing_stays(machine)
            log = machine.run("journalctl -u xapid --no-pager -o cat")
            assert SECRET not in log

    def test_wrong_secret_is_refused_with_a_reason(self, storage: Storage) -> None:
        if storage.kind != "lvmoiscsi":
            pytest.skip("only iSCSI has secrets")
        storage.workbench.machine.write("/etc/xapid/chap/wrong", "some-other-secret-here\n")
        storage.workbench.machine.run("chmod 600 /etc/xapid/chap/wrong")
        config = storage.config | {"chapsecret": "wrong"}

        with pytest.raises(ApiError, match="refused the name or the secret"):
            storage.call("SR.probe", storage.workbench.host, config, storage.kind, {})

        self.nothing_stays(storage.workbench.machine)
