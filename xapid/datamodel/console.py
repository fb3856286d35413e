"""TODO console."""

from __future__ import annotations

from .declare import RW, Class, EnumOf, MapOf, RefTo, ROrun, String
from .enums import ConsoleProtocol


class Console(
    Class,
    wire="console",
    derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record"),
    min_role="vm-admin",
):
    """TODO console."""

    uuid = ROrun(String, "TODO uuid.")
    protocol = ROrun(EnumOf(ConsoleProtocol), "TODO protocol.")
    location = ROrun(String, "TODO location.")
    VM = ROrun(RefTo("VM"), "TODO VM.", inverse="consoles")
    other_config = RW(MapOf(String, String), "TODO other_config.")
