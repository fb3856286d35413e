"""Crash dumps of virtual machines."""

from __future__ import annotations

from .declare import RW, Class, MapOf, RefTo, ROins, ROrun, String, message
from .errors import (
    OperationNotAllowed,
    OtherOperationInProgress,
    SRBackendFailure,
    SRNotAttached,
    VDIInUse,
    VDIMissing,
)


class Crashdump(Class, wire="crashdump"):
    """The memory of a guest at the moment it crashed."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    VM = ROins(RefTo("VM"), "The VM that crashed.", inverse="crash_dumps")
    VDI = ROins(RefTo("VDI"), "The image that holds the memory.", inverse="crash_dumps")
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @message(
        min_role="pool-operator",
        raises=(
            OperationNotAllowed,
            OtherOperationInProgress,
            SRNotAttached,
            VDIInUse,
            SRBackendFailure,
            VDIMissing,
        ),
    )
    def destroy(self) -> None:
        """Remove a crash dump together with its image."""
