"""What this host tells of itself: Xen's messages, its log, the report on its state, its methods."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from ...datamodel.declare import Ref
from ...datamodel.errors import (
    HostInUse,
    HostNotDisabled,
    HostNotLive,
    InvalidValue,
    OperationNotAllowed,
    OtherOperationInProgress,
    SystemStatusRetrievalFailed,
)
from ...datamodel.host import Host
from ...datamodel.registry import METHODS
from ...db.text import clean_text, shown
from ...xen.client import XenClient
from ...xen.errors import XenError
from ..ports import Call, implements, implements_static
from . import tarstream
from .machine import LOG_KEPT, Machine
from .report import Reporter, capabilities
from .state import HostStateService, asked
from .tarstream import Entry
from .upload import read_target, send

DEBUG_KEYS: Final = re.compile(r"[0-9A-Za-z*+]{1,32}")
ENDS_XEN: Final = frozenset("CR")
"""Keys that crash or reboot the host at once."""


@dataclass
class HostReportService:
    """state: who knows whether the host may be ended now."""

    xen: XenClient
    machine: Machine
    host: Ref[Host]
    reporter: Reporter
    state: HostStateService

    @implements(Host.dmesg)
    async def dmesg(self, call: Call, host: Ref[Host]) -> str:
        return await self._messages(host, clear=False)

    @implements(Host.dmesg_clear)
    async def dmesg_clear(self, call: Call, host: Ref[Host]) -> str:
        return await self._messages(host, clear=True)

    async def _messages(self, host: Ref[Host], *, clear: bool) -> str:
        self._check_here(host)
        try:
            return end_of(await self.xen.console_read(clear=clear))
        except XenError as error:
            raise SystemStatusRetrievalFailed(
                f"the messages of Xen cannot be read: {clean_text(str(error))}"
            ) from error

    @implements(Host.get_log)
    async def get_log(self, call: Call, host: Ref[Host]) -> str:
        self._check_here(host)
        return end_of(await asked(self.machine.log()))

    @implements(Host.send_debug_keys)
    async def send_debug_keys(self, call: Call, host: Ref[Host], keys: str) -> None:
        """Keys that end the host need what host.reboot needs: disabled, and without guests."""
        self._check_here(host)
        if not DEBUG_KEYS.fullmatch(keys):
            raise InvalidValue("keys", shown(keys))
        if ENDS_XEN.intersection(keys):
            try:
                await self.state.check_unused()
            except (HostNotDisabled, HostInUse, OtherOperationInProgress) as error:
                raise OperationNotAllowed(
                    f"the keys {', '.join(sorted(ENDS_XEN))} end the host at once, "
                    f"which must be disabled and without guests: {error.code}"
                ) from error
        try:
            await self.xen.debug_keys(keys)
        except XenError as error:
            raise OperationNotAllowed(
                f"Xen did not take the keys: {clean_text(str(error))}"
            ) from error

    @implements(Host.get_system_status_capabilities)
    async def get_system_status_capabilities(self, call: Call, host: Ref[Host]) -> str:
        return capabilities()

    @implements(Host.bugreport_upload)
    async def bugreport_upload(
        self, call: Call, host: Ref[Host], url: str, options: Mapping[str, str]
    ) -> None:
        """A tar archive of every part, sent to the URL with PUT."""
        self._check_here(host)
        target = read_target(url, options)
        files = await self.reporter.gather(lambda part: call.progress(0.4 * part))
        changed = self.state.now().timestamp()
        entries = [
            Entry(f"xapid-report/{name}", len(text), changed, partial(_opened, text))
            for name, text in files
        ]
        await send(
            target,
            lambda: tarstream.stream(entries),
            tarstream.length(entries),
            lambda part: call.progress(0.4 + 0.6 * part),
        )

    @implements_static(Host.list_methods)
    async def list_methods(self, call: Call) -> tuple[str, ...]:
        plain = sorted(METHODS)
        return (*plain, *(f"Async.{name}" for name in plain if METHODS[name].asynchronous))

    def _check_here(self, host: Ref[Host]) -> None:
        if host != self.host:
            raise HostNotLive()


def end_of(text: str) -> str:
    """The last whole lines of a text, as many as a task's result can carry."""
    kept = text.encode(errors="replace")[-LOG_KEPT:].decode(errors="ignore")
    if len(kept) < len(text):
        kept = kept[kept.find("\n") + 1 :]
    return clean_text(kept, LOG_KEPT)


def _opened(text: bytes) -> BinaryIO:
    return io.BytesIO(text)
