"""What the API knows of a guest from Xen, from xenstore and from its end, and how soon."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from testhost.daemon import Daemon
from testhost.guest_xenstore import GuestXenstore
from testhost.listener import Heard, Listener
from testhost.machine import HostError, Machine
from testhost.table import Table
from testhost.workbench import MIB, NULL, Guest, Workbench, memory, wait_until

pytestmark = pytest.mark.xen

# What xe-guest-utilities write.
AGENT = {
    "attr/PVAddons/MajorVersion": "7",
    "attr/PVAddons/MinorVersion": "30",
    "attr/PVAddons/MicroVersion": "0",
    "attr/PVAddons/BuildVersion": "12",
    "attr/PVAddons/Installed": "1",
    "data/os_name": "Test Linux 1.0",
    "data/os_distro": "test",
    "data/os_majorver": "1",
    "data/os_minorver": "0",
    "data/os_uname": "6.1.0",
    "data/meminfo_total": "96000",
    "data/meminfo_free": "64000",
    "attr/vif/0/ipv4/0": "10.9.0.77",
    "attr/vif/0/ipv6/0": "fe80::1",
    "control/feature-balloon": "1",
    "control/feature-suspend": "1",
    "data/volumes/0/mount_point": "/",
    "data/updated": "1",
}
DUMP_MARK = "what-the-guest-had-in-mind"


@pytest.fixture(scope="module")
def guest(workbench: Workbench) -> Iterator[Guest]:
    """A running PV guest with a share of the CPUs and data of its own in xenstore."""
    guest = workbench.guest(
        "pv",
        "tells of itself",
        **memory(96 * MIB),
        VCPUs_params={"weight": "512"},
        xenstore_data={"vm-data/role": "web", "vm-data/site/name": "here"},
    )
    guest.ensure("Running")
    yield guest
    guest.ensure("Halted")


@pytest.fixture
def heard(xenhost: Machine, daemon: Daemon) -> Iterator[Listener]:
    """Hears everything."""
    with Listener(xenhost.https_port, daemon.root_password(), "*") as listener:
        yield listener


class TestEvents:
    """event.register and event.next, for what really happens to domains."""

    def test_start_is_told_with_all_that_comes_with_it(
        self, workbench: Workbench, heard: Listener, table: Table
    ) -> None:
        sleeper = workbench.sleeper("heard of")

        began = time.monotonic()
        sleeper.call("start", False, False)
        done = time.monotonic()

        running = self.state(heard, sleeper, "Running")
        table.seconds.setdefault("event of a start, after its answer", {})["pvh"] = max(
            0.0, running.at - done
        )
        assert began < running.at
        record = sleeper.call("get_record")
        assert running.event["operation"] == "mod"
        assert running.event["obj_uuid"] == record["uuid"]
        assert running.snapshot.keys() == record.keys()
        heard.wait("its console", lambda e: self.added(e, "console", sleeper), 10)
        linked = heard.wait(
            "its metrics",
            lambda e: e["ref"] == sleeper.vm and e["snapshot"].get("metrics", NULL) != NULL,
            15,
        )
        metrics = linked.snapshot["metrics"]
        heard.wait("the metrics", lambda e: (e["ref"], e["operation"]) == (metrics, "add"), 5)
        heard.wait(
            "the host's end of resident_on",
            lambda e: e["class"] == "host" and sleeper.vm in e["snapshot"]["resident_VMs"],
            5,
        )
        numbers = [int(each.event["id"]) for each in heard.heard]
        assert numbers == sorted(set(numbers))
        sleeper.call("hard_shutdown")
        self.state(heard, sleeper, "Halted")

    @staticmethod
    def state(heard: Listener, guest: Guest, state: str, after: int = 0) -> Heard:
        """The event that told that the guest was in a state."""
        return heard.wait(
            f"an event of {state}",
            lambda e: e["ref"] == guest.vm and e["snapshot"].get("power_state") == state,
            20,
            after,
        )

    @staticmethod
    def added(event: dict[str, object], cls: str, guest: Guest) -> bool:
        snapshot = event["snapshot"]
        assert isinstance(snapshot, dict)
        return (event["class"], event["operation"], snapshot.get("VM")) == (cls, "add", guest.vm)

    def test_what_xl_does_is_told_within_seconds(
        self, workbench: Workbench, xenhost: Machine, heard: Listener, table: Table
    ) -> None:
        sleeper = workbench.sleeper("changed by xl")
        sleeper.call("start", False, False)
        steps = (("pause", "Paused"), ("unpause", "Running"), ("destroy", "Halted"))
        self.state(heard, sleeper, "Running")

        for command, state in steps:
            after = len(heard.heard)
            xenhost.run(f"xl {command} {sleeper.domain_name}")
            with table.step("pvh", f"event of xl {command}"):
                assert self.state(heard, sleeper, state, after).event["operation"] == "mod"

    def test_event_is_there_when_the_call_is_answered(
        self, workbench: Workbench, heard: Listener, table: Table
    ) -> None:
        sleeper = workbench.sleeper("named again")
        late: list[float] = []

        for number in range(5):
            name = f"name {number}"
            sleeper.call("set_name_label", name)
            answered = time.monotonic()
            told = heard.wait(
                name, lambda e, name=name: e["snapshot"].get("name_label") == name, 10
            )
            late.append(told.at - answered)

        table.seconds.setdefault("event after the answer, median", {})["host"] = sorted(late)[2]
        assert sorted(late)[2] < 1.0
        sleeper.call("destroy")
        gone = heard.wait(
            "its end", lambda e: e["ref"] == sleeper.vm and e["operation"] == "del", 10
        )
        assert gone.event["class"].lower() == "vm"


class TestGuestMetrics:
    """What an agent in the guest writes to xenstore, over the guest's own device."""

    def test_what_the_agent_writes_is_in_vm_guest_metrics(
        self, guest: Guest, heard: Listener, table: Table
    ) -> None:
        call = guest.workbench.api.call
        GuestXenstore(guest.console()).write(AGENT)

        with table.step("pv", "agent's keys in VM_guest_metrics"):
            heard.wait(
                "the last key",
                lambda e: (
                    e["class"] == "VM_guest_metrics"
                    and e["snapshot"]["other"].get("data-updated") == "1"
                ),
                15,
            )
        told = call("VM_guest_metrics.get_record", guest.call("get_guest_metrics"))
        assert told["os_version"] == {
            "name": "Test Linux 1.0",
            "distro": "test",
            "major": "1",
            "minor": "0",
            "uname": "6.1.0",
        }
        drivers = {"major": "7", "minor": "30", "micro": "0", "build": "12"}
        assert told["PV_drivers_version"] == drivers
        assert told["PV_drivers_up_to_date"] is True
        assert told["memory"] == {"total": "96000", "free": "64000", "used": "32000"}
        assert told["networks"]["0/ip"] == told["networks"]["0/ipv4/0"] == "10.9.0.77"
        assert told["networks"]["0/ipv6/0"] == "fe80::1"
        assert told["disks"] == {"0/mount_point": "/"}
        assert told["other"]["feature-balloon"] == told["other"]["feature-suspend"] == "1"

    def test_change_is_told_and_what_is_odd_is_made_harmless(
        self, guest: Guest, heard: Listener, table: Table
    ) -> None:
        inside = GuestXenstore(guest.console())

        inside.write(
            {
                "data/os_name": b"\x01<b>\xff\xed\xa0\x80 end",
                "data/long": "x" * 2000,
                "data/a/b/c/d/e/f/g/h/i/j": "too deep",
                "data/meminfo_free": "a lot",
            }
        )

        with table.step("pv", "agent's change in VM_guest_metrics"):
            told = heard.wait(
                "the change",
                lambda e: (
                    e["class"] == "VM_guest_metrics"
                    and e["snapshot"]["memory"].get("free") == "a lot"
                ),
                15,
            )
        assert told.event["operation"] == "mod"
        assert "used" not in told.snapshot["memory"]
        name = told.snapshot["os_version"]["name"]
        assert "\x01" not in name
        assert "<b>" in name
        assert name.endswith(" end")
        texts = {**told.snapshot["other"], **told.snapshot["memory"]}
        assert max(len(value) for value in texts.values()) <= 1024
        assert "too deep" not in texts.values()

    def test_guest_reads_its_vm_data_and_writes_only_where_it_may(
        self, guest: Guest, workbench: Workbench
    ) -> None:
        inside = GuestXenstore(guest.console())

        assert inside.read("vm-data/role") == b"web"
        assert inside.read("vm-data/site/name") == b"here"
        assert workbench.machine.run(
            f"xenstore-read /local/domain/{guest.domid}/vm-data/role"
        ).split() == ["web"]
        with pytest.raises(HostError, match="EACCES"):
            inside.write({"memory/target": "999999"})
        with pytest.raises(HostError, match="EACCES"):
            inside.read("/local/domain/0/name")


