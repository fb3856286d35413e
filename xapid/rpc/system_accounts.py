"""The accounts of this host: root and the members of a group, with passwords that PAM checks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Final

import orjson
import structlog

from ..datamodel.declare import NULL, Ref
from ..datamodel.errors import ChangePasswordRejected, SessionAuthenticationFailed, TooBusy
from ..datamodel.user import User
from ..db.store import Store
from . import pam_check
from .accounts import MAX_PASSWORD, MAX_WAITING, Accounts, Throttle
from .call import LOCAL

log = structlog.get_logger(__name__)

SERVICE: Final = "xapid"  # /etc/pam.d/xapid
DEADLINE_S: Final = 20.0
MAX_NAME: Final = 256  # characters
_AT_ONCE: Final = 3
_NOT_HERE: Final = "this is an account of the host: change its password there, with passwd"


class SystemAccounts(Accounts):
    """Users of the host. PAM is asked in a process for each login, which ends at a deadline.

    Peers that failed before share one place, so that however many guess, others find a free one.
    """

    def __init__(
        self,
        store: Store,
        state_dir: Path,
        *,
        group: str,
        service: str = SERVICE,
        deadline_s: float = DEADLINE_S,
        throttle: Throttle | None = None,
        program: tuple[str, ...] = (sys.executable, "-I", "-S", pam_check.__file__),
    ) -> None:
        super().__init__(store, state_dir, throttle=throttle)
        self._group = group
        self._service = service
        self._deadline_s = deadline_s
        self._program = program
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._place_of_suspects = asyncio.Semaphore(1)

    async def prepare(self) -> None:
        """See that root has an object of class user."""
        await self._make_root()

    async def verify(self, name: str, password: str, peer: str) -> Ref[User]:
        """The user's object, or null for one that has none, if the password is theirs.

        Raises SessionAuthenticationFailed, also for a peer that has to wait, and TooBusy.
        """
        self._throttle.check(peer)
        if not _sendable(name, MAX_NAME) or not _sendable(password, MAX_PASSWORD):
            self._throttle.failed(peer)
            raise SessionAuthenticationFailed
        code = await self._ask(name, password, peer)
        if code == pam_check.ACCEPTED:
            self._throttle.succeeded(peer)
            return self.user(name) or NULL
        if code == pam_check.NOT_A_MEMBER:
            log.warning("a login of a user outside the group", peer=peer, group=self._group)
        elif code == pam_check.REFUSED:
            log.warning("a login failed", peer=peer)
        else:
            log.error(
                "PAM cannot be used: see /etc/pam.d/xapid and the journal", peer=peer, code=code
            )
            raise SessionAuthenticationFailed
        self._throttle.failed(peer)
        raise SessionAuthenticationFailed

    async def change(self, name: str, old: str, new: str, peer: str) -> None:
        """Raise ChangePasswordRejected: the host's own tools do this."""
        raise ChangePasswordRejected(_NOT_HERE)

    async def set(self, name: str, new: str) -> None:
        """Raise ChangePasswordRejected: the host's own tools do this."""
        raise ChangePasswordRejected(_NOT_HERE)

    async def _ask(self, name: str, password: str, peer: str) -> int:
        if self._waiting >= MAX_WAITING:
            raise TooBusy
        request = {
            "service": self._service,
            "user": name,
            "password": password,
            "rhost": "" if peer == LOCAL else peer,
            "group": self._group,
        }
        suspect = self._throttle.suspects(peer)
        # Those who wait for the place of suspects do not count: they must not fill the queue.
        place = self._place_of_suspects if suspect else self._places
        if suspect and place.locked():
            raise TooBusy
        self._waiting += 1
        try:
            async with place:
                return await self._run(orjson.dumps(request))
        finally:
            self._waiting -= 1

    async def _run(self, request: bytes) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            cwd="/",
        )
        try:
            async with asyncio.timeout(self._deadline_s):
                await process.communicate(request)
        except TimeoutError:
            log.error("PAM did not answer in time", deadline_s=self._deadline_s)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())
        return process.returncode if process.returncode is not None else pam_check.UNUSABLE


def _sendable(text: str, longest: int) -> bool:
    """Whether PAM can be given a text: it ends at a NUL, and must not be endless."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return False
    return 0 < len(raw) <= longest and b"\0" not in raw
