"""GET /healthz: whether the daemon does its work, for load balancers and monitors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from .connection import HEADERS

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

log = structlog.get_logger(__name__)

PATH: Final = "/healthz"
WITHIN_S: Final = 3.0
KEPT_S: Final = 1.0

Check = Callable[[], Awaitable[object]]


class HealthPage:
    """Tries each part when asked, at most once a second, however many ask.

    checks: for each part's name what raises unless it is well. Anybody may ask; the answer says
    which parts are not well, and why only in the log.
    """

    def __init__(self, checks: Mapping[str, Check], *, within_s: float = WITHIN_S) -> None:
        self._checks = checks
        self._within_s = within_s
        self._ill: list[str] = []
        self._looked_at = -KEPT_S
        self._looking = asyncio.Lock()

    async def handle(self, request: BaseRequest, peer: str) -> web.Response:
        """Answer one request."""
        ill = await self.look()
        text = f"not well: {', '.join(ill)}\n" if ill else "ok\n"
        headers = {**HEADERS, "Cache-Control": "no-store"}
        return web.Response(status=503 if ill else 200, text=text, headers=headers)

    async def look(self) -> list[str]:
        """The names of the parts that are not well."""
        async with self._looking:
            if monotonic() - self._looked_at >= KEPT_S:
                found = await asyncio.gather(*map(self._is_ill, self._checks))
                ill = [name for name, bad in zip(self._checks, found, strict=True) if bad]
                if ill != self._ill:
                    log.warning("health", not_well=ill or "nothing")
                self._ill, self._looked_at = ill, monotonic()
            return self._ill

    async def _is_ill(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self._within_s):
                await self._checks[name]()
        except Exception as error:
            log.info("a part is not well", part=name, reason=repr(error))
            return True
        return False
