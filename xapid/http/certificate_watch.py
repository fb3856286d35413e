"""Looks after the certificate while the daemon runs: new files are used, a near end is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from .tls import CERTIFICATE, KEY, RENEW_BEFORE, CertificateUnusable, ends_at, load_certificate

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
TOLD_EVERY_S: Final = 86_400.0

Seen = tuple[tuple[int, int, int] | None, ...]


class CertificateWatch:
    """Compares the files with what was loaded; connections that stand go on with the old pair.

    names: those for a certificate that xapid makes itself. A change is loaded once the
    files are as they were a look before, so that a half-written pair is left alone.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        directory: Path,
        names: Iterable[str],
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._context = context
        self._directory = directory
        self._names = list(names)
        self._every_s = every_s
        self._clock = clock
        self._loaded = self._latest = self._look()
        self._task: asyncio.Task[None] | None = None
        self._next_warning: datetime | None = None
        self.ends = ends_at(directory / CERTIFICATE)
        """When the certificate in use ends."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="certificate")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                self.check(await asyncio.to_thread(self._look))
            except OSError as error:
                log.warning("the certificate cannot be looked after", reason=str(error))

    def load(self, names: Iterable[str] | None = None) -> None:
        """Use the files as they are now. Raises CertificateUnusable, OSError."""
        if names is not None:
            self._names = list(names)
        load_certificate(self._context, self._directory, self._names)
        self._loaded = self._latest = self._look()
        self.ends = ends_at(self._directory / CERTIFICATE)

    def check(self, seen: Seen) -> None:
        """Compare with a look at the files; load a new pair, or one that ends. Raises OSError."""
        settled, self._latest = seen == self._latest, seen
        ending = self.ends - self._clock() < RENEW_BEFORE
        if settled and None not in seen and seen != self._loaded:
            self._try()
        elif ending and self._due():
            self._try()  # which makes a new one where it is ours, and warns where it is not

    def _due(self) -> bool:
        """Whether it is a day since the end was last told of."""
        now = self._clock()
        if self._next_warning is not None and now < self._next_warning:
            return False
        self._next_warning = datetime.fromtimestamp(now.timestamp() + TOLD_EVERY_S, UTC)
        return True

    def _try(self) -> None:
        self._loaded = self._latest
        try:
            self.load()
        except (CertificateUnusable, OSError) as error:
            log.error("the new certificate is not used; the old one stays", reason=str(error))

    def _look(self) -> Seen:
        return tuple(_identity(self._directory / name) for name in (CERTIFICATE, KEY))


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file's content from another's; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
