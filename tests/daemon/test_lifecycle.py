"""Every arrow of a VM's life, through the API, on the mock."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import MIB, Client, Daemon, Failure, disk, drive, eventually, storage, vm_values


@pytest.fixture
def vm(daemon: Daemon, client: Client) -> str:
    """A halted VM with a disk, whose kernel is pygrub's business."""
    ref: str = client("VM.create", vm_values())
    drive(client, ref, disk(client, storage(client, daemon)))
    return ref


def state(client: Client, vm: str) -> str:
    found: str = client("VM.get_power_state", vm)
    return found


def domid(client: Client, vm: str) -> str:
    found: str = client("VM.get_domid", vm)
    return found


def test_start_runs_the_guest_and_hard_shutdown_ends_it(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)

    running = client("VM.get_record", vm)
    assert running["power_state"] == "Running"
    assert int(running["domid"]) > 0
    assert running["resident_on"] in client("host.get_all")
    assert all(client("VBD.get_currently_attached", vbd) for vbd in running["VBDs"])

    client("VM.hard_shutdown", vm)

    halted = client("VM.get_record", vm)
    assert (halted["power_state"], halted["domid"]) == ("Halted", "-1")
    assert halted["resident_on"] == "OpaqueRef:NULL"
    assert not any(client("VBD.get_currently_attached", vbd) for vbd in halted["VBDs"])


def test_start_paused_and_unpause(client: Client, vm: str) -> None:
    client("VM.start", vm, True, False)
    assert state(client, vm) == "Paused"

    client("VM.unpause", vm)
    assert state(client, vm) == "Running"

    client("VM.pause", vm)
    assert state(client, vm) == "Paused"


def test_clean_shutdown_asks_the_guest(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)

    client("VM.clean_shutdown", vm)

    assert state(client, vm) == "Halted"


