"""When something goes wrong on real Xen: killed processes, and xl behind xapid's back."""

from __future__ import annotations

import pytest
from testhost.api import ApiError
from testhost.daemon import Daemon
from testhost.machine import Machine
from testhost.table import Table
from testhost.workbench import Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

SEEN_WITHIN_S = 20  # the emulated machine stands still for seconds now and then; the table tells
# A shell in dom0 waits for what exists only in the middle of an operation, then kills.
MIDDLE_OF_SUSPEND = "until pgrep -x libxl-save-help >/dev/null; do :; done"


def middle_of_start(guest: Guest) -> str:
    name = guest.domain_name
    return f"until xenstore-ls -f /local/domain 2>/dev/null | grep -q '{name}'; do :; done"


@pytest.fixture(scope="module")
def bystander(workbench: Workbench) -> Guest:
    """A guest that runs through all of this and must not notice."""
    guest = workbench.guest("pvh", "bystander")
    guest.ensure("Running")
    return guest


@pytest.fixture(scope="module")
def victim(workbench: Workbench) -> Guest:
    """The guest that operations are interrupted on."""
    return workbench.guest("pv", "victim")


@pytest.fixture(autouse=True)
def unharmed(bystander: Guest) -> None:
    """The bystander is the same boot in the same domain after each test as before."""
    before = bystander.domid, bystander.console().boot_id(), bystander.console().counter()
    yield
    domid, boot, count = before
    assert bystander.state == "Running"
    assert bystander.domid == domid
    assert bystander.console().boot_id() == boot
    assert bystander.console().counter() >= count


def check_settled(guest: Guest) -> None:
    """Record and Xen agree, and no operation is left on the record."""
    wait_until("the record and Xen agree", lambda: agree(guest), 120)
    # Whoever took a half-made domain away may still be at it.
    wait_until("no operation is left", lambda: guest.call("get_current_operations") == {}, 120)


def agree(guest: Guest) -> bool:
    """Whether the record and Xen say the same; what a dead worker left takes a moment to go."""
    domain = guest.domain()
    if guest.state in ("Running", "Paused"):
        return domain is not None and domain[0] == guest.domid
    return domain is None and guest.domid == -1


@pytest.mark.parametrize(
    ("operation", "arguments", "begin", "possible"),
    [
        ("start", (False, False), "Halted", {"Halted", "Running", "Paused"}),
        ("suspend", (), "Running", {"Running", "Suspended", "Halted"}),
    ],
)
@pytest.mark.parametrize("process", ["xapid", "xapid-xen"])
def test_killed_process_in_the_middle_of_an_operation(
    workbench: Workbench,
    daemon: Daemon,
    victim: Guest,
    table: Table,
    process: str,
    operation: str,
    arguments: tuple[bool, ...],
    begin: str,
    possible: set[str],
) -> None:
    victim.ensure(begin)
    moment = middle_of_start(victim) if operation == "start" else MIDDLE_OF_SUSPEND
    task = workbench.api.call(f"Async.VM.{operation}", victim.vm, *arguments)

    daemon.kill9(process, moment)

    with table.step("host", f"kill -9 {process} in {operation}: settled"):
        if process == "xapid":
            daemon.wait_dead()
            daemon.start()
            workbench.log_in_again()
        tasks = workbench.api.call("task.get_all_records")
        if process == "xapid-xen":
            wait_until(
                "the task ends",
                lambda: workbench.api.call("task.get_status", task) != "pending",
                60,
            )
            tasks = workbench.api.call("task.get_all_records")
        check_settled(victim)
    assert victim.state in possible
    if task in tasks:
        assert tasks[task]["status"] in ("failure", "cancelled")
        assert tasks[task]["error_info"]
    victim.ensure("Running")
    victim.ensure("Halted")


def test_restart_of_xapid_leaves_guests_alone(
    workbench: Workbench, daemon: Daemon, bystander: Guest, table: Table
) -> None:
    with table.step("host", "restart of xapid"):
        daemon.restart()
    workbench.log_in_again()

    check_settled(bystander)
    bystander.check_traffic()


def test_destroy_behind_our_back_is_seen(workbench: Workbench, victim: Guest, table: Table) -> None:
    victim.ensure("Running")

    workbench.machine.run(f"xl destroy {victim.domid}")

    with table.step("host", "xl destroy: seen"):
        victim.wait_state("Halted", SEEN_WITHIN_S)
    assert victim.domid == -1
    victim.ensure("Running")
    victim.ensure("Halted")


def test_pause_behind_our_back_is_seen(workbench: Workbench, victim: Guest, table: Table) -> None:
    victim.ensure("Running")

    workbench.machine.run(f"xl pause {victim.domid}")

    with table.step("host", "xl pause: seen"):
        victim.wait_state("Paused", SEEN_WITHIN_S)
    workbench.machine.run(f"xl unpause {victim.domid}")
    with table.step("host", "xl unpause: seen"):
        victim.wait_state("Running", SEEN_WITHIN_S)
    victim.ensure("Halted")


FOREIGN = """name = "foreign guest"
type = "pvh"
memory = 192
kernel = "/srv/guest/vmlinux"
ramdisk = "/srv/guest/initrd"
extra = "console=hvc0 quiet loglevel=3"
"""


def test_domain_of_another_toolstack_is_shown_and_never_harmed(
    xenhost: Machine, workbench: Workbench, daemon: Daemon, table: Table
) -> None:
    call = workbench.api.call
    xenhost.write("/root/foreign.cfg", FOREIGN)
    xenhost.run("xl create /root/foreign.cfg")
    domid = int(xenhost.run("xl domid 'foreign guest'"))

    def records() -> list[tuple[str, dict[str, object]]]:
        every = workbench.api.call("VM.get_all_records")
        return [(ref, record) for ref, record in every.items() if int(record["domid"]) == domid]

    with table.step("host", "foreign xl create: seen"):
        ((ref, record),) = wait_until("the foreign domain has a record", records, SEEN_WITHIN_S)
    assert record["is_foreign_domain"] is True
    assert record["power_state"] == "Running"
    for operation in ("hard_shutdown", "clean_shutdown", "pause", "suspend", "hard_reboot"):
        with pytest.raises(ApiError) as refused:
            call(f"VM.{operation}", ref)
        assert refused.value.code == "OPERATION_NOT_ALLOWED"
    daemon.kill9("xapid")
    daemon.wait_dead()
    daemon.start()
    workbench.log_in_again()
    assert int(xenhost.run("xl domid 'foreign guest'")) == domid
    wait_until("the foreign domain has a record again", records, SEEN_WITHIN_S)

    xenhost.run("xl destroy 'foreign guest'")

    wait_until("the record is gone", lambda: not records(), SEEN_WITHIN_S)
