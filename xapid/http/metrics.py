"""GET /metrics: the daemon's figures, for those who may see them."""

from __future__ import annotations

import asyncio
import hmac
import os
import stat
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from ..prometheus import CONTENT_TYPE, Registry
from ..rpc.call import LOCAL
from .connection import HEADERS, plain

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

log = structlog.get_logger(__name__)

PATH: Final = "/metrics"
KEPT_S: Final = 1.0
SHORTEST_TOKEN: Final = 16  # bytes
LONGEST_TOKEN: Final = 512

Network = IPv4Network | IPv6Network


class MetricsPage:
    """Answers peers on the Unix socket, configured addresses, and over TLS who has the token.

    To everybody else there is nothing here.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._networks: tuple[Network, ...] = ()
        self._token: bytes | None = None
        self._made_at = -KEPT_S
        self._text = ""
        self._making = asyncio.Lock()

    def allow(self, networks: Sequence[Network], token_file: Path | None) -> None:
        """Say who may see the figures, from the next request on; a bad token file lets nobody."""
        self._networks = tuple(networks)
        try:
            self._token = read_token(token_file) if token_file is not None else None
        except (OSError, ValueError) as error:
            self._token = None
            log.error("nobody sees the figures by a token", path=str(token_file), reason=str(error))

    async def handle(self, request: BaseRequest, peer: str) -> web.Response:
        """Answer one request."""
        if not (peer == LOCAL or self._is_known(peer) or self._has_token(request)):
            return plain(404, "there is nothing here")
        async with self._making:
            if monotonic() - self._made_at >= KEPT_S:
                self._text = await self._registry.text()
                self._made_at = monotonic()
        body = self._text.encode("utf-8", "replace")
        return web.Response(body=body, headers={**HEADERS, "Content-Type": CONTENT_TYPE})

    def _is_known(self, peer: str) -> bool:
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def _has_token(self, request: BaseRequest) -> bool:
        """Whether the token came, over TLS: what came in the clear is nobody's secret."""
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        over_tls = request.transport and request.transport.get_extra_info("ssl_object")
        if self._token is None or kind.lower() != "bearer" or not over_tls:
            return False
        return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)


def read_token(path: Path) -> bytes:
    """The token in a file that others cannot read. Raises OSError, ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & stat.S_IRWXO:
            raise ValueError("it must be a file that others cannot read (mode 0640 or 0600)")
        token = file.read(LONGEST_TOKEN + 1).strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise ValueError(f"a token has {SHORTEST_TOKEN} to {LONGEST_TOKEN} bytes")
    return token
