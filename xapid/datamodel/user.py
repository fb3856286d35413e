"""Users."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import RW, Class, ROins, ROrun, String, message
from .errors import ChangePasswordRejected


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

    @message(
        min_role="pool-admin",
        raises=(ChangePasswordRejected,),
        extension="The specification lets users change a password but nobody give them the first.",
    )
    def set_password(self, password: str) -> None:
        """Give a user a password, with which it can log in; its sessions end.

        password: the new password, of 1 to 1024 bytes.
        """
