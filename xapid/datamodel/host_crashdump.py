"""TODO host_crashdump."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import RW, Class, DateTime, Int, MapOf, RefTo, ROins, ROrun, String, message

if TYPE_CHECKING:
    from collections.abc import Mapping


class HostCrashdump(Class, wire="host_crashdump"):
    """TODO host_crashdump."""

    uuid = ROrun(String, "TODO uuid.")
    host = ROins(RefTo("host"), "TODO host.", inverse="crashdumps")
    timestamp = ROrun(DateTime, "TODO timestamp.")
    size = ROrun(Int, "TODO size.")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""

    @message(min_role="pool-operator")
    def upload(self, url: str, options: Mapping[str, str]) -> None:
        """TODO upload.

        url: TODO url.
        options: TODO options.
        """
