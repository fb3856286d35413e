"""Storage repositories."""

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
    HostNotLive,
    InvalidValue,
    OperationNotAllowed,
    OtherOperationInProgress,
    SRBackendFailure,
    SRDeviceInUse,
    SRFull,
    SRHasNoPBDs,
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
    """A storage repository: a place that holds virtual disk images."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = ROins(
        String, "Name shown to people; it need not be unique.", accessors=("set",), this="sr"
    )
    name_description = ROins(
        String, "A longer text shown to people.", accessors=("set",), this="sr"
    )
    allowed_operations = ROrun(
        SetOf(EnumOf(StorageOperations)), "The operations that may be started now.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(StorageOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    VDIs = ROrun(SetOf(RefTo("VDI")), "The images in the repository.", inverse="SR")
    PBDs = ROrun(SetOf(RefTo("PBD")), "How hosts reach the repository.", inverse="SR")
    virtual_allocation = ROrun(Int, "Sum of the sizes of all images in bytes, as guests see them.")
    physical_utilisation = ROrun(Int, "Bytes that are in use on the storage.")
    physical_size = ROins(Int, "Size of the storage in bytes.", accessors=("set",))
    type = ROins(String, "The type of the repository, which is that of its driver.")
    content_type = ROins(
        String, "What the repository is for: empty or `user` for disks, `iso` for discs."
    )
    shared = ROrun(
        Bool,
        "True when several hosts may use the repository at once.",
        accessors=("set",),
        this="sr",
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
    sm_config = RW(MapOf(String, String), "Keys and values for the driver.")

    @static_message(
        min_role="pool-operator",
        raises=(
            SRUnknownDriver,
            SRBackendFailure,
            SRDeviceInUse,
            SRNotSharable,
            InvalidValue,
            HostNotLive,
            OperationNotAllowed,
            SRNotEmpty,
            SRFull,
        ),
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
        """Make a repository on storage, which is wiped, and attach it to the host.

        In a pool, shared storage is attached to every host.

        host: the host that makes it.
        device_config: how the host reaches the storage.
        physical_size: size in bytes; 0 takes all there is.
        name_label: name of the repository.
        name_description: more about the repository.
        type: the type, which is that of a driver.
        content_type: what the repository is for: `user` or `iso`.
        shared: whether several hosts may use it at once.
        sm_config: keys and values for the driver.
        """

    @static_message(
        min_role="pool-operator",
        raises=(
            SRUnknownDriver,
            SRUUIDExists,
            SRNotSharable,
        ),
    )
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
        """Make a record for a repository that exists; PBDs are added and plugged later.

        uuid: identity of the repository.
        name_label: name of the repository.
        name_description: more about the repository.
        type: the type, which is that of a driver.
        content_type: what the repository is for: `user` or `iso`.
        shared: whether several hosts may use it at once.
        sm_config: keys and values for the driver.
        """

    @static_message(
        min_role="pool-operator",
        raises=(
            SRUnknownDriver,
            SRBackendFailure,
            HostNotLive,
            SRNotSharable,
            SRDeviceInUse,
        ),
    )
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
        """Make a repository on storage without a record of it; superseded by SR.create.

        host: the host that makes it.
        device_config: how the host reaches the storage.
        physical_size: size in bytes; 0 takes all there is.
        name_label: name of the repository.
        name_description: more about the repository.
        type: the type, which is that of a driver.
        content_type: what the repository is for: `user` or `iso`.
        sm_config: keys and values for the driver.
        """

    @message(
        min_role="pool-operator",
        this="sr",
        operation=StorageOperations.DESTROY,
        raises=(
            SRHasPBD,
            OtherOperationInProgress,
            SRNotEmpty,
            SRIndestructible,
            SRBackendFailure,
            OperationNotAllowed,
            SRNotAttached,
            SRHasNoPBDs,
            VDIInUse,
        ),
    )
    def destroy(self) -> None:
        """Destroy a repository and all data in it. Its PBDs must be unplugged."""

    @message(
        min_role="pool-operator",
        this="sr",
        operation=StorageOperations.FORGET,
        raises=(
            SRHasPBD,
            OtherOperationInProgress,
            VDIInUse,
            OperationNotAllowed,
        ),
    )
    def forget(self) -> None:
        """Remove the records of a repository, its images and its PBDs; the data stays."""

    @message(
        min_role="vm-power-admin",
        this="sr",
        operation=StorageOperations.SCAN,
        raises=(
            OtherOperationInProgress,
            SRNotAttached,
            SRBackendFailure,
            OperationNotAllowed,
        ),
    )
    def scan(self) -> None:
        """Look for images that appeared, changed or vanished on the storage."""

    @static_message(
        min_role="pool-operator",
        raises=(
            SRUnknownDriver,
            SRBackendFailure,
            HostNotLive,
        ),
    )
    @staticmethod
    def probe(
        host: Ref[Host],
        device_config: Mapping[str, str],
        type: str,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> str:
        """Look what a host can see on storage, and get it as XML.

        host: the host that looks.
        device_config: how the host reaches the storage, as far as it is known.
        type: the type, which is that of a driver.
        sm_config: keys and values for the driver.
        """

    @static_message(min_role="read-only")
    @staticmethod
    def get_supported_types() -> tuple[str, ...]:
        """Get the types of repository that there are drivers for."""
