"""Virtual TPM devices."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import Class, Record, Ref, RefTo, ROins, ROrun, String, message, static_message
from .errors import (
    DeviceAlreadyExists,
    OperationNotAllowed,
    VMBadPowerState,
)


class VTPM(Class, derived=("get_by_uuid", "get_record"), min_role="vm-admin"):
    """A virtual TPM of a VM."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    VM = ROins(RefTo("VM"), "The VM that has the TPM.", required=True, inverse="VTPMs")
    backend = ROins(RefTo("VM"), "The domain that the TPM is served from.")

    @static_message(
        min_role="vm-admin", raises=(DeviceAlreadyExists, OperationNotAllowed, VMBadPowerState)
    )
    @staticmethod
    def create(args: Record[VTPM]) -> Ref[VTPM]:
        """Make a virtual TPM for a VM.

        args: the values of the fields that can be given.
        """

    @message(min_role="vm-admin", raises=(OperationNotAllowed, VMBadPowerState))
    def destroy(self) -> None:
        """Destroy a virtual TPM and the secrets in it."""
