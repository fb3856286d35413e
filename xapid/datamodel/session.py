"""TODO session."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from .declare import RW, Bool, Class, DateTime, MapOf, Ref, RefTo, ROrun, String, static_message
from .errors import (
    ChangePasswordRejected,
    HostIsSlave,
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
    """TODO session."""

    uuid = ROrun(String, "TODO uuid.")
    this_host = ROrun(RefTo("host"), "TODO this_host.")
    this_user = ROrun(RefTo("user"), "TODO this_user.")
    last_active = ROrun(DateTime, "TODO last_active.")
    pool = ROrun(Bool, "TODO pool.")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @static_message(
        min_role="read-only", raises=(SessionAuthenticationFailed, HostIsSlave), session=False
    )
    @staticmethod
    def login_with_password(
        uname: str, pwd: str, version: str = "", originator: str = ""
    ) -> Ref[Session]:
        """TODO login_with_password.

        uname: TODO uname.
        pwd: TODO pwd.
        version: TODO version.
        originator: TODO originator.
        """

    @static_message(min_role="read-only")
    @staticmethod
    def logout() -> None:
        """TODO logout."""

    @static_message(raises=(SessionAuthenticationFailed, ChangePasswordRejected, PermissionDenied))
    @staticmethod
    def change_password(old_pwd: str, new_pwd: str) -> None:
        """TODO change_password.

        old_pwd: TODO old_pwd.
        new_pwd: TODO new_pwd.
        """

    @static_message(min_role="pool-admin", session=False)
    @staticmethod
    def slave_local_login_with_password(uname: str, pwd: str) -> Ref[Session]:
        """TODO slave_local_login_with_password.

        uname: TODO uname.
        pwd: TODO pwd.
        """

    @static_message(min_role="pool-admin")
    @staticmethod
    def local_logout() -> None:
        """TODO local_logout."""
