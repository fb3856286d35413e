"""The ways by which hosts reach storage repositories."""

from __future__ import annotations

from .declare import RW, Bool, Class, MapOf, RefTo, ROins, ROrun, String, message
from .errors import (
    HostNotLive,
    OperationNotAllowed,
    OtherOperationInProgress,
    SRAttachFailed,
    SRBackendFailure,
    SRUnknownDriver,
    VDIInUse,
)


class PBD(
    Class, derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record")
):
    """How one host reaches one storage repository."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    host = ROins(
        RefTo("host"), "The host that reaches the repository.", required=True, inverse="PBDs"
    )
    SR = ROins(RefTo("SR"), "The repository that is reached.", required=True, inverse="PBDs")
    device_config = ROins(
        MapOf(String, String),
        "How the host reaches it, in the words of the driver.",
        accessors=("set",),
    )
    currently_attached = ROrun(Bool, "True while the repository is attached to the host.")
    attach_wanted = ROrun(
        Bool,
        "True from plug to unplug: what cannot be attached at the start is tried again.",
        extension="A host may come up earlier than its storage.",
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @message(
        min_role="pool-operator",
        raises=(
            SRUnknownDriver,
            OtherOperationInProgress,
            SRAttachFailed,
            SRBackendFailure,
            HostNotLive,
            OperationNotAllowed,
        ),
    )
    def plug(self) -> None:
        """Attach the repository to the host."""

    @message(
        min_role="pool-operator",
        raises=(
            OtherOperationInProgress,
            VDIInUse,
            SRBackendFailure,
            HostNotLive,
            OperationNotAllowed,
        ),
    )
    def unplug(self) -> None:
        """Detach the repository from the host. No disk of it may be in use there."""
