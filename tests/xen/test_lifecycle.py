"""Every arrow of a VM's life (figure 1.1, section 1.7) on real Xen, for each type of guest.

The tests of one type go from state to state in the order of the file, but each brings its
guest to where it begins, so that one failure does not fail the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testhost.api import ApiError, PlainApi
from testhost.machine import Machine
from testhost.table import Table
from testhost.workbench import DISK_SIZE, MIB, NULL, Guest, Workbench, wait_until

pytestmark = pytest.mark.xen


@pytest.fixture(scope="class", params=["pv", "pvh", "hvm"])
def guest(request: pytest.FixtureRequest, workbench: Workbench) -> Guest:
    """One VM with a disk and a VIF, halted at first."""
    return workbench.guest(request.param)


def counter_goes_on(guest: Guest, since: int) -> bool:
    """Whether the counter that the guest's processes keep is past what it was, and grows."""
    first = guest.console().counter()
    wait_until("the counter grows", lambda: guest.console().counter() > first, 20)
    return first >= since


class TestLifecycle:
    """Halted -> Paused -> Running -> Suspended -> Running -> Halted, and everything between."""

    def test_starts_paused_and_runs_when_unpaused(self, guest: Guest, table: Table) -> None:
        with table.step(guest.kind, "start, paused"):
            guest.call("start", True, False)
        assert guest.state == "Paused"
        domain = guest.domain()
        assert domain is not None
        assert domain[0] == guest.domid
        assert "p" in domain[1]
        assert {"unpause", "hard_shutdown"} <= set(guest.call("get_allowed_operations"))
        assert "start" not in guest.call("get_allowed_operations")

        with table.step(guest.kind, "unpause"):
            guest.call("unpause")

        assert guest.state == "Running"
        with table.step(guest.kind, "boot until the guest answers"):
            guest.wait_booted()
        assert guest.call("get_resident_on") == guest.workbench.host
        assert {"pause", "suspend", "clean_shutdown"} <= set(guest.call("get_allowed_operations"))

    def test_guest_sees_its_disk_and_its_network(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")

        assert guest.inside("md5sum </dev/xvda", 120).split()[0] == guest.disk_sum
        with table.step(guest.kind, "2 MiB over the VIF"):
            guest.check_traffic()

    def test_console_record_leads_to_the_guest(self, guest: Guest) -> None:
        guest.ensure("Running")
        call = guest.workbench.api.call

        found = {
            call("console.get_protocol", ref): call("console.get_location", ref)
            for ref in guest.call("get_consoles")
        }

        tty = found["vt100"].removeprefix("file://")
        assert tty.startswith("/dev/pts/")
        assert ("rfb" in found) == (guest.kind == "hvm")
        console = type(guest.console())(guest.workbench.machine, tty)
        assert console.command("echo here $((6 * 7))") == "here 42"

    def test_pause_stops_the_guest_and_unpause_lets_it_go_on(
        self, guest: Guest, table: Table
    ) -> None:
        guest.ensure("Running")
        boot, domid = guest.console().boot_id(), guest.domid

        with table.step(guest.kind, "pause"):
            guest.call("pause")

        domain = guest.domain()
        assert domain is not None
        assert guest.state == "Paused"
        assert "p" in domain[1]
        spent = cpu_seconds(guest)
        guest.workbench.machine.run("sleep 2")
        assert cpu_seconds(guest) == spent
        with table.step(guest.kind, "unpause"):
            guest.call("unpause")
        assert guest.state == "Running"
        assert guest.domid == domid
        assert guest.console().boot_id() == boot

    def test_disk_is_plugged_written_and_unplugged(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")
        bench = guest.workbench
        vdi = bench.vdi(f"{guest.kind} hot")
        before = bench.fill(vdi)
        vbd = bench.vbd(guest.vm, vdi, "1")

        with table.step(guest.kind, "plug a disk"):
            bench.api.call("VBD.plug", vbd)

        assert bench.api.call("VBD.get_currently_attached", vbd) is True
        assert bench.api.call("VBD.get_device", vbd) == "xvdb"
        wait_until(
            "the guest has its disk", lambda: guest.inside("ls /dev/xvdb 2>/dev/null; true"), 20
        )
        assert guest.inside("blockdev --getsize64 /dev/xvdb") == str(DISK_SIZE)
        assert guest.inside("md5sum </dev/xvdb").split()[0] == before
        guest.inside(
            "dd if=/dev/urandom of=/dev/xvdb bs=64k seek=3 count=20 conv=notrunc,fsync 2>/dev/null"
        )
        written = guest.inside("md5sum </dev/xvdb").split()[0]
        assert written != before
        with table.step(guest.kind, "unplug a disk"):
            bench.api.call("VBD.unplug", vbd)
        assert bench.api.call("VBD.get_currently_attached", vbd) is False
        assert guest.inside("ls /dev/xvdb 2>/dev/null; true") == ""
        assert bench.sum(vdi) == written
        bench.api.call("VBD.destroy", vbd)
        bench.api.call("VDI.destroy", vdi)

    # A guest that refuses cannot be had here: since 5.16 Linux gives up a disk that is in use.
    def test_disk_in_use_is_unplugged_by_force(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")
        bench = guest.workbench
        vdi = bench.vdi(f"{guest.kind} forced")
        vbd = bench.vbd(guest.vm, vdi, "2")
        bench.api.call("VBD.plug", vbd)
        wait_until("the guest has it", lambda: guest.inside("ls /dev/xvdc 2>/dev/null; true"), 20)
        guest.inside("sleep 600 </dev/xvdc >/dev/null 2>&1 & true")

        with table.step(guest.kind, "unplug a disk by force"):
            bench.api.call("VBD.unplug_force", vbd)

        assert bench.api.call("VBD.get_currently_attached", vbd) is False
        path = bench.vdi_path(vdi)
        wait_until("dom0 has let go", lambda: path not in bench.machine.run("losetup -a"), 20)
        guest.inside("killall sleep; true")
        bench.api.call("VBD.destroy", vbd)

    def test_network_interface_is_plugged_and_unplugged(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")
        bench = guest.workbench
        vif = bench.vif(guest.vm, "1")

        with table.step(guest.kind, "plug a VIF"):
            bench.api.call("VIF.plug", vif)

        mac = bench.api.call("VIF.get_MAC", vif)
        wait_until(
            "the guest has its interface",
            lambda: mac in guest.inside("cat /sys/class/net/*/address"),
            20,
        )
        with table.step(guest.kind, "unplug a VIF"):
            bench.api.call("VIF.unplug", vif)
        wait_until(
            "the interface is gone",
            lambda: mac not in guest.inside("cat /sys/class/net/*/address"),
            20,
        )
        bench.api.call("VIF.destroy", vif)

    def test_suspended_guest_goes_on_where_it_was(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")
        boot, count = guest.console().boot_id(), guest.console().counter()
        free = guest.workbench.free_memory_mib()

        with table.step(guest.kind, "suspend"):
            guest.call("suspend")

        image = guest.call("get_suspend_VDI")
        assert guest.state == "Suspended"
        assert image != NULL
        assert guest.workbench.api.call("VDI.get_type", image) == "suspend"
        assert guest.domain() is None
        assert guest.workbench.free_memory_mib() >= free + 180
        with table.step(guest.kind, "resume"):
            guest.call("resume", False, False)
        assert guest.state == "Running"
        assert guest.call("get_suspend_VDI") == NULL
        assert guest.console().boot_id() == boot
        assert counter_goes_on(guest, count)
        assert guest.inside("md5sum </dev/xvda", 120).split()[0] == guest.disk_sum
        guest.check_traffic()
        assert image not in guest.workbench.api.call("VDI.get_all")

    def test_resume_on_this_host_can_leave_the_guest_paused(
        self, guest: Guest, table: Table
    ) -> None:
        guest.ensure("Running")
        count = guest.console().counter()
        guest.call("suspend")

        with table.step(guest.kind, "resume_on, paused"):
            guest.call("resume_on", guest.workbench.host, True, False)

        assert guest.state == "Paused"
        guest.call("unpause")
        assert counter_goes_on(guest, count)

    def test_clean_reboot_boots_the_guest_anew(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")
        boot, domid = guest.console().boot_id(), guest.domid

        with table.step(guest.kind, "clean_reboot"):
            guest.call("clean_reboot")

        assert guest.state == "Running"
        assert guest.domid != domid
        assert guest.wait_booted() != boot

    def test_clean_shutdown_ends_in_halted(self, guest: Guest, table: Table) -> None:
        guest.ensure("Running")
        name = guest.domain_name

        with table.step(guest.kind, "clean_shutdown"):
            guest.call("clean_shutdown")

        assert guest.state == "Halted"
        assert guest.domid == -1
        assert name not in guest.workbench.domains()
        assert not any(
            guest.workbench.api.call("VBD.get_currently_attached", ref)
            for ref in guest.call("get_VBDs")
        )
        assert no_backends_left(guest)

    def test_hard_reboot_makes_a_new_domain_and_hard_shutdown_ends_it(
        self, guest: Guest, table: Table
    ) -> None:
        guest.ensure("Halted")
        with table.step(guest.kind, "start"):
            guest.call("start", False, False)
        assert guest.state == "Running"
        domid = guest.domid

        with table.step(guest.kind, "hard_reboot"):
            guest.call("hard_reboot")

        assert guest.state == "Running"
        assert guest.domid > domid
        with table.step(guest.kind, "hard_shutdown"):
            guest.call("hard_shutdown")
        assert guest.state == "Halted"
        assert guest.domain() is None
        assert no_backends_left(guest)

    def test_start_on_this_host_and_hard_shutdown_of_a_paused_guest(
        self, guest: Guest, table: Table
    ) -> None:
        guest.ensure("Halted")

        with table.step(guest.kind, "start_on, paused"):
            guest.call("start_on", guest.workbench.host, True, False)

        assert guest.state == "Paused"
        guest.call("hard_shutdown")
        assert guest.state == "Halted"
        assert guest.domain() is None

    def test_what_is_not_allowed_is_refused(self, guest: Guest) -> None:
        guest.ensure("Halted")

        for method, arguments in WHILE_HALTED.items():
            with pytest.raises(ApiError) as refused:
                guest.call(method, *arguments)
            assert refused.value.code == "VM_BAD_POWER_STATE", method
            assert refused.value.details[1] == guest.vm, method
            assert refused.value.details[3].lower() == "halted", method


WHILE_HALTED: dict[str, tuple[bool, ...]] = {
    "pause": (),
    "unpause": (),
    "suspend": (),
    "resume": (False, False),
    "clean_shutdown": (),
    "clean_reboot": (),
    "hard_reboot": (),
}


def cpu_seconds(guest: Guest) -> float:
    """Processor time that the guest's domain has used."""
    return float(guest.workbench.machine.run(f"xl list {guest.domain_name} | tail -n 1").split()[5])


def no_backends_left(guest: Guest) -> bool:
    """Whether no disk of the guest is still open in dom0."""
    path = guest.workbench.vdi_path(guest.disk)
    return path not in guest.workbench.machine.run(
        "losetup -a; cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"
    )


@pytest.fixture(scope="class", params=["pv", "pvh"])
def direct_guest(request: pytest.FixtureRequest, workbench: Workbench) -> Guest:
    """A guest that boots in seconds, for what its own end leads to."""
    return workbench.guest(request.param, f"{request.param} that ends by itself")


class TestGuestEndsByItself:
    """actions_after_shutdown, actions_after_reboot and actions_after_crash."""

    def test_power_off_inside_halts_the_vm(self, direct_guest: Guest, table: Table) -> None:
        direct_guest.ensure("Running")

        with table.step(direct_guest.kind, "guest powers off: Halted"):
            direct_guest.inside("(sleep 0.5; poweroff) >/dev/null 2>&1 & true")
            direct_guest.wait_state("Halted", 30)

        assert direct_guest.domain() is None

    def test_reboot_inside_gives_a_new_domain(self, direct_guest: Guest, table: Table) -> None:
        direct_guest.ensure("Running")
        boot, domid = direct_guest.console().boot_id(), direct_guest.domid

        with table.step(direct_guest.kind, "guest reboots: new domain"):
            direct_guest.inside("(sleep 0.5; reboot) >/dev/null 2>&1 & true")
            wait_until(
                "a new domain",
                lambda: direct_guest.domid > domid and direct_guest.state == "Running",
                60,
            )

        assert direct_guest.wait_booted() != boot

    @pytest.mark.parametrize(("action", "state"), [("destroy", "Halted"), ("restart", "Running")])
    def test_crash_is_followed_by_the_action_chosen(
        self, direct_guest: Guest, action: str, state: str, table: Table
    ) -> None:
        direct_guest.ensure("Running")
        domid = direct_guest.domid
        direct_guest.call("set_actions_after_crash", action)

        with table.step(direct_guest.kind, f"guest crashes: {action}"):
            direct_guest.inside("(sleep 0.5; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 & true")
            wait_until(
                f"{state} after the crash",
                lambda: direct_guest.domid != domid and direct_guest.state == state,
                60,
            )

        if state == "Running":
            direct_guest.wait_booted()
        else:
            assert direct_guest.domain() is None


def test_pygrub_boots_the_kernel_on_the_guests_own_disk(workbench: Workbench, table: Table) -> None:
    guest = workbench.guest("pygrub")

    with table.step("pygrub", "start"):
        guest.call("start", False, False)

    with table.step("pygrub", "boot until the guest answers"):
        guest.wait_booted()
    assert guest.inside("md5sum </dev/xvda", 120).split()[0] == guest.disk_sum
    with table.step("pygrub", "clean_shutdown"):
        guest.call("clean_shutdown")
    assert guest.state == "Halted"


def test_a_disk_without_a_kernel_fails_with_pygrubs_own_words(workbench: Workbench) -> None:
    guest = workbench.guest("pv", "nothing to boot", PV_kernel="", PV_bootloader="pygrub")
    loops = workbench.machine.run("losetup --list --noheadings")

    with pytest.raises(ApiError) as failed:
        guest.call("start", False, False)

    assert failed.value.code == "BOOTLOADER_FAILED"
    assert "Unable to find partition containing kernel" in failed.value.details[-1]
    assert guest.state == "Halted"
    assert guest.domain() is None
    assert workbench.machine.run("losetup --list --noheadings") == loops


def test_clone_of_a_halted_vm_has_its_own_disk(workbench: Workbench, table: Table) -> None:
    original = workbench.guest("pv", "original")
    call = workbench.api.call

    with table.step("pv", "clone"):
        clone = original.call("clone", "a clone")

    (vbd,) = call("VM.get_VBDs", clone)
    copied = call("VBD.get_VDI", vbd)
    assert copied != original.disk
    assert workbench.sum(copied) == original.disk_sum
    second = Guest(
        workbench, "pv", clone, original.address, original.boot_timeout_s, copied, original.disk_sum
    )
    second.call("start", False, False)
    second.wait_booted()
    second.inside("dd if=/dev/zero of=/dev/xvda bs=1M count=1 conv=notrunc,fsync 2>/dev/null")
    second.call("hard_shutdown")
    assert workbench.sum(original.disk) == original.disk_sum


def test_running_guest_is_changed_live(workbench: Workbench, table: Table) -> None:
    # Linux from 6.9 on cannot bring up a CPU that a PVH guest was not booted with.
    small = str(160 * MIB)
    limits = {"memory_static_min": small, "memory_dynamic_min": small}
    guest = workbench.guest("pv", "changed live", VCPUs_max="2", **limits)
    guest.ensure("Running")
    assert guest.inside("nproc") == "1"

    with table.step("pv", "set_VCPUs_number_live"):
        guest.call("set_VCPUs_number_live", "2")
        processors = "/sys/devices/system/cpu/cpu[0-9]*/online"
        online = f"for c in {processors}; do echo 1 >$c; done 2>/dev/null; nproc"
        wait_until("two processors in the guest", lambda: guest.inside(online) == "2", 30)
    with table.step("pv", "set_memory_target_live"):
        guest.call("set_memory_target_live", str(170 * MIB))
        name = guest.domain_name
        size = lambda: int(workbench.machine.run(f"xl list {name} | tail -n 1").split()[2])  # noqa: E731
        wait_until("the guest gives memory back", lambda: size() <= 171, 30)
    guest.call("send_sysrq", "h")
    wait_until(
        "the kernel's answer to the key",
        lambda: "sysrq" in guest.inside("dmesg | tail -n 3").lower(),
        20,
    )

    guest.ensure("Halted")


def test_whole_life_with_nothing_but_xmlrpc_client(
    xenhost: Machine, workbench: Workbench, api: PlainApi
) -> None:
    guest = workbench.guest("pvh", "plain client")
    life: list[tuple[Callable[[], object], str]] = [
        (lambda: api.call("VM.start", guest.vm, False, False), "Running"),
        (lambda: api.call("VM.pause", guest.vm), "Paused"),
        (lambda: api.call("VM.unpause", guest.vm), "Running"),
        (guest.wait_booted, "Running"),
        (lambda: api.call("VM.suspend", guest.vm), "Suspended"),
        (lambda: api.call("VM.resume", guest.vm, False, False), "Running"),
        (lambda: api.call("VM.clean_shutdown", guest.vm), "Halted"),
    ]

    for step, state in life:
        step()
        assert api.call("VM.get_power_state", guest.vm) == state

    assert api.call("VM.get_record", guest.vm)["domid"] == "-1"
