"""What a VM's record makes of a domain: `xapid.xen.plan` against records of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.enums import DomainType, VbdMode, VbdType
from xapid.datamodel.errors import ApiError, InvalidValue, UnknownBootloader, ValueNotSupported
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vif import VIF
from xapid.datamodel.vm import VM
from xapid.xen.plan import (
    BLOCK_SCRIPT,
    VIF_SCRIPT,
    BackendDisk,
    Boot,
    BootPaths,
    check_kernel_arguments,
    check_path,
    cpu_mask,
    device_index,
    domain_type,
    plan_boot,
    plan_disk,
    plan_domain,
    plan_nic,
    sched_params,
    vdev,
)

MIB = 1 << 20
UUID = "0dc2a4b2-7b6f-4f2f-8bb3-6c70a1f2f9a5"


def vm(**fields: Any) -> VM:
    row = {name: field.default for name, field in VM.fields.items()}
    size = {"memory_static_max": 256 * MIB, "memory_dynamic_max": 256 * MIB}
    return VM(Ref("OpaqueRef:vm"), {**row, "uuid": UUID, "VCPUs_max": 2, **size, **fields})


def vbd(**fields: Any) -> VBD:
    row = {name: field.default for name, field in VBD.fields.items()}
    defaults = {"userdevice": "0", "mode": VbdMode.RW, "type": VbdType.DISK}
    return VBD(Ref("OpaqueRef:vbd"), {**row, **defaults, **fields})


def vif(**fields: Any) -> VIF:
    row = {name: field.default for name, field in VIF.fields.items()}
    defaults = {"device": "0", "MAC": "02:00:00:00:00:01"}
    return VIF(Ref("OpaqueRef:vif"), {**row, **defaults, **fields})


def plan(record: VM, **paths: str) -> dict[str, Any]:
    return plan_domain(record, plan_boot(record), BootPaths(**paths), [], [], vnc_socket="/run/vnc")


def test_a_kernel_in_the_control_domain_is_booted_directly() -> None:
    record = vm(PV_kernel="/boot/guest", PV_ramdisk="/boot/initrd", PV_args="root=/dev/xvda quiet")

    config = plan(record, kernel="/real/guest", ramdisk="/real/initrd")

    assert config["c_info"] == {"type": "pv", "name": f"xapid-{UUID}", "uuid": UUID}
    assert config["b_info"]["kernel"] == "/real/guest"
    assert config["b_info"]["ramdisk"] == "/real/initrd"
    assert config["b_info"]["cmdline"] == "root=/dev/xvda quiet"
    assert config["b_info"]["type.pv"] == {}
    assert "bootloader" not in config["b_info"]


def test_without_kernel_and_bootloader_it_is_as_if_pygrub_was_asked_for() -> None:
    assert plan_boot(vm()).bootloader == "pygrub"


def test_what_the_bootloader_found_is_booted_with_its_arguments() -> None:
    found = {"kernel": "/found/kernel", "ramdisk": "/found/ramdisk", "arguments": "ro quiet"}

    config = plan(vm(PV_args="quiet"), **found)

    assert config["b_info"]["kernel"] == "/found/kernel"
    assert config["b_info"]["ramdisk"] == "/found/ramdisk"
    assert config["b_info"]["cmdline"] == "ro quiet"
    assert "bootloader" not in config["b_info"]


@pytest.mark.parametrize("bootloader", ["/bin/sh", "../pygrub", "pygrub -x", "eliloader"])
def test_any_other_bootloader_is_unknown(bootloader: str) -> None:
    with pytest.raises(UnknownBootloader):
        plan_boot(vm(PV_bootloader=bootloader))


@pytest.mark.parametrize("arguments", ["--output=/etc/shadow", "--entry=1 -q", "-i", "--entry="])
def test_a_bootloader_takes_no_argument_that_could_lead_elsewhere(arguments: str) -> None:
    with pytest.raises(ValueNotSupported):
        plan_boot(vm(PV_bootloader="pygrub", PV_bootloader_args=arguments))


@pytest.mark.parametrize("arguments", ["quiet\nro", "quiet\x1b", "x" * 2049])
def test_kernel_arguments_are_checked_before_a_bootloader_is_given_them(arguments: str) -> None:
    with pytest.raises(InvalidValue):
        plan_boot(vm(PV_bootloader="pygrub", PV_args=arguments))


def test_a_boot_policy_makes_an_hvm_guest_with_its_order() -> None:
    record = vm(HVM_boot_policy="BIOS order", HVM_boot_params={"order": "dc"})

    config = plan(record)

    assert config["c_info"]["type"] == "hvm"
    assert config["b_info"]["type.hvm"]["boot"] == "dc"
    assert config["b_info"]["type.hvm"]["serial"] == "pty"
    assert config["b_info"]["type.hvm"]["vnc"]["listen"] == "unix:/run/vnc"


@pytest.mark.parametrize("order", ["", "x", "cd,menu=on", "cdnca", "c d"])
def test_a_boot_order_that_qemu_would_read_otherwise_is_refused(order: str) -> None:
    with pytest.raises(InvalidValue):
        plan_boot(vm(HVM_boot_policy="BIOS order", HVM_boot_params={"order": order}))


def test_domain_type_has_the_last_word() -> None:
    assert domain_type(vm(HVM_boot_policy="BIOS order")) is DomainType.HVM
    assert domain_type(vm(domain_type=DomainType.PVH)) is DomainType.PVH
    assert plan(vm(domain_type=DomainType.PVH, PV_kernel="/boot/k"))["b_info"]["type.pvh"] == {}


def test_memory_and_vcpus_are_what_the_record_says() -> None:
    record = vm(
        memory_target=128 * MIB, VCPUs_max=4, VCPUs_at_startup=2, VCPUs_params={"weight": "512"}
    )

    build = plan(record)["b_info"]

    assert (build["max_memkb"], build["target_memkb"]) == (256 * 1024, 128 * 1024)
    assert (build["max_vcpus"], build["avail_vcpus"]) == (4, [0, 1])
    assert build["sched_params"] == {"weight": 512}


def test_a_target_never_exceeds_the_static_maximum() -> None:
    assert plan(vm(memory_target=512 * MIB))["b_info"]["target_memkb"] == 256 * 1024


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"weight": "0"}, True),
        ({"weight": "x"}, True),
        ({"cap": "-1"}, True),
        ({"cap": "50"}, False),
    ],
)
def test_scheduling_parameters_are_checked(params: dict[str, str], refused: bool) -> None:
    if refused:
        with pytest.raises(InvalidValue):
            sched_params(params)
    else:
        assert sched_params(params) == {"cap": 50}


def test_a_mask_is_a_list_of_cpus() -> None:
    assert cpu_mask({"mask": "3,1,1"}) == (1, 3)
    assert cpu_mask({}) == ()
    with pytest.raises(InvalidValue):
        cpu_mask({"mask": "0-3"})


@pytest.mark.parametrize(
    ("userdevice", "index"), [("0", 0), ("15", 15), ("xvdb", 1), ("hdc", 2), ("xvdaa", 26)]
)
def test_clients_may_name_a_device_in_several_ways(userdevice: str, index: int) -> None:
    assert device_index(userdevice) == index


@pytest.mark.parametrize(
    "userdevice", ["", "-1", "256", "xvd", "xvdA", "sdzz", "0x1", "\u0661", "xvda1"]
)
def test_a_device_that_no_guest_could_have_is_refused(userdevice: str) -> None:
    with pytest.raises(InvalidValue):
        device_index(userdevice)


def test_device_names_follow_the_kind_of_guest() -> None:
    assert vdev("0", DomainType.PV, is_cd=False) == "xvda"
    assert vdev("27", DomainType.PVH, is_cd=False) == "xvdab"
    assert vdev("3", DomainType.HVM, is_cd=True) == "hdd"
    assert vdev("3", DomainType.PV, is_cd=True) == "xvdd"
    with pytest.raises(InvalidValue):
        vdev("4", DomainType.HVM, is_cd=True)


def test_a_disk_is_planned_read_only_unless_its_mode_says_otherwise() -> None:
    backend = BackendDisk("/srv/disk.raw", "raw", "phy")

    writable = plan_disk(vbd(), backend, DomainType.PV)
    read_only = plan_disk(vbd(mode=VbdMode.RO), backend, DomainType.PV)
    drive = plan_disk(vbd(type=VbdType.CD, userdevice="3"), backend, DomainType.HVM)

    assert writable["readwrite"] == 1 and writable["pdev_path"] == "/srv/disk.raw"
    assert read_only["readwrite"] == 0
    assert (drive["vdev"], drive["is_cdrom"], drive["readwrite"]) == ("hdd", 1, 0)


def test_only_what_the_kernel_serves_is_plugged_by_our_own_script() -> None:
    kernel = plan_disk(vbd(), BackendDisk("/srv/disk.raw", "raw", "phy"), DomainType.PV)
    qemu = plan_disk(vbd(), BackendDisk("/srv/disk.qcow2", "qcow2", "qdisk"), DomainType.PV)

    assert kernel["script"] == str(BLOCK_SCRIPT)
    assert "script" not in qemu


def test_an_empty_drive_has_no_path() -> None:
    planned = plan_disk(vbd(type=VbdType.CD), BackendDisk("", "empty", "phy"), DomainType.HVM)

    assert planned["format"] == "empty" and "pdev_path" not in planned


def test_a_nic_is_emulated_only_for_hvm() -> None:
    assert plan_nic(vif(), "xapi0", DomainType.PV)["nictype"] == "vif"
    assert plan_nic(vif(MTU=1400), "xapi0", DomainType.HVM) == {
        "devid": 0,
        "mac": "02:00:00:00:00:01",
        "bridge": "xapi0",
        "nictype": "vif_ioemu",
        "script": str(VIF_SCRIPT),
        "mtu": 1400,
    }


def test_a_nic_plugged_into_a_running_guest_is_not_emulated() -> None:
    assert plan_nic(vif(), "xapi0", DomainType.HVM, running=True)["nictype"] == "vif"


@pytest.mark.parametrize(
    "path", ["relative", "/a/../b", "/a//b", "/a,b", "/a\nb", "/" + "x" * 2000, "/a/"]
)
def test_a_path_of_a_client_is_plain_or_refused(path: str) -> None:
    with pytest.raises(InvalidValue):
        check_path("PV_kernel", path)


def test_kernel_arguments_are_printable() -> None:
    check_kernel_arguments("PV_args", "console=hvc0 root=/dev/xvda")
    with pytest.raises(InvalidValue):
        check_kernel_arguments("PV_args", "a\0b")


def test_a_restored_domain_needs_no_kernel() -> None:
    config = plan_domain(vm(), Boot(DomainType.PV), BootPaths(), [], [])

    assert "kernel" not in config["b_info"] and "bootloader" not in config["b_info"]


def test_an_unknown_kind_of_domain_is_refused() -> None:
    with pytest.raises(ApiError):
        plan_boot(vm(domain_type=DomainType.PV_IN_PVH))


def test_a_device_model_can_be_asked_for_ahead_of_its_need() -> None:
    def channels(kind: DomainType) -> list[str]:
        config = plan_domain(vm(), Boot(kind), BootPaths(), [], [], with_qemu=True)
        return [channel["name"] for channel in config.get("channels", [])]

    assert channels(DomainType.PV) == channels(DomainType.PVH) == ["xapid"]
    assert channels(DomainType.HVM) == []
