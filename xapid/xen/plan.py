"""From records to what libxl is asked for: pure functions, no I/O, no clock.

What comes out is libxl's own JSON (`libxl_domain_config_from_json` and its kin). No string of a
client gets in unchecked: names and paths are made by the daemon, and what a client chose is held
against a rule here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from ..datamodel.enums import DomainType, VbdMode, VbdType
from ..datamodel.errors import InvalidValue, UnknownBootloader, ValueNotSupported
from ..datamodel.vbd import VBD
from ..datamodel.vif import VIF
from ..datamodel.vm import VM
from .keys import PciAddress, plan_platform

KIB = 1024
MAX_DISKS = 256
MAX_SHADOW_MULTIPLIER = 100.0
HVM_CD_DRIVES = 4
BIOS_ORDER = "BIOS order"
BOOT_ORDER = re.compile(r"[acdn]{1,4}")
BOOTLOADER_ARGS = re.compile(r"(--entry=[0-9]{1,3}|-q)?")
VDEV = re.compile(r"(xvd|hd|sd)([a-z]{1,2})")
VIDEO_RESERVE_KIB = 1024  # what libxl keeps back for each emulated display


@dataclass(frozen=True)
class BackendDisk:
    """What a domain needs to open a disk, made by a storage driver and never by a client."""

    path: str
    format: Literal["raw", "qcow2", "empty"]
    backend: Literal["phy", "qdisk"]
    direct_io_safe: bool = False


@dataclass(frozen=True)
class BootPaths:
    """Kernel and ramdisk in the control domain, after the host has resolved and allowed them.

    arguments: the kernel's, where a bootloader chose them; else the VM's own are used.
    """

    kernel: str = ""
    ramdisk: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class Boot:
    """How a VM is to be booted, before anything on the host was looked at."""

    domain_type: DomainType
    kernel: str = ""
    ramdisk: str = ""
    bootloader: str = ""
    bootloader_args: tuple[str, ...] = ()
    order: str = ""


def domain_name(uuid: str) -> str:
    """libxl wants unique names and puts them into file names; the API's may be anything."""
    return f"xapid-{uuid}"


def domain_type(vm: VM) -> DomainType:
    """The kind of domain a VM becomes: the field of today's API, else section 1.7's rule."""
    if vm.domain_type is not DomainType.UNSPECIFIED:
        return vm.domain_type
    return DomainType.HVM if vm.HVM_boot_policy else DomainType.PV


def plan_boot(vm: VM) -> Boot:
    """Section 1.7: what to boot and how.

    Raises UNKNOWN_BOOTLOADER, INVALID_VALUE, VALUE_NOT_SUPPORTED.
    """
    kind = domain_type(vm)
    if kind is DomainType.HVM:
        return Boot(kind, order=_boot_order(vm))
    if kind not in (DomainType.PV, DomainType.PVH):
        raise ValueNotSupported("domain_type", kind, "this host builds pv, pvh and hvm domains")
    if vm.PV_kernel and not vm.PV_bootloader:
        return Boot(kind, kernel=vm.PV_kernel, ramdisk=vm.PV_ramdisk)
    bootloader = vm.PV_bootloader or "pygrub"
    if bootloader != "pygrub":
        raise UnknownBootloader(vm.ref, bootloader)
    if not BOOTLOADER_ARGS.fullmatch(vm.PV_bootloader_args):
        raise ValueNotSupported(
            "PV_bootloader_args", vm.PV_bootloader_args, "only --entry=N or -q may be given"
        )
    check_kernel_arguments("PV_args", vm.PV_args)  # on the bootloader's command line, too
    return Boot(kind, bootloader=bootloader, bootloader_args=tuple(vm.PV_bootloader_args.split()))


def plan_restore(vm: VM) -> Boot:
    """A domain whose memory comes from an image.

    libxl wants to be told of a way to boot all the same, and never takes it.
    """
    kind = domain_type(vm)
    return plan_boot(vm) if kind is DomainType.HVM else Boot(kind, bootloader="pygrub")


def _boot_order(vm: VM) -> str:
    if vm.HVM_boot_policy not in ("", BIOS_ORDER):
        raise ValueNotSupported(
            "HVM_boot_policy", vm.HVM_boot_policy, f'only "{BIOS_ORDER}" exists'
        )
    order = vm.HVM_boot_params.get("order", "cd")
    if not BOOT_ORDER.fullmatch(order):
        raise InvalidValue("HVM_boot_params:order", order)
    return order


def memory_target(vm: VM) -> int:
    """Bytes a guest is given when it starts."""
    wanted = vm.memory_target or vm.memory_dynamic_max or vm.memory_static_max
    return min(wanted, vm.memory_static_max)


