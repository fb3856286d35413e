"""What xapid tells systemd (ready, reloading, stopping, still well) and what it is given by it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
)
FIRST_PASSED: Final = 3  # SD_LISTEN_FDS_START


class Supervisor:
    """The systemd that started this process, or nobody: then telling does nothing.

    Its variables are taken out of the environment, so that no child speaks in our name.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._taken = {name: environment.pop(name) for name in _VARIABLES if name in environment}
        self._watchdog: asyncio.Task[None] | None = None

    @property
    def watchdog_s(self) -> float:
        """Within which time systemd wants a sign of life; 0: it does not."""
        if self._taken.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return 0.0
        try:
            return int(self._taken.get("WATCHDOG_USEC", "0")) / 1e6
        except ValueError:
            return 0.0

    def give_back(self) -> None:
        """Put variables and sockets back, for the program that takes this process over."""
        self._environment.update(self._taken)
        for descriptor in self._passed():
            os.set_inheritable(descriptor, True)

    def _passed(self) -> range:
        """The descriptors that are ours, as sd_listen_fds(3) has it."""
        if self._taken.get("LISTEN_PID") != str(os.getpid()):
            return range(0)
        count = self._taken.get("LISTEN_FDS", "")
        return range(FIRST_PASSED, FIRST_PASSED + (int(count) if count.isdecimal() else 0))

    def unix_sockets(self) -> list[socket.socket]:
        """The listening Unix sockets that systemd opened for us, each as a copy.

        Its own descriptors stay open, so that they are still there after `give_back`.
        """
        found = []
        for descriptor in self._passed():
            os.set_inheritable(descriptor, False)
            copy = socket.socket(fileno=os.dup(descriptor))
            kind = (copy.family, copy.type)
            listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if kind == (socket.AF_UNIX, socket.SOCK_STREAM) and listens:
                found.append(copy)
            else:
                log.warning("systemd passed a socket that is no listening Unix socket")
                copy.close()
        return found

    def tell(self, *lines: str) -> None:
        """Send a message; one that cannot be sent is lost."""
        address = self._taken.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return
        if address.startswith("@"):
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd cannot be told", reason=error.strerror)

    def ready(self, status: str) -> None:
        self.tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.tell("STOPPING=1")

    def keep_alive(self, probe: Callable[[], Awaitable[None]]) -> None:
        """From now on give signs of life, each after `probe` has returned in time."""
        if self.watchdog_s:
            self._watchdog = asyncio.create_task(self._feed(probe), name="watchdog")

    async def close(self) -> None:
        """Give no more signs of life."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait((self._watchdog,))

    async def _feed(self, probe: Callable[[], Awaitable[None]]) -> None:
        every_s = self.watchdog_s / 3
        while True:
            try:
                async with asyncio.timeout(every_s):
                    await probe()
            except Exception as error:
                log.error("xapid is not well: systemd gets no sign of life", reason=repr(error))
            else:
                self.tell("WATCHDOG=1")
            await asyncio.sleep(every_s)
