"""Disks and drives of virtual machines."""

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
    DiskVBDMustBeReadwriteForHVM,
    DomainBuilderError,
    OperationNotAllowed,
    OtherOperationInProgress,
    SRBackendFailure,
    SRNotAttached,
    VBDCDsMustBeReadonly,
    VBDIsEmpty,
    VBDNotEmpty,
    VBDNotRemovableMedia,
    VBDNotUnpluggable,
    VBDTrayLocked,
    VDIIncompatibleType,
    VDIInUse,
    VDIIsNotISO,
    VDIMissing,
    VDINotAvailable,
    VDINotManaged,
    VDIReadonly,
    VMBadPowerState,
)

if TYPE_CHECKING:
    from . import vdi


class VBD(
    Class,
    derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record"),
    min_role="vm-admin",
):
    """A disk or drive of a VM: what joins the VM to an image."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    allowed_operations = ROrun(
        SetOf(EnumOf(VbdOperations)), "The operations that may be started now.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VbdOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    VM = ROins(RefTo("VM"), "The VM that has the device.", required=True, inverse="VBDs")
    VDI = ROins(
        RefTo("VDI"), "The image behind the device; null for an empty drive.", inverse="VBDs"
    )
    device = ROins(
        String, "Name that the guest sees, such as `xvda`; set when the device is plugged."
    )
    userdevice = RW(
        String, "Position asked for: a number from 0, a name such as `xvda`, or `autodetect`."
    )
    bootable = RW(Bool, "True when the guest may boot from the device.")
    mode = ROins(
        EnumOf(VbdMode), "Whether the guest may write.", default=VbdMode.RW, accessors=("set",)
    )
    type = RW(EnumOf(VbdType), "Whether the guest sees a disk or a CD drive.", default=VbdType.DISK)
    unpluggable = RW(Bool, "True when the device may be unplugged from a running VM.", default=True)
    storage_lock = ROrun(Bool, "True while the image is locked for this device.")
    empty = ROins(Bool, "True for a drive without a disc.")
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
    currently_attached = ROins(Bool, "True while the device is plugged into a domain.")
    status_code = ROrun(Int, "Code of the last error; 0 when there is none.")
    status_detail = ROrun(String, "The last error in words.")
    runtime_properties = ROrun(
        MapOf(String, String), "Properties of the device while it is plugged."
    )
    qos_algorithm_type = RW(String, "How access is limited; empty for not at all.")
    qos_algorithm_params = RW(MapOf(String, String), "The parameters of the limit.")
    qos_supported_algorithms = ROrun(SetOf(String), "The values that qos_algorithm_type may have.")
    metrics = ROrun(RefTo("VBD_metrics"), "What is measured of the device.")

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
            DomainBuilderError,
            SRBackendFailure,
            VDIMissing,
            VDIReadonly,
            VDINotManaged,
            VBDCDsMustBeReadonly,
            DiskVBDMustBeReadwriteForHVM,
        ),
    )
    def plug(self) -> None:
        """Plug the device into its running VM."""

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
            DomainBuilderError,
        ),
    )
    def unplug(self) -> None:
        """Ask the guest to let go of the device, and unplug it."""

    @message(
        min_role="vm-admin",
        operation=VbdOperations.UNPLUG_FORCE,
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceAlreadyDetached,
            DomainBuilderError,
            VBDNotUnpluggable,
            DeviceDetachRejected,
            DeviceDetachTimeout,
        ),
    )
    def unplug_force(self) -> None:
        """Take the device away without asking the guest.

        Data that the guest has not written may be lost.
        """

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
            DomainBuilderError,
            SRBackendFailure,
            VDIMissing,
            VDIIncompatibleType,
            VMBadPowerState,
            DeviceAttachTimeout,
        ),
    )
    def insert(self, vdi: Ref[vdi.VDI]) -> None:
        """Put a disc into an empty drive.

        vdi: the image of the disc.
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
            DomainBuilderError,
            VMBadPowerState,
        ),
    )
    def eject(self) -> None:
        """Take the disc out of a drive."""

    @message(
        min_role="vm-admin",
        raises=(
            VDIInUse,
            VDINotAvailable,
            SRNotAttached,
            DeviceAlreadyAttached,
            OtherOperationInProgress,
            OperationNotAllowed,
            VDIMissing,
            VDIReadonly,
            VDINotManaged,
            VBDIsEmpty,
            VBDCDsMustBeReadonly,
            SRBackendFailure,
            VMBadPowerState,
        ),
    )
    def assert_attachable(self) -> None:
        """Fail unless the device could be plugged now; the error says why it could not."""
