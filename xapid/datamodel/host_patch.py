"""Patches as they stand on a host."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import RW, Bool, Class, DateTime, Int, MapOf, RefTo, ROins, ROrun, String, message
from .errors import PatchApplyFailed, PatchIsApplied
from .pool_patch import UNFIT


class HostPatch(
    Class,
    wire="host_patch",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """A patch as it stands on one host."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = ROins(String, "Name shown to people; it need not be unique.")
    name_description = ROins(String, "A longer text shown to people.")
    version = ROins(String, "The version of the patch.")
    host = ROins(RefTo("host"), "The host that has the patch.", inverse="patches")
    applied = ROrun(Bool, "True when the patch has been applied.")
    timestamp_applied = ROrun(DateTime, "When the patch was applied.")
    size = ROrun(Int, "Size of the patch in bytes.")
    pool_patch = ROins(
        RefTo("pool_patch"), "The patch as the pool knows it.", inverse="host_patches"
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @message(min_role="pool-operator", raises=(PatchIsApplied,))
    def destroy(self) -> None:
        """Remove the patch from the disk of the host."""

    @message(min_role="pool-operator", raises=(*UNFIT, PatchApplyFailed))
    def apply(self) -> str:
        """Apply the patch, and get the output of its script."""
