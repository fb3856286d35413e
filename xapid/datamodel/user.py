"""Users."""

from __future__ import annotations

from .declare import RW, Class, ROins, ROrun, String


class User(
    Class,
    wire="user",
    derived=("create", "destroy", "get_by_uuid", "get_record"),
    min_role="pool-admin",
):
    """A user of the API."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    short_name = ROins(String, "The name that the user logs in with.", required=True)
    fullname = RW(String, "The name shown to people.")
