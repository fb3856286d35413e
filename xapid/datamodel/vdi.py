"""TODO VDI."""

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
    InvalidValue,
    LocationNotUnique,
    OtherOperationInProgress,
    SRFull,
    SRNotAttached,
    SROperationNotSupported,
    VDIInUse,
    VDILocationMissing,
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
    """TODO VDI."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = ROins(String, "TODO name_label.", accessors=("set",))
    name_description = ROins(String, "TODO name_description.", accessors=("set",))
    allowed_operations = ROrun(
        SetOf(EnumOf(VdiOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VdiOperations)), "TODO current_operations.", volatile=True
    )
    SR = ROins(RefTo("SR"), "TODO SR.", required=True, inverse="VDIs")
    VBDs = ROrun(SetOf(RefTo("VBD")), "TODO VBDs.", inverse="VDI")
    crash_dumps = ROrun(SetOf(RefTo("crashdump")), "TODO crash_dumps.", inverse="VDI")
    virtual_size = ROins(Int, "TODO virtual_size.", required=True)
    physical_utilisation = ROrun(Int, "TODO physical_utilisation.")
    type = ROins(EnumOf(VdiType), "TODO type.", default=VdiType.USER)
    sharable = ROins(Bool, "TODO sharable.")
    read_only = ROins(Bool, "TODO read_only.", accessors=("set",))
    other_config = RW(MapOf(String, String), "TODO other_config.")
    storage_lock = ROrun(Bool, "TODO storage_lock.")
    location = ROrun(String, "TODO location.")
    managed = ROrun(Bool, "TODO managed.", default=True)
    missing = ROrun(Bool, "TODO missing.")
    parent = ROrun(RefTo("VDI"), "TODO parent.")
    xenstore_data = RW(MapOf(String, String), "TODO xenstore_data.")
    sm_config = RW(MapOf(String, String), "TODO sm_config.")

    @static_message(
        min_role="vm-admin",
        raises=(SROperationNotSupported, SRNotAttached, LocationNotUnique, VDILocationMissing),
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
        """TODO introduce.

        uuid: TODO uuid.
        name_label: TODO name_label.
        name_description: TODO name_description.
        SR: TODO SR.
        type: TODO type.
        sharable: TODO sharable.
        read_only: TODO read_only.
        other_config: TODO other_config.
        location: TODO location.
        xenstore_data: TODO xenstore_data.
        sm_config: TODO sm_config.
        managed: TODO managed.
        virtual_size: TODO virtual_size.
        physical_utilisation: TODO physical_utilisation.
        metadata_of_pool: TODO metadata_of_pool.
        is_a_snapshot: TODO is_a_snapshot.
        snapshot_time: TODO snapshot_time.
        snapshot_of: TODO snapshot_of.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.CLONE,
        raises=(OtherOperationInProgress, SRFull, SRNotAttached, SROperationNotSupported, VDIInUse),
    )
    def clone(self, driver_params: Mapping[str, str] = EMPTY) -> Ref[VDI]:
        """TODO clone.

        driver_params: TODO driver_params.
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
            VDIInUse,
        ),
    )
    def copy(
        self, sr: Ref[sr.SR] = NULL, base_vdi: Ref[VDI] = NULL, into_vdi: Ref[VDI] = NULL
    ) -> Ref[VDI]:
        """TODO copy.

        sr: TODO sr.
        base_vdi: TODO base_vdi.
        into_vdi: TODO into_vdi.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.SNAPSHOT,
        raises=(OtherOperationInProgress, SRFull, SRNotAttached, SROperationNotSupported),
    )
    def snapshot(self, driver_params: Mapping[str, str] = EMPTY) -> Ref[VDI]:
        """TODO snapshot.

        driver_params: TODO driver_params.
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
        ),
    )
    def resize(self, size: int) -> None:
        """TODO resize.

        size: TODO size.
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
        ),
    )
    def resize_online(self, size: int) -> None:
        """TODO resize_online.

        size: TODO size.
        """

    @message(
        min_role="vm-admin",
        this="vdi",
        operation=VdiOperations.FORGET,
        raises=(OtherOperationInProgress, VDIInUse),
    )
    def forget(self) -> None:
        """TODO forget."""
