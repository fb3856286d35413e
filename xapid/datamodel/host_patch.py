"""TODO host_patch."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import RW, Bool, Class, DateTime, Int, MapOf, RefTo, ROins, ROrun, String, message


class HostPatch(
    Class,
    wire="host_patch",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """TODO host_patch."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = ROins(String, "TODO name_label.")
    name_description = ROins(String, "TODO name_description.")
    version = ROins(String, "TODO version.")
    host = ROins(RefTo("host"), "TODO host.", inverse="patches")
    applied = ROrun(Bool, "TODO applied.")
    timestamp_applied = ROrun(DateTime, "TODO timestamp_applied.")
    size = ROrun(Int, "TODO size.")
    pool_patch = ROins(RefTo("pool_patch"), "TODO pool_patch.", inverse="host_patches")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""

    @message(min_role="pool-operator")
    def apply(self) -> str:
        """TODO apply."""
