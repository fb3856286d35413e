"""What a VBD may be: device numbers, modes and media, checked before a record is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...datamodel.declare import NULL, Field
from ...datamodel.enums import DomainType, VbdMode, VbdType, VdiType
from ...datamodel.errors import (
    DeviceAlreadyExists,
    HandleInvalid,
    InvalidDevice,
    InvalidValue,
    OtherOperationInProgress,
    ValueNotSupported,
    VBDCDsMustBeReadonly,
    VBDNotRemovableMedia,
    VDIIncompatibleType,
    VDIReadonly,
)
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vm import VM
from ...xen.devices import check_vm
from ...xen.plan import MAX_DISKS, device_index, domain_type, vdev
from ..ports import View
from .rules import READERS

AUTODETECT = frozenset({"", "autodetect"})
OF_GUESTS = frozenset({VdiType.SYSTEM, VdiType.USER, VdiType.EPHEMERAL, VdiType.CRASHDUMP})
CREATED_WITH = (VBD.VM, VBD.VDI, VBD.bootable, VBD.mode, VBD.type, VBD.unpluggable,
                VBD.other_config)  # fmt: skip


def planned_vbd(view: View, values: Mapping[str, Any]) -> dict[Field[Any], Any]:
    """The fields of a new VBD from what a client gave.

    Raises INVALID_DEVICE, DEVICE_ALREADY_EXISTS, VBD_CDS_MUST_BE_READONLY, VDI_READONLY,
    VBD_NOT_REMOVABLE_MEDIA, VDI_INCOMPATIBLE_TYPE, VM_BAD_POWER_STATE ...
    """
    planned: dict[Field[Any], Any] = {
        field: values.get(field.name, field.default) for field in CREATED_WITH
    }
    vm = view.get(planned[VBD.VM])
    check_vm(vm)
    check_qos(values.get("qos_algorithm_type", ""))
    _check_medium(view, planned, empty=values.get("empty", False))
    planned[VBD.userdevice] = _free_device(view, vm, values, planned[VBD.type])
    return planned


def _check_medium(view: View, planned: dict[Field[Any], Any], *, empty: bool) -> None:
    kind, mode = planned[VBD.type], planned[VBD.mode]
    if kind is VbdType.CD and mode is VbdMode.RW:
        raise VBDCDsMustBeReadonly()
    if empty:
        planned[VBD.VDI] = NULL
    planned[VBD.empty] = planned[VBD.VDI] == NULL
    if planned[VBD.empty]:
        if kind is VbdType.DISK:
            raise VBDNotRemovableMedia(NULL) if empty else HandleInvalid("VDI", NULL)
        return
    vdi = view.get(planned[VBD.VDI])
    check_kind(vdi)
    if mode is VbdMode.RW and vdi.read_only:
        raise VDIReadonly(vdi.ref)
    for task, running in vdi.current_operations.items():
        if running not in READERS:
            raise OtherOperationInProgress("VDI", vdi.ref, running, task)


def check_qos(algorithm: str) -> None:
    """No backend of this host can share out a disk yet. Raises VALUE_NOT_SUPPORTED."""
    if algorithm:
        raise ValueNotSupported("qos_algorithm_type", algorithm, "this host has none for disks")


def check_kind(vdi: VDI) -> None:
    """Whether guests may have such a disk at all. Raises VDI_INCOMPATIBLE_TYPE."""
    if vdi.type not in OF_GUESTS:
        raise VDIIncompatibleType(vdi.ref, str(vdi.type))


def check_device(vm: VM, userdevice: str, *, is_cd: bool) -> int:
    """The number of a device of this VM. Raises INVALID_DEVICE."""
    try:
        vdev(userdevice, domain_type(vm), is_cd=is_cd)
        return device_index(userdevice)
    except InvalidValue as error:
        raise InvalidDevice(userdevice[:64]) from error


def _free_device(view: View, vm: VM, values: Mapping[str, Any], kind: VbdType) -> str:
    is_cd = kind is VbdType.CD
    taken = {check_device(vm, view.get(ref).userdevice, is_cd=False) for ref in vm.VBDs}
    wanted: str = values.get("userdevice", "")
    if wanted not in AUTODETECT:
        if check_device(vm, wanted, is_cd=is_cd) in taken:
            raise DeviceAlreadyExists(wanted)
        return wanted
    limit = 4 if is_cd and domain_type(vm) is DomainType.HVM else MAX_DISKS
    for index in range(limit):
        if index not in taken:
            return str(index)
    raise InvalidDevice(wanted)
