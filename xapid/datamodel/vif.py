"""TODO VIF."""

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
    CannotPlugVIF,
    DeviceAlreadyAttached,
    DeviceAlreadyDetached,
    DeviceAttachTimeout,
    DeviceDetachTimeout,
    OperationNotAllowed,
    OtherOperationInProgress,
    VMBadPowerState,
)


class VIF(
    Class,
    derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record"),
    min_role="vm-admin",
):
    """TODO VIF."""

    uuid = ROrun(String, "TODO uuid.")
    allowed_operations = ROrun(
        SetOf(EnumOf(VifOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VifOperations)), "TODO current_operations.", volatile=True
    )
    device = ROins(String, "TODO device.", required=True)
    network = ROins(RefTo("network"), "TODO network.", required=True, inverse="VIFs")
    VM = ROins(RefTo("VM"), "TODO VM.", required=True, inverse="VIFs")
    MAC = ROins(String, "TODO MAC.")
    MTU = ROins(Int, "TODO MTU.", default=1500)
    other_config = RW(MapOf(String, String), "TODO other_config.")
    currently_attached = ROins(Bool, "TODO currently_attached.")
    status_code = ROrun(Int, "TODO status_code.")
    status_detail = ROrun(String, "TODO status_detail.")
    runtime_properties = ROrun(MapOf(String, String), "TODO runtime_properties.")
    qos_algorithm_type = RW(String, "TODO qos_algorithm_type.")
    qos_algorithm_params = RW(MapOf(String, String), "TODO qos_algorithm_params.")
    qos_supported_algorithms = ROrun(SetOf(String), "TODO qos_supported_algorithms.")
    metrics = ROrun(RefTo("VIF_metrics"), "TODO metrics.")

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
        ),
    )
    def plug(self) -> None:
        """TODO plug."""

    @message(
        min_role="vm-admin",
        operation=VifOperations.UNPLUG,
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            DeviceAlreadyDetached,
            DeviceDetachTimeout,
        ),
    )
    def unplug(self) -> None:
        """TODO unplug."""
