"""TODO PBD."""

from __future__ import annotations

from .declare import RW, Bool, Class, MapOf, RefTo, ROins, ROrun, String, message
from .errors import (
    OtherOperationInProgress,
    SRAttachFailed,
    SRBackendFailure,
    SRUnknownDriver,
    VDIInUse,
)


class PBD(
    Class, derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record")
):
    """TODO PBD."""

    uuid = ROrun(String, "TODO uuid.")
    host = ROins(RefTo("host"), "TODO host.", required=True, inverse="PBDs")
    SR = ROins(RefTo("SR"), "TODO SR.", required=True, inverse="PBDs")
    device_config = ROins(MapOf(String, String), "TODO device_config.", accessors=("set",))
    currently_attached = ROrun(Bool, "TODO currently_attached.")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @message(
        min_role="pool-operator",
        raises=(SRUnknownDriver, OtherOperationInProgress, SRAttachFailed, SRBackendFailure),
    )
    def plug(self) -> None:
        """TODO plug."""

    @message(
        min_role="pool-operator", raises=(OtherOperationInProgress, VDIInUse, SRBackendFailure)
    )
    def unplug(self) -> None:
        """TODO unplug."""