class TestScheduling:
    """VCPUs_params, as the scheduler has them."""

    def test_weight_holds_from_the_start(self, guest: Guest) -> None:
        assert self.seen(guest) == ("512", "0")

    def test_weight_and_cap_change_live(self, guest: Guest, table: Table) -> None:
        with table.step("pv", "add_to_VCPUs_params_live"):
            guest.call("add_to_VCPUs_params_live", "weight", "300")
        guest.call("add_to_VCPUs_params_live", "cap", "80")

        assert self.seen(guest) == ("300", "80")
        params = guest.call("get_VCPUs_params")
        assert (params["weight"], params["cap"]) == ("300", "80")

    @staticmethod
    def seen(guest: Guest) -> tuple[str, str]:
        """Weight and cap as xl shows them."""
        shown = guest.workbench.machine.run(f"xl sched-credit2 -d {guest.domid} | tail -n 1")
        weight, cap = shown.split()[-2:]
        return weight, cap


def test_devices_of_a_guest_are_measured(guest: Guest, heard: Listener, table: Table) -> None:
    call = guest.workbench.api.call
    (vbd,), (vif,) = guest.call("get_VBDs"), guest.call("get_VIFs")
    after = len(heard.heard)

    guest.check_traffic()
    guest.inside("dd if=/dev/xvda of=/dev/null bs=64k count=160 iflag=direct 2>/dev/null; true")

    with table.step("pv", "rates in VBD_metrics and VIF_metrics"):
        for owner, field, least_kbs in (
            (call("VBD.get_metrics", vbd), "io_read_kbs", 100),
            (call("VIF.get_metrics", vif), "io_read_kbs", 30),
        ):
            heard.wait(
                "a rate",
                lambda e, owner=owner, field=field, least=least_kbs: (
                    e["ref"] == owner and float(e["snapshot"][field]) > least
                ),
                15,
                after,
            )


