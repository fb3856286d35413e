"""Crash dumps of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import RW, Class, DateTime, Int, MapOf, RefTo, ROins, ROrun, String, message
from .errors import (
    CannotContactHost,
    InvalidValue,
    OperationNotAllowed,
    TaskCancelled,
    ValueNotSupported,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class HostCrashdump(Class, wire="host_crashdump"):
    """What a host left behind when it crashed."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    host = ROins(RefTo("host"), "The host that crashed.", inverse="crashdumps")
    timestamp = ROrun(DateTime, "When the host crashed.")
    size = ROrun(Int, "Size of the dump in bytes.")
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @message(min_role="pool-operator", raises=(OperationNotAllowed,))
    def destroy(self) -> None:
        """Remove the dump and its record."""

    @message(
        min_role="pool-operator",
        raises=(
            InvalidValue,
            ValueNotSupported,
            CannotContactHost,
            OperationNotAllowed,
            TaskCancelled,
        ),
    )
    def upload(self, url: str, options: Mapping[str, str]) -> None:
        """Upload the dump.

        url: where to upload it to.
        options: options of the upload.
        """
