"""TODO pool_patch."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
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
)
from .enums import AfterApplyGuidance

if TYPE_CHECKING:
    from .host import Host


class PoolPatch(
    Class,
    wire="pool_patch",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """TODO pool_patch."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = ROins(String, "TODO name_label.")
    name_description = ROins(String, "TODO name_description.")
    version = ROins(String, "TODO version.")
    size = ROrun(Int, "TODO size.")
    pool_applied = ROrun(Bool, "TODO pool_applied.")
    host_patches = ROrun(SetOf(RefTo("host_patch")), "TODO host_patches.", inverse="pool_patch")
    after_apply_guidance = ROrun(SetOf(EnumOf(AfterApplyGuidance)), "TODO after_apply_guidance.")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @message(min_role="pool-operator")
    def apply(self, host: Ref[Host]) -> str:
        """TODO apply.

        host: TODO host.
        """

    @message(min_role="pool-operator")
    def pool_apply(self) -> None:
        """TODO pool_apply."""

    @message(min_role="pool-operator")
    def precheck(self, host: Ref[Host]) -> str:
        """TODO precheck.

        host: TODO host.
        """

    @message(min_role="pool-operator")
    def clean(self) -> None:
        """TODO clean."""

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""