class TestCrashes:
    """A guest that crashes itself."""

    def test_dump_is_kept_and_the_guest_starts_again(
        self, guest: Guest, workbench: Workbench, table: Table
    ) -> None:
        guest.call("set_actions_after_crash", "coredump_and_restart")
        domid = guest.domid
        tty = guest.console().tty_path
        self.crash(guest)

        with table.step("pv", "crash: dump of 96 MiB and restart"):
            wait_until(
                "a new domain",
                lambda: guest.domid > domid and guest.state == "Running",
                90,
            )

        self.check_dump(guest, workbench)
        assert tty != ""
        (console,) = wait_until("the new console", lambda: guest.call("get_consoles"), 3)
        location = workbench.api.call("console.get_location", console)
        assert location == f"file://{guest.console().tty_path}"
        wait_until("nothing of the old domain is told", lambda: self.os_version(guest) == {}, 5)

    @staticmethod
    def os_version(guest: Guest) -> dict[str, str]:
        """What the guest's agent said; a kernel writes its features without one."""
        told = guest.call("get_guest_metrics")
        every = guest.workbench.api.call("VM_guest_metrics.get_all_records")
        return every[told]["os_version"] if told in every else {}

    def test_dump_is_kept_and_the_guest_stays_down(
        self, guest: Guest, workbench: Workbench, table: Table
    ) -> None:
        guest.ensure("Running")
        guest.call("set_actions_after_crash", "coredump_and_destroy")
        self.crash(guest)

        with table.step("pv", "crash: dump of 96 MiB and end"):
            guest.wait_state("Halted", 90)

        assert guest.domain() is None
        self.check_dump(guest, workbench)

    @staticmethod
    def crash(guest: Guest) -> None:
        # The mark is spelled so that the command itself, also in the guest's memory, is not it.
        half = len(DUMP_MARK) // 2
        spelled = f"{DUMP_MARK[:half]}''{DUMP_MARK[half:]}"
        guest.inside(
            f"echo {spelled} >/run/mark; (sleep 0.3; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &"
        )

    @staticmethod
    def check_dump(guest: Guest, workbench: Workbench) -> None:
        """The record, its image, and that the image is the memory of this guest; then remove it."""
        call, run = workbench.api.call, workbench.machine.run
        (dump,) = guest.call("get_crash_dumps")
        assert call("crashdump.get_VM", dump) == guest.vm
        vdi = call("crashdump.get_VDI", dump)
        assert call("VDI.get_type", vdi) == "crashdump"
        path = workbench.vdi_path(vdi)
        header = bytes.fromhex(run(f"head -c 20 {path} | od -An -v -tx1"))
        core, x86_64 = 4, 62
        assert header[:5] == b"\x7fELF\x02"
        assert (header[16], header[18]) == (core, x86_64)
        assert int(run(f"grep -c -a -e {DUMP_MARK} {path}")) >= 1
        assert int(run(f"grep -c -a -F .xen_pages {path}")) >= 1

        call("crashdump.destroy", dump)

        assert guest.call("get_crash_dumps") == []
        assert vdi not in call("VDI.get_all")
        assert run(f"ls {path} 2>/dev/null; true") == ""


def test_console_is_there_right_after_a_reboot(workbench: Workbench, table: Table) -> None:
    sleeper = workbench.sleeper("rebooted")
    sleeper.call("start", False, False)
    (before,) = wait_until("a console", lambda: sleeper.call("get_consoles"), 5)

    sleeper.call("hard_reboot")

    with table.step("pvh", "console after hard_reboot"):
        (console,) = wait_until("a console", lambda: sleeper.call("get_consoles"), 5)
    assert console != before
    location = workbench.api.call("console.get_location", console)
    assert location == f"file://{sleeper.console().tty_path}"
    assert workbench.api.call("console.get_protocol", console) == "vt100"
    sleeper.call("hard_shutdown")
    assert sleeper.call("get_consoles") == []