def check_path(field: str, path: str) -> None:
    """A path in the control domain that a client named: absolute, plain, printable.

    Raises INVALID_VALUE. Which directories may be used is the host's rule, not this one.
    """
    pure = PurePosixPath(path)
    plain = path.isprintable() and str(pure) == path and ".." not in pure.parts and "," not in path
    if not (pure.is_absolute() and plain and len(path) < 1024):
        raise InvalidValue(field, path)


def check_kernel_arguments(field: str, arguments: str) -> None:
    """A guest's kernel command line: printable and short enough for any kernel."""
    if not arguments.isprintable() or len(arguments) > 2048:
        raise InvalidValue(field, arguments[:64])


CHANNEL: Final = {"name": "xapid", "connection.pty": {}}
"""A second console that nobody uses: what makes libxl start a device model for any guest.

libxl starts none later, and without one a running PV or PVH guest can be given no qcow2 disk.
"""


def plan_domain(
    vm: VM,
    boot: Boot,
    paths: BootPaths,
    disks: Sequence[Mapping[str, Any]],
    nics: Sequence[Mapping[str, Any]],
    *,
    vnc_socket: str = "",
    pci: Sequence[PciAddress] = (),
    vtpms: Sequence[Mapping[str, Any]] = (),
    with_qemu: bool = False,
) -> dict[str, Any]:
    """The whole libxl_domain_config of a VM.

    disks, nics: from `plan_disk` and `plan_nic`. vnc_socket: where an HVM guest's screen is served.
    with_qemu: have a device model run from the start, whether anything needs it yet or not.
    pci: devices of this host that the guest is given. vtpms: each a libxl_device_vtpm.
    Raises INVALID_VALUE where numbers of the record cannot make a domain.
    """
    build: dict[str, Any] = {
        "max_vcpus": vm.VCPUs_max,
        "avail_vcpus": list(range(vcpus_at_startup(vm))),
        "max_memkb": vm.memory_static_max // KIB,
        "target_memkb": memory_target(vm) // KIB,
        f"type.{boot.domain_type}": {},
    }
    if sched := sched_params(vm.VCPUs_params):
        build["sched_params"] = sched
    if boot.domain_type is DomainType.HVM:
        build["type.hvm"] = _hvm(boot, vnc_socket)
        if vm.HVM_shadow_multiplier > 1.0:
            build["shadow_memkb"] = shadow_kib(vm, vm.HVM_shadow_multiplier)
    else:
        build |= _direct_boot(vm, boot, paths)
    _merge(build, plan_platform(vm, boot.domain_type))
    config: dict[str, Any] = {
        "c_info": {
            "type": str(boot.domain_type),
            "name": domain_name(vm.uuid),
            "uuid": vm.uuid,
        },
        "b_info": build,
    }
    if disks:
        config["disks"] = [dict(disk) for disk in disks]
    if nics:
        config["nics"] = [dict(nic) for nic in nics]
    if pci:
        config["pcidevs"] = [device.plan() for device in pci]
    if vtpms:
        config["vtpms"] = [dict(vtpm) for vtpm in vtpms]
    if with_qemu and boot.domain_type is not DomainType.HVM:
        config["channels"] = [dict(CHANNEL)]
    return config


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


def vcpus_at_startup(vm: VM) -> int:
    return min(vm.VCPUs_at_startup or vm.VCPUs_max, vm.VCPUs_max)


def _direct_boot(vm: VM, boot: Boot, paths: BootPaths) -> dict[str, Any]:
    check_kernel_arguments("PV_args", vm.PV_args)
    build: dict[str, Any] = {}
    if paths.kernel:
        build["kernel"] = paths.kernel
    elif boot.bootloader:
        build["bootloader"] = boot.bootloader
    if paths.ramdisk:
        build["ramdisk"] = paths.ramdisk
    if arguments := paths.arguments or vm.PV_args:
        build["cmdline"] = arguments
    return build


def _hvm(boot: Boot, vnc_socket: str) -> dict[str, Any]:
    hvm: dict[str, Any] = {"boot": boot.order, "serial": "pty", "vnc": {"enable": "False"}}
    if vnc_socket:
        # A listen address with a colon goes to qemu as it is, so a socket of our own naming works.
        hvm["vnc"] = {"enable": "True", "listen": f"unix:{vnc_socket}", "findunused": "False"}
    return hvm


def shadow_kib(vm: VM, multiplier: float) -> int:
    """libxl's own rule (1 MiB a vCPU and 8 KiB a MiB of memory) times the multiplier; whole pages.

    The memory for page tables, in shadow mode or with hardware assistance.
    """
    memory_mib = vm.memory_static_max // (KIB * KIB)
    base = 4 * (256 * vm.VCPUs_max + 2 * memory_mib)
    return int(base * multiplier) // 4 * 4


