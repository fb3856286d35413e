"""Sessions: who is logged in."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import RW, Bool, Class, DateTime, MapOf, Ref, RefTo, ROrun, String, static_message
from .errors import (
    ChangePasswordRejected,
    HostIsSlave,
    OperationNotAllowed,
    PermissionDenied,
    SessionAuthenticationFailed,
)


class Session(
    Class,
    wire="session",
    derived=("get_by_uuid", "get_record"),
    volatile=True,
    min_role="pool-admin",
):
    """A client that has logged in."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    this_host = ROrun(RefTo("host"), "The host that the client talks to.")
    this_user = ROrun(
        RefTo("user"), "The user who logged in; null when the account is not kept as a user object."
    )
    last_active = ROrun(DateTime, "When the session was last used.")
    pool = ROrun(Bool, "True when a host of the pool opened the session, and not a person.")
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @static_message(
        min_role="read-only", raises=(SessionAuthenticationFailed, HostIsSlave), session=False
    )
    @staticmethod
    def login_with_password(
        uname: str, pwd: str, version: str = "", originator: str = ""
    ) -> Ref[Session]:
        """Log in, and get a session to call other methods with.

        uname: name of the user.
        pwd: password of the user.
        version: the API version that the client was written for; not looked at.
        originator: name of the client program; kept to tell sessions apart.
        """

    @static_message(min_role="read-only")
    @staticmethod
    def logout() -> None:
        """End the session that makes the call."""

    @static_message(raises=(SessionAuthenticationFailed, ChangePasswordRejected, PermissionDenied))
    @staticmethod
    def change_password(old_pwd: str, new_pwd: str) -> None:
        """Change the password of the user who is logged in.

        old_pwd: the password as it is.
        new_pwd: the password as it is to be.
        """

    @static_message(min_role="pool-admin", raises=(OperationNotAllowed,), session=False)
    @staticmethod
    def slave_local_login_with_password(uname: str, pwd: str) -> Ref[Session]:
        """Log in to one host of a pool while its master cannot be reached.

        uname: name of the user.
        pwd: password of the user.
        """

    @static_message(min_role="pool-admin")
    @staticmethod
    def local_logout() -> None:
        """End a session that was opened on one host of a pool alone."""
