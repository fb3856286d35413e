"""Consoles of virtual machines."""

from __future__ import annotations

from .declare import RW, Class, EnumOf, MapOf, RefTo, ROrun, String
from .enums import ConsoleProtocol


class Console(
    Class,
    wire="console",
    derived=("create", "destroy", "get_all", "get_all_records", "get_by_uuid", "get_record"),
    min_role="vm-admin",
):
    """A way to see the screen, or to use the terminal, of a VM."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    protocol = ROrun(EnumOf(ConsoleProtocol), "The protocol that the console speaks.")
    location = ROrun(String, "The URI that the console is reached at.")
    VM = ROrun(RefTo("VM"), "The VM whose console it is.", inverse="consoles")
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
