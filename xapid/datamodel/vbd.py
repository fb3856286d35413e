"""TODO VBD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    RW,
    Bool,
    Class,
    EnumOf,
    Int,
    MapOf,
    Ref,
    RefTo,
    ROins,
    ROrun,
    SetOf,
    String,
    message,
)
from .enums import VbdMode, VbdOperations, VbdType
from .errors import (
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceAttachTimeout,
    DeviceDetachRejected,
    DeviceDetachTimeout,
    OperationNotAllowed,
    OtherOperationInProgress,
    SRNotAttached,
    VBDIsEmpty,
    VBDNotEmpty,
    VBDNotRemovableMedia,
    VBDNotUnpluggable,
    VBDTrayLocked,
    VDIInUse,
    VDIIsNotISO,
    VDINotAvailable,
    VMBadPowerState,
)

if TYPE_CHECKING:
    from . import vdi


class VBD(
    Class,
    derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record"),
    min_role="vm-admin",
):
    """TODO VBD."""

    uuid = ROrun(String, "TODO uuid.")
    allowed_operations = ROrun(
        SetOf(EnumOf(VbdOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VbdOperations)), "TODO current_operations.", volatile=True
    )
    VM = ROins(RefTo("VM"), "TODO VM.", required=True, inverse="VBDs")
    VDI = ROins(RefTo("VDI"), "TODO VDI.", inverse="VBDs")
    device = ROins(String, "TODO device.")
    userdevice = RW(String, "TODO userdevice.")
    bootable = RW(Bool, "TODO bootable.")
    mode = ROins(EnumOf(VbdMode), "TODO mode.", default=VbdMode.RW, accessors=("set",))
    type = RW(EnumOf(VbdType), "TODO type.", default=VbdType.DISK)
    unpluggable = RW(Bool, "TODO unpluggable.", default=True)
    storage_lock = ROrun(Bool, "TODO storage_lock.")
    empty = ROins(Bool, "TODO empty.")
    other_config = RW(MapOf(String, String), "TODO other_config.")
    currently_attached = ROins(Bool, "TODO currently_attached.")
    status_code = ROrun(Int, "TODO status_code.")
    status_detail = ROrun(String, "TODO status_detail.")
    runtime_properties = ROrun(MapOf(String, String), "TODO runtime_properties.")
    qos_algorithm_type = RW(String, "TODO qos_algorithm_type.")
    qos_algorithm_params = RW(MapOf(String, String), "TODO qos_algorithm_params.")
    qos_supported_algorithms = ROrun(SetOf(String), "TODO qos_supported_algorithms.")
    metrics = ROrun(RefTo("VBD_metrics"), "TODO metrics.")

    @message(
        min_role="vm-admin",
        operation=VbdOperations.PLUG,
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceAlreadyAttached,
            DeviceAttachTimeout,
            VDIInUse,
            SRNotAttached,
            VBDIsEmpty,
        ),
    )
    def plug(self) -> None:
        """TODO plug."""

    @message(
        min_role="vm-admin",
        operation=VbdOperations.UNPLUG,
        raises=(
            DeviceDetachRejected,
            DeviceAlreadyDetached,
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceDetachTimeout,
            VBDNotUnpluggable,
        ),
    )
    def unplug(self) -> None:
        """TODO unplug."""

    @message(
        min_role="vm-admin",
        operation=VbdOperations.UNPLUG_FORCE,
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceAlreadyDetached,
        ),
    )
    def unplug_force(self) -> None:
        """TODO unplug_force."""

    @message(
        min_role="vm-operator",
        this="vbd",
        operation=VbdOperations.INSERT,
        raises=(
            VBDNotRemovableMedia,
            VBDNotEmpty,
            OtherOperationInProgress,
            OperationNotAllowed,
            VDIIsNotISO,
            VDIInUse,
            SRNotAttached,
        ),
    )
    def insert(self, vdi: Ref[vdi.VDI]) -> None:
        """TODO insert.

        vdi: TODO vdi.
        """

    @message(
        min_role="vm-operator",
        this="vbd",
        operation=VbdOperations.EJECT,
        raises=(
            VBDNotRemovableMedia,
            VBDIsEmpty,
            OtherOperationInProgress,
            OperationNotAllowed,
            VBDTrayLocked,
        ),
    )
    def eject(self) -> None:
        """TODO eject."""

    @message(
        min_role="vm-admin",
        raises=(VDIInUse, VDINotAvailable, SRNotAttached, DeviceAlreadyAttached),
    )
    def assert_attachable(self) -> None:
        """TODO assert_attachable."""