def sched_params(params: Mapping[str, str]) -> dict[str, int]:
    """weight and cap of VCPUs_params, as the credit schedulers take them.

    Raises INVALID_VALUE for what Xen would refuse.
    """
    limits = {"weight": (1, 65535), "cap": (0, 65535)}
    planned = {}
    for key, (low, high) in limits.items():
        if key in params:
            value = params[key]
            if not (value.isascii() and value.isdigit() and low <= int(value[:6]) <= high):
                raise InvalidValue(f"VCPUs_params:{key}", value)
            planned[key] = int(value)
    return planned


def cpu_mask(params: Mapping[str, str]) -> tuple[int, ...]:
    """The physical CPUs of VCPUs_params' `mask`, "0,2,5"; empty for all. Raises INVALID_VALUE."""
    mask = params.get("mask", "")
    if not mask:
        return ()
    if not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4}){0,1023}", mask):
        raise InvalidValue("VCPUs_params:mask", mask)
    return tuple(sorted({int(cpu) for cpu in mask.split(",")}))


def device_index(userdevice: str) -> int:
    """The number of a disk from what clients write: "0", "xvda", "hdc" or "sdb".

    Raises INVALID_VALUE.
    """
    if userdevice.isascii() and userdevice.isdigit() and len(userdevice) <= 3:
        index = int(userdevice)
    elif match := VDEV.fullmatch(userdevice):
        index = 0
        for letter in match[2]:
            index = index * 26 + ord(letter) - ord("a") + 1
        index -= 1
    else:
        raise InvalidValue("userdevice", userdevice)
    if index >= MAX_DISKS:
        raise InvalidValue("userdevice", userdevice)
    return index


def vdev(userdevice: str, kind: DomainType, *, is_cd: bool) -> str:
    """The device name a guest sees: xvda …, and hda to hdd for the CD drives of an HVM guest.

    Raises INVALID_VALUE.
    """
    index = device_index(userdevice)
    if is_cd and kind is DomainType.HVM:
        if index >= HVM_CD_DRIVES:
            raise InvalidValue("userdevice", userdevice)
        return f"hd{chr(ord('a') + index)}"
    high, low = divmod(index, 26)
    return "xvd" + (chr(ord("a") + high - 1) if high else "") + chr(ord("a") + low)


BLOCK_SCRIPT = Path(__file__).resolve().with_name("block-xapid")
"""What libxl runs to give blkback the device behind a guest's disk."""


def plan_disk(vbd: VBD, disk: BackendDisk, kind: DomainType) -> dict[str, Any]:
    """The libxl_device_disk of a VBD."""
    is_cd = vbd.type is VbdType.CD
    planned: dict[str, Any] = {
        "vdev": vdev(vbd.userdevice, kind, is_cd=is_cd),
        "format": disk.format,
        "removable": 1 if is_cd or vbd.unpluggable else 0,
        "readwrite": 1 if vbd.mode is VbdMode.RW and not is_cd else 0,
        "is_cdrom": 1 if is_cd else 0,
    }
    if disk.format != "empty":
        planned["pdev_path"] = disk.path
        planned["backend"] = disk.backend
        if disk.backend == "phy":
            planned["script"] = str(BLOCK_SCRIPT)
    if disk.direct_io_safe:
        planned["direct_io_safe"] = True
    return planned


RATE_LIMIT = "ratelimit"
RATE_INTERVAL_US = 50_000
"""How often a guest gets a new allowance: what xl takes as well."""

MAX_RATE_KBS = 100_000_000

VIF_SCRIPT = Path(__file__).resolve().with_name("vif-xapid")
"""What libxl runs to plug a guest's interface into its bridge."""


def plan_nic(vif: VIF, bridge: str, kind: DomainType, *, running: bool = False) -> dict[str, Any]:
    """The libxl_device_nic of a VIF; its device number is the VIF's `device`.

    running: for a guest that runs already; no emulated card can be added to an HVM guest then.
    """
    emulated = kind is DomainType.HVM and not running
    planned: dict[str, Any] = {
        "devid": int(vif.device),
        "mac": vif.MAC,
        "bridge": bridge,
        "nictype": "vif_ioemu" if emulated else "vif",
        "script": str(VIF_SCRIPT),
    }
    if vif.MTU > 0:
        planned["mtu"] = vif.MTU
    if vif.qos_algorithm_type == RATE_LIMIT and (rate := rate_limit(vif.qos_algorithm_params)):
        planned["rate_bytes_per_interval"] = rate * KIB * RATE_INTERVAL_US // 1_000_000
        planned["rate_interval_usecs"] = RATE_INTERVAL_US
    return planned


def rate_limit(params: Mapping[str, str]) -> int:
    """The kB/s that a VIF's guest may send, of the key `kbps`; 0 where it is no such number."""
    text = params.get("kbps", "")
    plain = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_RATE_KBS))
    return int(text) if plain and int(text) <= MAX_RATE_KBS else 0
