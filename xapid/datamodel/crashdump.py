"""TODO crashdump."""

from __future__ import annotations

from .declare import RW, Class, MapOf, RefTo, ROins, ROrun, String, message


class Crashdump(Class, wire="crashdump"):
    """TODO crashdump."""

    uuid = ROrun(String, "TODO uuid.")
    VM = ROins(RefTo("VM"), "TODO VM.", inverse="crash_dumps")
    VDI = ROins(RefTo("VDI"), "TODO VDI.", inverse="crash_dumps")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""
