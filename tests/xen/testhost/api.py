"""The XenAPI over HTTPS from outside the host, by Python's own client or the XenAPI package."""

from __future__ import annotations

import ssl
import xmlrpc.client
from contextlib import suppress
from typing import Any, Protocol


class ApiError(Exception):
    """A call that the server refused; details is ErrorDescription as it came."""

    def __init__(self, method: str, details: list[str]) -> None:
        super().__init__(method, details)
        self.method = method
        self.details = details

    @property
    def code(self) -> str:
        return self.details[0]

    def __str__(self) -> str:
        return f"{self.method}: {self.details}"


class Api(Protocol):
    """A logged-in client."""

    @property
    def session(self) -> str:
        """The session's reference."""

    def call(self, method: str, *arguments: Any) -> Any:
        """The value that method gives, called with the session first. Raises ApiError."""

    def close(self) -> None:
        """Log out, if the server still knows the session, and close the connection."""


class _Transport(xmlrpc.client.SafeTransport):
    """HTTPS to a server that made its certificate itself, with an end to waiting."""

    def __init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(context=context)

    def make_connection(self, host: Any) -> Any:
        connection = super().make_connection(host)
        connection.timeout = 400
        return connection


class PlainApi:
    """xmlrpc.client and nothing else."""

    def __init__(self, port: int, password: str) -> None:
        self._server = xmlrpc.client.ServerProxy(
            f"https://127.0.0.1:{port}/", transport=_Transport()
        )
        try:
            self._session = str(self._value("session.login_with_password", "root", password))
        except ApiError:
            self._server("close")()
            raise

    @property
    def session(self) -> str:
        return self._session

    def _value(self, method: str, *arguments: Any) -> Any:
        answer: Any = getattr(self._server, method)(*arguments)
        if answer["Status"] != "Success":
            raise ApiError(method, answer["ErrorDescription"])
        return answer["Value"]

    def call(self, method: str, *arguments: Any) -> Any:
        return self._value(method, self._session, *arguments)

    def end_session(self, session: str) -> None:
        """Log another client out, whatever it waits for."""
        self._value("session.logout", session)

    def close(self) -> None:
        with suppress(ApiError, OSError):
            self.call("session.logout")
        self._server("close")()


class PackageApi:
    """The XenAPI package from PyPI."""

    def __init__(self, port: int, password: str) -> None:
        import XenAPI  # type: ignore[import-untyped]

        self._failure = XenAPI.Failure
        self._client = XenAPI.Session(f"https://127.0.0.1:{port}", ignore_ssl=True)
        self._client.xenapi.login_with_password("root", password, "1.1", "xapid tests")

    @property
    def session(self) -> str:
        return str(self._client.handle)

    def call(self, method: str, *arguments: Any) -> Any:
        function = self._client.xenapi
        for part in method.split("."):
            function = getattr(function, part)
        try:
            return function(*arguments)
        except self._failure as error:
            raise ApiError(method, error.details) from None

    def close(self) -> None:
        with suppress(self._failure, OSError):
            self._client.xenapi.session.logout()
        self._client("close")()
