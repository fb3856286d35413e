"""Network interfaces of virtual machines."""

from __future__ import annotations

from .declare import (
    RW,
    Bool,
    Class,
    EnumOf,
    Int,
    MapOf,
    RefTo,
    ROins,
    ROrun,
    SetOf,
    String,
    message,
)
from .enums import VifOperations
from .errors import (
    BridgeNotAvailable,
    CannotPlugVIF,
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceAttachTimeout,
    DeviceDetachRejected,
    DeviceDetachTimeout,
    DomainBuilderError,
    OperationNotAllowed,
    OtherOperationInProgress,
    VMBadPowerState,
)


class VIF(
    Class,
    derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record"),
    min_role="vm-admin",
):
    """A network interface of a VM."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    allowed_operations = ROrun(
        SetOf(EnumOf(VifOperations)), "The operations that may be started now.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VifOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    device = ROins(String, "Position of the interface in the VM, counted from 0.", required=True)
    network = ROins(
        RefTo("network"), "The network that the interface is on.", required=True, inverse="VIFs"
    )
    VM = ROins(RefTo("VM"), "The VM that has the interface.", required=True, inverse="VIFs")
    MAC = ROins(String, "Ethernet address of the interface; made up when it is not given.")
    MTU = ROins(Int, "Size of the largest packet in bytes.", default=1500)
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
    currently_attached = ROins(Bool, "True while the interface is plugged into a domain.")
    status_code = ROrun(Int, "Code of the last error; 0 when there is none.")
    status_detail = ROrun(String, "The last error in words.")
    runtime_properties = ROrun(
        MapOf(String, String), "Properties of the interface while it is plugged."
    )
    qos_algorithm_type = RW(
        String, "How traffic is limited; empty for not at all, `ratelimit` for a rate."
    )
    qos_algorithm_params = RW(MapOf(String, String), "The parameters of the limit, such as `kbps`.")
    qos_supported_algorithms = ROrun(SetOf(String), "The values that qos_algorithm_type may have.")
    metrics = ROrun(RefTo("VIF_metrics"), "What is measured of the interface.")

    @message(
        min_role="vm-admin",
        operation=VifOperations.PLUG,
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceAlreadyAttached,
            DeviceAttachTimeout,
            CannotPlugVIF,
            DomainBuilderError,
            BridgeNotAvailable,
        ),
    )
    def plug(self) -> None:
        """Plug the interface into its running VM."""

    @message(
        min_role="vm-admin",
        operation=VifOperations.UNPLUG,
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceAlreadyDetached,
            DeviceDetachTimeout,
            DomainBuilderError,
            DeviceDetachRejected,
        ),
    )
    def unplug(self) -> None:
        """Unplug the interface from its running VM."""
