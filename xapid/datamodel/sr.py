"""TODO SR."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    EMPTY,
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
from .enums import StorageOperations
from .errors import (
    InvalidValue,
    OtherOperationInProgress,
    SRBackendFailure,
    SRDeviceInUse,
    SRHasPBD,
    SRIndestructible,
    SRNotAttached,
    SRNotEmpty,
    SRNotSharable,
    SRUnknownDriver,
    SRUUIDExists,
    VDIInUse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .host import Host


class SR(
    Class, derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record")
):
    """TODO SR."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = ROins(String, "TODO name_label.", accessors=("set",), this="sr")
    name_description = ROins(String, "TODO name_description.", accessors=("set",), this="sr")
    allowed_operations = ROrun(
        SetOf(EnumOf(StorageOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(StorageOperations)), "TODO current_operations.", volatile=True
    )
    VDIs = ROrun(SetOf(RefTo("VDI")), "TODO VDIs.", inverse="SR")
    PBDs = ROrun(SetOf(RefTo("PBD")), "TODO PBDs.", inverse="SR")
    virtual_allocation = ROrun(Int, "TODO virtual_allocation.")
    physical_utilisation = ROrun(Int, "TODO physical_utilisation.")
    physical_size = ROins(Int, "TODO physical_size.", accessors=("set",))
    type = ROins(String, "TODO type.")
    content_type = ROins(String, "TODO content_type.")
    shared = ROrun(Bool, "TODO shared.", accessors=("set",), this="sr")
    other_config = RW(MapOf(String, String), "TODO other_config.")
    sm_config = RW(MapOf(String, String), "TODO sm_config.")

    @static_message(
        min_role="pool-operator",
        raises=(SRUnknownDriver, SRBackendFailure, SRDeviceInUse, SRNotSharable, InvalidValue),
    )
    @staticmethod
    def create(
        host: Ref[Host],
        device_config: Mapping[str, str],
        physical_size: int,
        name_label: str,
        name_description: str,
        type: str,
        content_type: str,
        shared: bool,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> Ref[SR]:
        """TODO create.

        host: TODO host.
        device_config: TODO device_config.
        physical_size: TODO physical_size.
        name_label: TODO name_label.
        name_description: TODO name_description.
        type: TODO type.
        content_type: TODO content_type.
        shared: TODO shared.
        sm_config: TODO sm_config.
        """

    @static_message(min_role="pool-operator", raises=(SRUnknownDriver, SRUUIDExists))
    @staticmethod
    def introduce(
        uuid: str,
        name_label: str,
        name_description: str,
        type: str,
        content_type: str,
        shared: bool,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> Ref[SR]:
        """TODO introduce.

        uuid: TODO uuid.
        name_label: TODO name_label.
        name_description: TODO name_description.
        type: TODO type.
        content_type: TODO content_type.
        shared: TODO shared.
        sm_config: TODO sm_config.
        """

    @static_message(min_role="pool-operator", raises=(SRUnknownDriver, SRBackendFailure))
    @staticmethod
    def make(
        host: Ref[Host],
        device_config: Mapping[str, str],
        physical_size: int,
        name_label: str,
        name_description: str,
        type: str,
        content_type: str,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> str:
        """TODO make.

        host: TODO host.
        device_config: TODO device_config.
        physical_size: TODO physical_size.
        name_label: TODO name_label.
        name_description: TODO name_description.
        type: TODO type.
        content_type: TODO content_type.
        sm_config: TODO sm_config.
        """

    @message(
        min_role="pool-operator",
        this="sr",
        operation=StorageOperations.DESTROY,
        raises=(SRHasPBD, OtherOperationInProgress, SRNotEmpty, SRIndestructible, SRBackendFailure),
    )
    def destroy(self) -> None:
        """TODO destroy."""

    @message(
        min_role="pool-operator",
        this="sr",
        operation=StorageOperations.FORGET,
        raises=(SRHasPBD, OtherOperationInProgress, VDIInUse),
    )
    def forget(self) -> None:
        """TODO forget."""

    @message(
        min_role="vm-power-admin",
        this="sr",
        operation=StorageOperations.SCAN,
        raises=(OtherOperationInProgress, SRNotAttached, SRBackendFailure),
    )
    def scan(self) -> None:
        """TODO scan."""

    @static_message(min_role="pool-operator", raises=(SRUnknownDriver, SRBackendFailure))
    @staticmethod
    def probe(
        host: Ref[Host],
        device_config: Mapping[str, str],
        type: str,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> str:
        """TODO probe.

        host: TODO host.
        device_config: TODO device_config.
        type: TODO type.
        sm_config: TODO sm_config.
        """

    @static_message(min_role="read-only")
    @staticmethod
    def get_supported_types() -> tuple[str, ...]:
        """TODO get_supported_types."""
