"""Virtual disk images."""

# mypy: disable-error-code="empty-body"
# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    EMPTY,
    NEVER,
    NULL,
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
    static_message,
)
from .enums import VdiOperations, VdiType
from .errors import (
    DBUniquenessConstraintViolation,
    InvalidValue,
    LocationNotUnique,
    OperationNotAllowed,
    OtherOperationInProgress,
    SRBackendFailure,
    SRFull,
    SRNotAttached,
    SROperationNotSupported,
    VDIInUse,
    VDILocationMissing,
    VDIMissing,
    VDINotSparse,
    VDIReadonly,
    VDITooSmall,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from . import sr
    from .pool import Pool


class VDI(
    Class,
    derived=(
        "create",
        "destroy",
        "get_all",
        "get_all_records",
        "get_by_name_label",
        "get_by_uuid",
        "get_record",
    ),
    min_role="vm-admin",
):
    """A virtual disk image."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = ROins(String, "Name shown to people; it need not be unique.", accessors=("set",))
    name_description = ROins(String, "A longer text shown to people.", accessors=("set",))
    allowed_operations = ROrun(
        SetOf(EnumOf(VdiOperations)), "The operations that may be started now.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VdiOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    SR = ROins(RefTo("SR"), "The repository that holds the image.", required=True, inverse="VDIs")
    VBDs = ROrun(SetOf(RefTo("VBD")), "The disks and drives that use the image.", inverse="VDI")
    crash_dumps = ROrun(
        SetOf(RefTo("crashdump")), "The crash dumps that are stored in the image.", inverse="VDI"
    )
    virtual_size = ROins(
        Int, "Size in bytes that a guest sees; drivers may round it up.", required=True
    )
    physical_utilisation = ROrun(Int, "Bytes that the image takes on the storage.")
    type = ROins(EnumOf(VdiType), "What the image is for.", default=VdiType.USER)
    sharable = ROins(Bool, "True when several VMs may write to the image at once.")
    read_only = ROins(Bool, "True when nobody may write to the image.", accessors=("set",))
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
    storage_lock = ROrun(Bool, "True while the image is locked on the storage.")
    location = ROrun(String, "Where the image is in its repository, in the words of the driver.")
    managed = ROrun(
        Bool,
        "False for what the driver keeps for itself, such as the base of clones.",
        default=True,
    )
    missing = ROrun(Bool, "True when the last scan did not find the data.")
    parent = ROrun(RefTo("VDI"), "The image that this one depends on; null for none.")
    xenstore_data = RW(
        MapOf(String, String), "Keys and values to write into xenstore where a VM uses the image."
    )
    sm_config = RW(MapOf(String, String), "Keys and values for the driver.")

    @static_message(
        min_role="vm-admin",
        raises=(
            SROperationNotSupported,
            SRNotAttached,
            LocationNotUnique,
            DBUniquenessConstraintViolation,
            VDILocationMissing,
            SRBackendFailure,
            VDIMissing,
            OperationNotAllowed,
            OtherOperationInProgress,
        ),
    )
    @staticmethod
    def introduce(
        uuid: str,
        name_label: str,
        name_description: str,
        SR: Ref[sr.SR],
        type: VdiType,
        sharable: bool,
        read_only: bool,
        other_config: Mapping[str, str],
        location: str,
        xenstore_data: Mapping[str, str] = EMPTY,
        sm_config: Mapping[str, str] = EMPTY,
        managed: bool = True,
        virtual_size: int = 0,
        physical_utilisation: int = 0,
        metadata_of_pool: Ref[Pool] = NULL,
        is_a_snapshot: bool = False,
        snapshot_time: datetime = NEVER,
        snapshot_of: Ref[VDI] = NULL,
    ) -> Ref[VDI]:
        """Make a record for an image that exists in a repository.

        uuid: identity of the image.
        name_label: name of the image.
        name_description: more about the image.
        SR: the repository that holds it.
        type: what the image is for.
        sharable: whether several VMs may write to it at once.
        read_only: whether nobody may write to it.
        other_config: keys and values for the clients' own use.
        location: where the image is, in the words of the driver.
        xenstore_data: keys and values to write into xenstore.
        sm_config: keys and values for the driver.
        managed: whether clients may use the image.
        virtual_size: size in bytes; 0 asks the driver.
        physical_utilisation: bytes on the storage; 0 asks the driver.
        metadata_of_pool: the pool whose metadata the image holds; not looked at.
        is_a_snapshot: whether the image is a snapshot; not looked at.
        snapshot_time: when the snapshot was taken; not looked at.
        snapshot_of: the image that the snapshot is of; not looked at.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.CLONE,
        raises=(
            OtherOperationInProgress,
            SRFull,
            SRNotAttached,
            SROperationNotSupported,
            VDIInUse,
            SRBackendFailure,
            VDIMissing,
            OperationNotAllowed,
        ),
    )
    def clone(self, driver_params: Mapping[str, str] = EMPTY) -> Ref[VDI]:
        """Make an image with the same contents that either shares data or is a copy.

        driver_params: keys and values for the driver.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.COPY,
        raises=(
            VDIReadonly,
            VDITooSmall,
            VDINotSparse,
            OtherOperationInProgress,
            SRFull,
            SRNotAttached,
            SROperationNotSupported,
            VDIInUse,
            SRBackendFailure,
            VDIMissing,
            OperationNotAllowed,
        ),
    )
    def copy(
        self, sr: Ref[sr.SR] = NULL, base_vdi: Ref[VDI] = NULL, into_vdi: Ref[VDI] = NULL
    ) -> Ref[VDI]:
        """Make a full copy of an image, in the same or another repository.

        sr: the repository for the copy; null when into_vdi is given.
        base_vdi: copy only what differs from this image; null for all.
        into_vdi: an image to overwrite; null makes a new one.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.SNAPSHOT,
        raises=(
            OtherOperationInProgress,
            SRFull,
            SRNotAttached,
            SROperationNotSupported,
            SRBackendFailure,
            VDIMissing,
            OperationNotAllowed,
            VDIInUse,
        ),
    )
    def snapshot(self, driver_params: Mapping[str, str] = EMPTY) -> Ref[VDI]:
        """Make a read-only image that keeps the contents as they are now.

        driver_params: keys and values for the driver.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.RESIZE,
        raises=(
            OtherOperationInProgress,
            SRFull,
            SRNotAttached,
            SROperationNotSupported,
            VDIInUse,
            VDIReadonly,
            VDITooSmall,
            InvalidValue,
            SRBackendFailure,
            VDIMissing,
            OperationNotAllowed,
        ),
    )
    def resize(self, size: int) -> None:
        """Change the size of an image that no running VM uses.

        size: the new size in bytes, not less than the old one.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.RESIZE_ONLINE,
        raises=(
            OtherOperationInProgress,
            SRFull,
            SRNotAttached,
            SROperationNotSupported,
            VDIReadonly,
            VDITooSmall,
            SRBackendFailure,
            VDIMissing,
            OperationNotAllowed,
            VDIInUse,
        ),
    )
    def resize_online(self, size: int) -> None:
        """Change the size of an image while a VM uses it.

        size: the new size in bytes, not less than the old one.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.FORGET,
        raises=(
            OtherOperationInProgress,
            VDIInUse,
            VDIMissing,
            OperationNotAllowed,
            SRNotAttached,
        ),
    )
    def forget(self) -> None:
        """Remove the record of an image; its data stays."""
