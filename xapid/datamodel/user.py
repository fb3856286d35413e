"""TODO user."""

from __future__ import annotations

from .declare import RW, Class, ROins, ROrun, String


class User(
    Class,
    wire="user",
    derived=("create", "destroy", "get_by_uuid", "get_record"),
    min_role="pool-admin",
):
    """TODO user."""

    uuid = ROrun(String, "TODO uuid.")
    short_name = ROins(String, "TODO short_name.", required=True)
    fullname = RW(String, "TODO fullname.")
