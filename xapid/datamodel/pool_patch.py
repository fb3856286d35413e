"""Patches as the pool knows them."""

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
from .errors import (
    CannotFindPatch,
    HostNotLive,
    InvalidPatch,
    OutOfSpace,
    PatchAlreadyApplied,
    PatchApplyFailed,
    PatchIsApplied,
    PatchPrecheckFailedPrerequisiteMissing,
    PatchPrecheckFailedUnknownError,
    PatchPrecheckFailedWrongServerVersion,
    TaskCancelled,
)

if TYPE_CHECKING:
    from .host import Host


UNFIT = (
    HostNotLive,
    CannotFindPatch,
    InvalidPatch,
    OutOfSpace,
    PatchAlreadyApplied,
    PatchPrecheckFailedPrerequisiteMissing,
    PatchPrecheckFailedUnknownError,
    PatchPrecheckFailedWrongServerVersion,
    TaskCancelled,
)
"""Why a patch may not be applied to a host."""


class PoolPatch(
    Class,
    wire="pool_patch",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """A patch that was uploaded to the pool and can be applied to its hosts."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = ROins(String, "Name shown to people; it need not be unique.")
    name_description = ROins(String, "A longer text shown to people.")
    version = ROins(String, "The version of the patch.")
    size = ROrun(Int, "Size of the patch in bytes.")
    pool_applied = ROrun(Bool, "True when every host of the pool has the patch.")
    host_patches = ROrun(
        SetOf(RefTo("host_patch")),
        "The patch as it stands on each host that has it.",
        inverse="pool_patch",
    )
    after_apply_guidance = ROrun(
        SetOf(EnumOf(AfterApplyGuidance)), "What must be restarted before the patch takes effect."
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @message(min_role="pool-operator", raises=(*UNFIT, PatchApplyFailed))
    def apply(self, host: Ref[Host]) -> str:
        """Apply the patch to a host, and get the output of its script.

        host: the host to patch.
        """

    @message(min_role="pool-operator", raises=(*UNFIT, PatchApplyFailed))
    def pool_apply(self) -> None:
        """Apply the patch to every host that does not have it."""

    @message(min_role="pool-operator", raises=UNFIT)
    def precheck(self, host: Ref[Host]) -> str:
        """Check whether the patch can be applied to a host, and get the output of the check.

        host: the host to check.
        """

    @message(min_role="pool-operator")
    def clean(self) -> None:
        """Remove the file of the patch, and keep its record."""

    @message(min_role="pool-operator", raises=(PatchIsApplied,))
    def destroy(self) -> None:
        """Remove the file and the record of a patch that is applied nowhere."""