def test_reboots_make_a_new_domain_of_the_same_vm(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    first = domid(client, vm)

    client("VM.clean_reboot", vm)
    second = domid(client, vm)
    client("VM.hard_reboot", vm)
    third = domid(client, vm)

    assert len({first, second, third}) == 3
    assert state(client, vm) == "Running"


def test_suspend_and_resume_carry_the_guest_over(daemon: Daemon, client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    daemon.order(domid(client, vm), "counter", 1_000_000)

    client("VM.suspend", vm)
    image = client("VM.get_suspend_VDI", vm)
    assert state(client, vm) == "Suspended"
    assert client("VDI.get_type", image) == "suspend"

    client("VM.resume", vm, False, False)
    asked = f"v = ffi.new('int64_t *'); lib.xapid_mock_ask({domid(client, vm)}, b'counter', v)"
    counter = int(daemon.xen(f"{asked}; print(v[0])"))
    assert state(client, vm) == "Running"
    assert counter >= 1_000_000
    assert client("VM.get_suspend_VDI", vm) == "OpaqueRef:NULL"
    assert image not in client("VDI.get_all")


def test_hard_shutdown_of_a_suspended_vm_drops_its_image(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    client("VM.suspend", vm)
    image = client("VM.get_suspend_VDI", vm)

    client("VM.hard_shutdown", vm)

    assert state(client, vm) == "Halted"
    assert image not in client("VDI.get_all")


def test_resume_may_leave_the_guest_paused(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    client("VM.suspend", vm)

    client("VM.resume", vm, True, False)

    assert state(client, vm) == "Paused"


STATES = {
    "Halted": [],
    "Running": [("VM.start", False, False)],
    "Paused": [("VM.start", True, False)],
    "Suspended": [("VM.start", False, False), ("VM.suspend",)],
}
ARROWS: dict[str, tuple[Any, ...]] = {
    "start": (False, False),
    "pause": (),
    "unpause": (),
    "clean_shutdown": (),
    "hard_shutdown": (),
    "clean_reboot": (),
    "hard_reboot": (),
    "suspend": (),
    "resume": (False, False),
}


@pytest.mark.parametrize("power_state", STATES)
def test_what_is_not_allowed_is_refused_with_the_state(
    client: Client, vm: str, power_state: str
) -> None:
    for method, *parameters in STATES[power_state]:
        client(method, vm, *parameters)
    allowed = client("VM.get_allowed_operations", vm)

    for arrow in set(ARROWS) - set(allowed):
        with pytest.raises(Failure) as refused:
            client(f"VM.{arrow}", vm, *ARROWS[arrow])
        assert refused.value.code == "VM_BAD_POWER_STATE"
        assert refused.value.parameters[0] == vm
        assert refused.value.parameters[2] == power_state
    assert state(client, vm) == power_state
    assert set(allowed) & set(ARROWS)


def test_a_template_starts_only_once_it_is_a_vm(client: Client, vm: str) -> None:
    client("VM.set_is_a_template", vm, True)

    with pytest.raises(Failure) as refused:
        client("VM.start", vm, False, False)

    assert refused.value.code == "VM_IS_TEMPLATE"
    assert refused.value.parameters == [vm]


def test_memory_that_is_not_there_is_refused_with_both_sizes(client: Client) -> None:
    size = str(64 << 30)
    greedy = client(
        "VM.create",
        vm_values(memory_static_max=size, memory_dynamic_max=size, memory_target=size),
    )

    with pytest.raises(Failure) as refused:
        client("VM.start", greedy, False, False)

    needed, available = map(int, refused.value.parameters)
    assert refused.value.code == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert needed > available > 0
    assert state(client, greedy) == "Halted"


def test_the_guests_own_power_off_and_reboot_are_followed(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    first = domid(client, vm)

    daemon.order(first, "reboot")
    eventually(lambda: domid(client, vm) not in (first, "-1") and state(client, vm) == "Running")

    eventually(lambda: "hard_shutdown" in client("VM.get_allowed_operations", vm))
    daemon.order(domid(client, vm), "poweroff")
    eventually(lambda: state(client, vm) == "Halted")


@pytest.mark.parametrize(
    ("action", "expected"), [("destroy", "Halted"), ("restart", "Running"), ("preserve", "Running")]
)
def test_a_crash_is_dealt_with_as_the_vm_says(
    daemon: Daemon, client: Client, vm: str, action: str, expected: str
) -> None:
    client("VM.set_actions_after_crash", vm, action)
    client("VM.start", vm, False, False)
    first = domid(client, vm)

    daemon.order(first, "crash")

    if action == "preserve":
        daemon.knob("boot_ms", 0)
        assert domid(client, vm) == first
    else:
        eventually(lambda: domid(client, vm) != first and state(client, vm) == expected)


def test_clone_has_disks_and_macs_of_its_own(client: Client, vm: str) -> None:
    network = client(
        "network.create", {"name_label": "n", "name_description": "", "other_config": {}}
    )
    wire = {
        "device": "0", "network": network, "VM": vm, "MAC": "", "MTU": "1500", "other_config": {},
        "qos_algorithm_type": "", "qos_algorithm_params": {},
    }  # fmt: skip
    vif = client("VIF.create", wire)

    twin = client("VM.clone", vm, "twin")

    record = client("VM.get_record", twin)
    disks = {client("VBD.get_VDI", vbd) for vbd in record["VBDs"]}
    originals = {client("VBD.get_VDI", vbd) for vbd in client("VM.get_VBDs", vm)}
    assert record["name_label"] == "twin"
    assert len(disks) == len(originals) == 1
    assert not disks & originals
    assert client("VIF.get_MAC", record["VIFs"][0]) != client("VIF.get_MAC", vif)
    client("VM.start", vm, False, False)
    client("VM.start", twin, False, False)


def test_destroy_does_not_cascade(client: Client, vm: str) -> None:
    with pytest.raises(Failure) as refused:
        client("VM.destroy", vm)
    assert refused.value.code == "OPERATION_NOT_ALLOWED"

    for vbd in client("VM.get_VBDs", vm):
        client("VBD.destroy", vbd)
    client("VM.destroy", vm)

    assert vm not in client("VM.get_all")


def test_an_asynchronous_start_is_a_task_that_ends(client: Client, vm: str) -> None:
    task = client("Async.VM.start", vm, False, False)

    record = client.wait_for_task(task)

    assert record["status"] == "success"
    assert record["progress"] == 1.0
    assert state(client, vm) == "Running"


def test_a_cancelled_start_leaves_nothing(daemon: Daemon, client: Client, vm: str) -> None:
    daemon.knob("build_ms", 30_000)
    task = client("Async.VM.start", vm, False, False)
    eventually(lambda: "start" in client("VM.get_current_operations", vm).values())

    client("task.cancel", task)
    record = client.wait_for_task(task)

    assert record["status"] == "cancelled"
    assert record["error_info"][0] == "TASK_CANCELLED"
    assert state(client, vm) == "Halted"
    assert client("VM.get_current_operations", vm) == {}
    assert "start" in client("VM.get_allowed_operations", vm)
    daemon.knob("build_ms", 0)
    client("VM.start", vm, False, False)


def test_while_a_vm_starts_nothing_else_may(daemon: Daemon, client: Client, vm: str) -> None:
    daemon.knob("build_ms", 5_000)
    task = client("Async.VM.start", vm, False, False)
    eventually(lambda: "start" in client("VM.get_current_operations", vm).values())

    with pytest.raises(Failure) as refused:
        client("VM.hard_shutdown", vm)

    assert refused.value.code == "OTHER_OPERATION_IN_PROGRESS"
    assert refused.value.parameters == ["VM", vm, "start", task]
    assert "hard_shutdown" not in client("VM.get_allowed_operations", vm)
    client("task.cancel", task)
    client.wait_for_task(task)


@pytest.mark.parametrize("acknowledged_ms", [0, 30_000])
def test_hard_shutdown_cuts_a_clean_one_short(
    daemon: Daemon, client: Client, vm: str, acknowledged_ms: int
) -> None:
    client("VM.start", vm, False, False)
    daemon.order(domid(client, vm), "ignore_shutdown", 2)
    daemon.knob("ack_ms", acknowledged_ms)
    task = client("Async.VM.clean_shutdown", vm)
    eventually(lambda: "clean_shutdown" in client("VM.get_current_operations", vm).values())

    client("VM.hard_shutdown", vm)

    assert state(client, vm) == "Halted"
    assert client.wait_for_task(task)["status"] == "success"


def test_live_changes_reach_the_domain(daemon: Daemon, client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)

    client("VM.set_VCPUs_number_live", vm, "2")
    client("VM.set_memory_target_live", vm, str(200 * MIB))
    client("VM.add_to_VCPUs_params_live", vm, "weight", "512")
    client("VM.send_sysrq", vm, "s")
    with pytest.raises(Failure) as refused:
        client("VM.send_trigger", vm, "power")
    assert refused.value.code == "VM_HVM_REQUIRED"

    asked = f"v = ffi.new('int64_t *'); lib.xapid_mock_ask({domid(client, vm)}, b'target_kib', v)"
    assert int(daemon.xen(f"{asked}; print(v[0])")) == 200 * 1024
    assert client("VM.get_VCPUs_params", vm) == {"weight": "512"}
    assert client("VM.get_memory_target", vm) == str(200 * MIB)


def test_questions_are_answered(client: Client, vm: str) -> None:
    host = client("host.get_all")[0]

    assert "0" not in client("VM.get_allowed_VBD_devices", vm)
    assert "1" in client("VM.get_allowed_VBD_devices", vm)
    assert "0" in client("VM.get_allowed_VIF_devices", vm)
    assert client("VM.get_possible_hosts", vm) == [host]
    assert client("VM.assert_can_boot_here", vm, host) == ""
    assert client("VM.assert_operation_valid", vm, "start") == ""
    largest = int(client("VM.maximise_memory", vm, str(1 << 30), False))
    assert 0 < largest <= 1 << 30
    with pytest.raises(Failure) as refused:
        client("VM.assert_operation_valid", vm, "pause")
    assert refused.value.code == "VM_BAD_POWER_STATE"


def test_the_boot_record_is_of_the_boot(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)
    client("VM.set_PV_args", vm, "changed after the boot")

    booted = client("VM.get_boot_record", vm)

    assert booted["PV_args"] == ""
    assert set(booted) == set(client("VM.get_record", vm))


def test_provision_makes_the_disks_a_template_asks_for(daemon: Daemon, client: Client) -> None:
    sr = client("SR.get_uuid", storage(client, daemon))
    wanted = (
        f'<provision><disk device="0" size="{16 * MIB}" sr="{sr}" bootable="true"/></provision>'
    )
    template = client("VM.create", vm_values(is_a_template=True, other_config={"disks": wanted}))
    vm = client("VM.clone", template, "from template")

    client("VM.provision", vm)

    record = client("VM.get_record", vm)
    vdi = client("VBD.get_VDI", record["VBDs"][0])
    assert record["is_a_template"] is False
    assert "disks" not in record["other_config"]
    assert client("VDI.get_virtual_size", vdi) == str(16 * MIB)
    client("VM.start", vm, False, False)


def test_the_control_domain_is_shown_and_out_of_reach(client: Client) -> None:
    (control,) = [
        ref for ref, vm in client("VM.get_all_records").items() if vm["is_control_domain"]
    ]

    assert client("VM.get_record", control)["domid"] == "0"
    for arrow in ("pause", "hard_shutdown", "clean_reboot"):
        with pytest.raises(Failure) as refused:
            client(f"VM.{arrow}", control)
        assert refused.value.code == "OPERATION_NOT_ALLOWED"
    assert client("VM.get_power_state", control) == "Running"


@pytest.mark.parametrize(
    ("kernel", "code"), [("/etc/shadow", "INVALID_VALUE"), ("boot/vmlinuz", "INVALID_VALUE")]
)
def test_a_kernel_outside_the_allowed_directories_is_not_read(
    client: Client, kernel: str, code: str
) -> None:
    with pytest.raises(Failure) as refused:
        vm = client("VM.create", vm_values(PV_kernel=kernel, PV_bootloader=""))
        client("VM.start", vm, False, False)

    assert refused.value.code == code


def test_consoles_follow_the_guest(client: Client, vm: str) -> None:
    client("VM.start", vm, False, False)

    (console,) = eventually(lambda: client("VM.get_consoles", vm))
    record = client("console.get_record", console)
    with pytest.raises(Failure, match="OPERATION_NOT_ALLOWED"):
        client("console.destroy", console)
    client("VM.hard_shutdown", vm)

    assert (record["protocol"], record["VM"]) == ("vt100", vm)
    assert record["location"].startswith("file:///")
    assert client("VM.get_consoles", vm) == []


def test_a_disabled_host_takes_no_guest_in_any_way(client: Client, vm: str) -> None:
    host = client("host.get_all")[0]
    ways = [("VM.start", vm, False, False), ("VM.start_on", vm, host, False, False)]
    later = [("VM.resume", vm, False, False), ("VM.resume_on", vm, host, False, False)]
    client("host.disable", host)

    codes = [refused_with(client, *way) for way in ways]
    client("host.enable", host)
    client("VM.start", vm, False, False)
    client("VM.suspend", vm)
    client("host.disable", host)
    codes += [refused_with(client, *way) for way in later]

    assert codes == ["HOST_DISABLED"] * 4
    client("host.enable", host)
    client("VM.resume", vm, False, False)


def refused_with(client: Client, method: str, *parameters: Any) -> str:
    with pytest.raises(Failure) as refused:
        client(method, *parameters)
    return refused.value.code


@pytest.mark.parametrize(
    ("changed", "protocols"),
    [({}, {"vt100"}), ({"HVM_boot_policy": "BIOS order"}, {"vt100", "rfb"})],
    ids=["pv", "hvm"],
)
def test_a_rebooted_guest_has_its_consoles_again(
    daemon: Daemon, client: Client, changed: dict[str, Any], protocols: set[str]
) -> None:
    vm = client("VM.create", vm_values(**changed))
    client("VM.start", vm, False, False)
    eventually(lambda: client("VM.get_consoles", vm))

    client("VM.hard_reboot", vm)
    after_reboot = eventually(lambda: client("VM.get_consoles", vm))
    domid = client("VM.get_domid", vm)
    daemon.order(domid, "reboot")
    eventually(lambda: client("VM.get_domid", vm) not in (domid, "-1"))
    by_itself = eventually(lambda: client("VM.get_consoles", vm))

    for consoles in (after_reboot, by_itself):
        assert len(consoles) == len(protocols)
    found = {client("console.get_protocol", console) for console in by_itself}
    assert found == protocols


def test_a_boot_leaves_what_it_took_and_what_it_ran_on(client: Client, vm: str) -> None:
    host = client("host.get_cpu_configuration", client("host.get_all")[0])

    client("VM.start", vm, False, False)

    record = client("VM.get_record", vm)
    assert 0 < int(record["memory_overhead"]) < int(record["memory_static_max"])
    assert record["last_boot_CPU_flags"]["features"] == host["features"]


def test_a_vm_whose_disks_are_out_of_reach_can_boot_nowhere(client: Client, vm: str) -> None:
    host = client("host.get_all")[0]
    client("VM.assert_can_boot_here", vm, host)
    [sr] = client("SR.get_all")
    client("PBD.unplug", client("SR.get_PBDs", sr)[0])

    with pytest.raises(Failure) as refused:
        client("VM.assert_can_boot_here", vm, host)

    assert (refused.value.code, refused.value.parameters) == ("VM_REQUIRES_SR", [vm, sr])
    assert client("VM.get_possible_hosts", vm) == []


def test_a_mask_of_cpus_is_set_and_lifted_while_the_guest_runs(
    daemon: Daemon, client: Client, vm: str
) -> None:
    client("VM.start", vm, False, False)
    domid = client("VM.get_domid", vm)

    client("VM.add_to_VCPUs_params_live", vm, "mask", "1")
    pinned = affinity(daemon, domid)
    client("VM.add_to_VCPUs_params_live", vm, "mask", "")

    assert pinned == [1]
    assert len(affinity(daemon, domid)) > 1
    with pytest.raises(Failure, match="INVALID_VALUE"):
        client("VM.add_to_VCPUs_params_live", vm, "mask", "1,4000")


def affinity(daemon: Daemon, domid: str) -> list[int]:
    """The CPUs that the first vCPU of a domain may run on."""
    found = daemon.xen(
        "ctx, n, cpus = ffi.new('libxl_ctx **'), ffi.new('int *'), ffi.new('int *')\n"
        "assert lib.xapid_ctx_alloc(ctx, ffi.NULL) == 0\n"
        f"seen = lib.libxl_list_vcpu(ctx[0], {domid}, n, cpus)\n"
        "hard = seen[0].cpumap\n"
        "print(*[c for c in range(cpus[0]) if hard.map[c // 8] >> c % 8 & 1])"
    )
    return [int(cpu) for cpu in found.split()]
