"""Keys of a VM that mean something, and what this host cannot do, through the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import MIB, Client, Daemon, Failure, vm_values

REFUSED = {"hvm_serial": "file:/etc/passwd"}
UNREADABLE = {"pci": "0000:04:00.0 -device x"}


def refusal(client: Client, method: str, *parameters: Any) -> Failure:
    with pytest.raises(Failure) as refused:
        client(method, *parameters)
    return refused.value


@pytest.fixture
def vm(client: Client) -> str:
    ref: str = client("VM.create", vm_values())
    return ref


def test_every_way_to_write_platform_checks_its_keys(client: Client, vm: str) -> None:
    ways = [
        ("VM.create", vm_values(platform=REFUSED)),
        ("VM.set_platform", vm, REFUSED),
        ("VM.add_to_platform", vm, "hvm_serial", "file:/etc/passwd"),
    ]

    assert {refusal(client, *way).code for way in ways} == {"VALUE_NOT_SUPPORTED"}
    assert client("VM.get_platform", vm) == {}
    client("VM.set_platform", vm, {"acpi": "1", "device_id": "0002"})
    assert client("VM.get_platform", vm) == {"acpi": "1", "device_id": "0002"}


def test_every_way_to_name_pci_devices_checks_their_form(client: Client, vm: str) -> None:
    ways = [
        ("VM.create", vm_values(other_config=UNREADABLE)),
        ("VM.create", vm_values(PCI_bus="x")),
        ("VM.set_other_config", vm, UNREADABLE),
        ("VM.add_to_other_config", vm, "pci", "x"),
        ("VM.set_PCI_bus", vm, "x"),
    ]

    assert {refusal(client, *way).code for way in ways} == {"INVALID_VALUE"}


def test_a_guest_with_a_pci_device_needs_an_iommu(client: Client, vm: str) -> None:
    client("VM.add_to_other_config", vm, "pci", "0/0000:04:00.0")
    host = client("host.get_all")[0]

    refused = refusal(client, "VM.start", vm, False, False)

    assert (refused.code, refused.parameters) == ("VM_REQUIRES_IOMMU", [host])
    assert refusal(client, "VM.assert_can_boot_here", vm, host).code == "VM_REQUIRES_IOMMU"
    assert client("VM.get_possible_hosts", vm) == []


def test_a_mask_with_a_cpu_that_the_host_has_not_starts_nothing(client: Client, vm: str) -> None:
    client("VM.set_VCPUs_params", vm, {"mask": "0,4000"})

    refused = refusal(client, "VM.start", vm, False, False)

    assert (refused.code, refused.parameters) == ("INVALID_VALUE", ["VCPUs_params:mask", "0,4000"])
    assert client("VM.get_power_state", vm) == "Halted"


def paging_kib(daemon: Daemon, client: Client, vm: str) -> int:
    domid = client("VM.get_domid", vm)
    ask = f"v = ffi.new('int64_t *'); assert lib.xapid_mock_ask({domid}, b'paging_kib', v) == 0"
    return int(daemon.xen(f"{ask}; print(v[0])"))


def test_the_memory_for_page_tables_changes_while_the_guest_runs_and_stays(
    daemon: Daemon, client: Client
) -> None:
    vm = client("VM.create", vm_values(HVM_boot_policy="BIOS order", platform={"nx": "true"}))
    client("VM.start", vm, False, False)
    before = paging_kib(daemon, client, vm)
    assert "changing_shadow_memory_live" in client("VM.get_allowed_operations", vm)

    client("VM.set_shadow_multiplier_live", vm, 2.0)
    assert paging_kib(daemon, client, vm) == 2 * before

    client("VM.hard_reboot", vm)
    assert paging_kib(daemon, client, vm) == 2 * before
    assert client("VM.get_HVM_shadow_multiplier", vm) == 2.0


def test_memory_for_page_tables_that_the_host_has_not_is_refused(
    daemon: Daemon, client: Client
) -> None:
    size = str(2048 * MIB)
    sizes = {"memory_static_max": size, "memory_dynamic_max": size, "memory_target": size}
    vm = client("VM.create", vm_values(HVM_boot_policy="BIOS order", **sizes))
    client("VM.start", vm, False, False)
    daemon.knob("memory_kib", 3_400_000)
    before = paging_kib(daemon, client, vm)

    refused = refusal(client, "VM.set_shadow_multiplier_live", vm, 100.0)

    assert refused.code == "HOST_NOT_ENOUGH_FREE_MEMORY"
    assert int(refused.parameters[0]) > int(refused.parameters[1])
    assert paging_kib(daemon, client, vm) == before
    assert client("VM.get_HVM_shadow_multiplier", vm) == 1.0


def test_memory_for_page_tables_is_for_running_hvm_guests(client: Client) -> None:
    hvm = client("VM.create", vm_values(HVM_boot_policy="BIOS order", platform={"nx": "true"}))
    pv = client("VM.create", vm_values())
    method = "VM.set_shadow_multiplier_live"

    assert refusal(client, method, hvm, 2.0).code == "VM_BAD_POWER_STATE"
    assert refusal(client, method, hvm, 0.5).code == "INVALID_VALUE"
    assert refusal(client, method, pv, 2.0).code == "VM_HVM_REQUIRED"


def test_a_vm_has_nowhere_to_move_to(client: Client, vm: str) -> None:
    refused = refusal(client, "VM.pool_migrate", vm, client("host.get_all")[0], {})

    assert refused.code == "OPERATION_NOT_ALLOWED"
    assert "no other host" in refused.parameters[0]


def test_a_failed_task_says_in_a_sentence_what_failed_and_what_to_do(
    client: Client, vm: str
) -> None:
    client("VM.set_name_label", vm, "web server")
    task = client("Async.VM.pause", vm)

    record = client.wait_for_task(task)

    assert record["error_info"] == ["VM_BAD_POWER_STATE", vm, "Running", "Halted"]
    told = record["other_config"]["explanation"]
    assert told.startswith("VM.pause failed: The VM is not in a power state that the operation")
    assert "VM 'web server'" in told


CONFIGURATION = """
ctx, config = ffi.new('libxl_ctx **'), ffi.new('libxl_domain_config *')
assert lib.xapid_ctx_alloc(ctx, ffi.NULL) == 0
lib.libxl_domain_config_init(config)
assert lib.libxl_retrieve_domain_configuration(ctx[0], {domid}, config, ffi.NULL) == 0
print(ffi.string(lib.libxl_domain_config_to_json(ctx[0], config)).decode())
"""


def test_a_guests_tpm_is_served_by_the_domain_that_its_record_names(
    daemon: Daemon, client: Client, vm: str
) -> None:
    backend = client("VM.create", vm_values(name_label="tpm server"))
    vtpm = client("VTPM.create", {"VM": vm, "backend": backend})
    refused = refusal(client, "VM.start", vm, False, False)
    assert refused.code == "OPERATION_NOT_ALLOWED" and "tpm server" in refused.parameters[0]

    client("VM.start", backend, False, False)
    client("VM.start", vm, False, False)

    domid = client("VM.get_domid", vm)
    [told] = json.loads(daemon.xen(CONFIGURATION.format(domid=domid)))["vtpms"]
    assert (told["backend_domid"], told["uuid"]) == (
        int(client("VM.get_domid", backend)),
        client("VTPM.get_uuid", vtpm),
    )
