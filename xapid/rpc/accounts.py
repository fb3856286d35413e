"""The embedded accounts: whose password opens the door, and how often one may try."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import stat
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..datamodel.declare import Ref
from ..datamodel.errors import ChangePasswordRejected, SessionAuthenticationFailed, TooBusy
from ..datamodel.user import User
from ..db.store import Store
from .addresses import one_client
from .call import LOCAL

R = TypeVar("R")

log = structlog.get_logger(__name__)

ROOT: Final = "root"
PASSWORD_FILE: Final = "root-password"  # noqa: S105 - a file's name
MAX_PASSWORD: Final = 1024  # bytes
MAX_WAITING: Final = 32  # logins that wait for their turn
_CHEAP_FAILURES: Final = 5
_LONGEST_PAUSE_S: Final = 60.0
_MAX_PEERS: Final = 10_000


class PasswordFileUnsafe(Exception):  # noqa: N818
    """The root-password file is not one that only the daemon's user can read."""


class Throttle:
    """Makes a peer that fails again and again wait longer and longer before its next try."""

    def __init__(self, time: Callable[[], float] = monotonic) -> None:
        self._time = time
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, peer: str) -> None:
        """Raise SessionAuthenticationFailed while the peer has to wait."""
        count, last = self._failures.get(one_client(peer), (0, 0.0))
        if count < _CHEAP_FAILURES:
            return
        pause = min(2.0 ** (count - _CHEAP_FAILURES), _LONGEST_PAUSE_S)
        if self._time() - last < pause:
            raise SessionAuthenticationFailed

    def suspects(self, peer: str) -> bool:
        """Whether the peer's last try failed."""
        return one_client(peer) in self._failures

    def failed(self, peer: str) -> None:
        if peer == LOCAL:  # only root and a group that needs no password can reach that socket
            return
        group = one_client(peer)
        count, _ = self._failures.pop(group, (0, 0.0))
        self._failures[group] = (min(count + 1, 64), self._time())
        if len(self._failures) > _MAX_PEERS:
            self._failures.popitem(last=False)

    def succeeded(self, peer: str) -> None:
        self._failures.pop(one_client(peer), None)


class Accounts:
    """Users with a password of xapid's own, hashed with argon2id.

    Hashing takes memory and time on purpose: one at a time, in a thread of its own, and only so
    many may wait. An unknown user costs as much as a wrong password.
    """

    def __init__(
        self,
        store: Store,
        state_dir: Path,
        *,
        hasher: PasswordHasher | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._store = store
        self._password_file = state_dir / PASSWORD_FILE
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._throttle = throttle or Throttle()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._nobody = ""

    async def prepare(self) -> None:
        """See that root exists and has a password. Raises PasswordFileUnsafe, OSError."""
        self._nobody = await self._hash(secrets.token_urlsafe(16))
        await self._make_root()
        if self._store.credential(ROOT) is None:
            password = await asyncio.to_thread(_first_password, self._password_file)
            await self._store.set_credential(ROOT, await self._hash(password))
            log.info("root can log in", password_file=str(self._password_file))

    async def _make_root(self) -> None:
        if self.user(ROOT) is None:
            async with self._store.transaction() as tx:
                tx.create(User, {User.short_name: ROOT, User.fullname: "Superuser"})

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def user(self, name: str) -> Ref[User] | None:
        """The user of that name."""
        for user in self._store.all(User):
            if user.short_name == name:
                return user.ref
        return None

    async def verify(self, name: str, password: str, peer: str) -> Ref[User]:
        """The user, if the password is theirs.

        Raises SessionAuthenticationFailed, also for a peer that has to wait, and TooBusy.
        """
        self._throttle.check(peer)
        user, stored = self.user(name), self._store.credential(name)
        if user is None or stored is None:
            user, stored = None, self._nobody
        right = len(password.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD
        right = await self._matches(stored, password if right else "") and right
        if user is None or not right:
            self._throttle.failed(peer)
            log.warning("a login failed", peer=peer)
            raise SessionAuthenticationFailed
        self._throttle.succeeded(peer)
        return user

    async def change(self, name: str, old: str, new: str, peer: str) -> None:
        """Give a user another password.

        Raises SessionAuthenticationFailed when `old` is wrong, ChangePasswordRejected, TooBusy.
        """
        await self.verify(name, old, peer)
        await self.set(name, new)

    async def set(self, name: str, new: str) -> None:
        """Give a user a password, whatever the old one was. Raises ChangePasswordRejected."""
        size = len(new.encode("utf-8", "surrogatepass"))
        if not new:
            raise ChangePasswordRejected("the new password is empty")
        if size > MAX_PASSWORD:
            raise ChangePasswordRejected(f"the new password is longer than {MAX_PASSWORD} bytes")
        await self._store.set_credential(name, await self._hash(new))
        if name == ROOT:
            await asyncio.to_thread(self._password_file.unlink, missing_ok=True)

    async def _matches(self, stored: str, password: str) -> bool:
        def verify() -> bool:
            try:
                return self._hasher.verify(stored, password)
            except (VerificationError, InvalidHashError):
                return False

        return await self._in_turn(verify)

    async def _hash(self, password: str) -> str:
        return await self._in_turn(lambda: self._hasher.hash(password))

    async def _in_turn(self, work: Callable[[], R]) -> R:
        if self._waiting >= MAX_WAITING:
            raise TooBusy
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1


def _first_password(path: Path) -> str:
    """The content of the root-password file, which is made with a random one if missing."""
    with contextlib.suppress(FileNotFoundError):
        return _read_private(path)
    password = secrets.token_urlsafe(18)
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(password + "\n")
        file.flush()
        os.fsync(descriptor)
    partial.replace(path)
    return password


def _read_private(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor) as file:
        found = os.fstat(descriptor)
        private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
        if not private or found.st_uid != os.geteuid():
            raise PasswordFileUnsafe(f"{path} must be a file of mode 0600 owned by xapid's user")
        password = file.read(MAX_PASSWORD + 1).strip("\n")
    if not password or len(password.encode()) > MAX_PASSWORD:
        raise PasswordFileUnsafe(f"{path} must hold one line of 1 to {MAX_PASSWORD} bytes")
    return password
