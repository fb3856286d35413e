"""The messages of classes session and user: logging in and out, passwords, accounts."""

from __future__ import annotations

from typing import Final, cast

from ..datamodel.declare import NULL, Field, Ref
from ..datamodel.errors import (
    DBUniquenessConstraintViolation,
    InvalidValue,
    OperationNotAllowed,
    PermissionDenied,
)
from ..datamodel.session import Session
from ..datamodel.user import User
from ..db.store import Store
from ..db.text import shown
from ..log import bind
from ..services.ports import Call, checks, implements, implements_static, overrides
from .accounts import ROOT, Accounts
from .call import ApiCall
from .local_peer import LOCAL_PEER, trusted_name
from .sessions import Sessions

POOL_ADMIN: Final = "pool-admin"


class Logins:
    """Opens and ends sessions.

    group: whose members need no password on the Unix socket, like root.
    """

    def __init__(self, sessions: Sessions, accounts: Accounts, *, group: str = "") -> None:
        self._sessions = sessions
        self._accounts = accounts
        self._group = group

    @implements_static(Session.login_with_password)
    async def login_with_password(
        self, call: Call, uname: str, pwd: str, version: str = "", originator: str = ""
    ) -> Ref[Session]:
        name = await self._known_by_the_kernel(uname) if not pwd else None
        if name is not None:
            user = self._accounts.user(name) or NULL
        else:
            name = uname
            user = await self._accounts.verify(uname, pwd, cast(ApiCall, call).peer)
        bind(user=name)  # for the line about this call
        return self._sessions.begin(user, name, role=POOL_ADMIN)

    async def _known_by_the_kernel(self, uname: str) -> str | None:
        """The account of a trusted process on the Unix socket that gave no password.

        It may name itself, root (as scripts do), or nobody.
        """
        peer = LOCAL_PEER.get()
        name = await trusted_name(peer, self._group) if peer is not None else None
        return name if uname in ("", ROOT, name) else None

    @implements_static(Session.slave_local_login_with_password)
    async def slave_local_login_with_password(
        self, call: Call, uname: str, pwd: str
    ) -> Ref[Session]:
        """There is no master that could be out of reach."""
        raise OperationNotAllowed(
            "this host runs alone and is its own master: use session.login_with_password"
        )

    @implements_static(Session.logout)
    async def logout(self, call: Call) -> None:
        self._sessions.end(call.session)

    @implements_static(Session.local_logout)
    async def local_logout(self, call: Call) -> None:
        self._sessions.end(call.session)

    @implements_static(Session.change_password)
    async def change_password(self, call: Call, old_pwd: str, new_pwd: str) -> None:
        if not call.user:
            raise PermissionDenied("the session belongs to no account with a password")
        await self._accounts.change(call.user, old_pwd, new_pwd, cast(ApiCall, call).peer)


class Users:
    """The objects of class user: an account without a password cannot log in."""

    def __init__(self, store: Store, sessions: Sessions, accounts: Accounts) -> None:
        self._store = store
        self._sessions = sessions
        self._accounts = accounts

    @checks(User.short_name)
    def check_short_name(self, call: Call, user: Ref[User], field: Field[str], name: str) -> None:
        """A user's name is short, printable and nobody else's."""
        if not name or len(name) > 64 or not name.isprintable() or name != name.strip():
            raise InvalidValue("short_name", shown(name))
        if self._accounts.user(name) not in (None, user):
            raise DBUniquenessConstraintViolation("user", "short_name", name)

    @implements(User.set_password)
    async def set_password(self, call: Call, user: Ref[User], password: str) -> None:
        """Whoever knew the old password is out: only the caller's own session goes on."""
        name = self._store.get(user).short_name
        await self._accounts.set(name, password)
        self._sessions.end_user(name, but=call.session)

    @overrides("user.destroy")
    async def destroy(self, call: Call, user: Ref[User]) -> None:
        name = self._store.get(user).short_name
        if name == ROOT:
            raise OperationNotAllowed("root is the account that always exists")
        async with self._store.transaction() as tx:
            tx.destroy(user)
            tx.set_credential(name, None)
        self._sessions.end_user(name)
