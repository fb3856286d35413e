"""Sending a file to a URL that a client gave: PUT over http or https, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from ...datamodel.errors import (
    CannotContactHost,
    InvalidValue,
    OperationNotAllowed,
    ValueNotSupported,
)
from ...db.text import shown
from ...version import VERSION

MAX_URL: Final = 2048
OPTIONS: Final = frozenset({"http_proxy", "ca_certificates"})
_SCHEMES: Final = ("http", "https")


@dataclass(frozen=True)
class Target:
    """Where to send to: checked, and without what may be secret in `host`, for messages."""

    url: str
    host: str
    proxy: str | None
    tls: ssl.SSLContext | None


@dataclass(frozen=True)
class Deadlines:
    """connect_s: until the other side answers at all. idle_s: between two blocks. total_s: all."""

    connect_s: float = 30.0
    idle_s: float = 60.0
    total_s: float = 6 * 3600.0


def read_target(url: str, options: Mapping[str, str]) -> Target:
    """Check a client's URL and options.

    http_proxy: URL of a proxy. ca_certificates: PEM of the authorities to trust for https instead
    of the system's. Raises INVALID_VALUE, VALUE_NOT_SUPPORTED.
    """
    for name in options:
        if name not in OPTIONS:
            reason = f"the options are {', '.join(sorted(OPTIONS))}"
            raise ValueNotSupported("options", shown(name), reason)
    host = _check_url("url", url, _SCHEMES)
    proxy = options.get("http_proxy") or None
    if proxy is not None:
        _check_url("options:http_proxy", proxy, ("http",))
    return Target(url, host, proxy, _tls(url, options.get("ca_certificates", "")))


def _check_url(field: str, url: str, schemes: tuple[str, ...]) -> str:
    """The host of a plain URL. Raises INVALID_VALUE, without repeating what may be secret."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidValue(field, "not a plain URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidValue(field, "not a URL") from error
    if parts.scheme not in schemes:
        raise InvalidValue(field, f"{shown(parts.scheme)}: only {' and '.join(schemes)} are used")
    if not host or parts.fragment:
        raise InvalidValue(field, "a URL of a file on a host is needed")
    return host


def _tls(url: str, authorities: str) -> ssl.SSLContext | None:
    if not url.startswith("https:"):
        return None
    try:
        return ssl.create_default_context(cadata=authorities or None)
    except ssl.SSLError as error:
        raise InvalidValue("options:ca_certificates", "not PEM certificates") from error


async def send(
    target: Target,
    body: Callable[[], AsyncIterator[bytes]],
    length: int,
    progress: Callable[[float], None],
    deadlines: Deadlines = Deadlines(),
) -> None:
    """PUT `length` bytes. Redirects are not followed: the body goes where the client said.

    Raises CANNOT_CONTACT_HOST, OPERATION_NOT_ALLOWED with what the other side answered.
    """
    timeout = aiohttp.ClientTimeout(total=deadlines.total_s, sock_connect=deadlines.connect_s)
    headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
    headers["User-Agent"] = f"xapid/{VERSION}"
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        try:
            async with (
                asyncio.timeout(deadlines.connect_s + deadlines.idle_s) as watch,
                session.put(
                    target.url,
                    data=_counted(body(), length, progress, watch, deadlines.idle_s),
                    headers=headers,
                    allow_redirects=False,
                    proxy=target.proxy,
                    ssl=target.tls or True,
                ) as answer,
            ):
                status, reason = answer.status, answer.reason or ""
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotContactHost(f"{target.host} ({_why(error)})") from error
    if not 200 <= status < 300:
        raise OperationNotAllowed(
            f"{target.host} did not take the upload: HTTP {status} {shown(reason)}"
        )


async def _counted(
    chunks: AsyncIterator[bytes],
    length: int,
    progress: Callable[[float], None],
    watch: asyncio.Timeout,
    idle_s: float,
) -> AsyncIterator[bytes]:
    """The chunks; each that is taken gives the other side `idle_s` more."""
    sent, loop = 0, asyncio.get_running_loop()
    async for chunk in chunks:
        yield chunk
        sent += len(chunk)
        progress(sent / max(1, length))
        with contextlib.suppress(RuntimeError):  # the answer came before the body was sent
            watch.reschedule(loop.time() + idle_s)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long to answer"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number) if number and number > 0 else "no connection"
    return type(error).__name__
