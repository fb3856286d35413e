"""The server at the other end: one session, calls by name, and tasks for what takes long."""

from __future__ import annotations

import contextlib
import xmlrpc.client
from collections.abc import Callable
from typing import Any, Final
from xml.parsers import expat

from .failures import Failure, Unreachable
from .transport import TlsConnection, Transport, UnixConnection

ORIGINATOR: Final = "xe"
API_VERSION: Final = "1.1"

_NONSENSE: Final = (ValueError, LookupError, TypeError, xmlrpc.client.Error, expat.ExpatError)
"""What reading an answer raises that is no XML-RPC."""

Connect = Callable[[], UnixConnection | TlsConnection]


class Server:
    """Calls methods of the API within one session.

    connect: makes a new connection, which is opened when it is first used.
    """

    def __init__(self, connect: Connect) -> None:
        self.connect = connect
        self._transport = Transport(connect())
        self.session = ""

    def open(self) -> None:
        """Reach the server, and see that it is trusted. Raises Unreachable, Untrusted."""
        self._transport.open()

    def login(self, user: str, password: str) -> None:
        """Begin the session. Raises Failure, Unreachable, Untrusted."""
        self.session = self.raw(
            "session.login_with_password", user, password, API_VERSION, ORIGINATOR
        )

    def logout(self) -> None:
        """End the session, if there is one; a server that is gone has ended it too."""
        session, self.session = self.session, ""
        if session:
            try:
                self.raw("session.logout", session)
            except Failure:
                pass
            except Unreachable:  # an answer that was broken off blocks the connection
                self.reconnect()
                with contextlib.suppress(Failure, Unreachable):
                    self.raw("session.logout", session)
        self._transport.close()

    def reconnect(self) -> None:
        """Forget an answer that is still to come, and go on with the session."""
        self._transport.close()
        self._transport = Transport(self.connect())

    def raw(self, method: str, *params: Any) -> Any:
        """A call without a session. Raises Failure, Unreachable, Untrusted."""
        body = xmlrpc.client.dumps(params, method)
        try:
            (answer,) = self._transport.request("localhost", "/", body.encode())
        except _NONSENSE as error:
            raise _no_answer(error) from error
        if not isinstance(answer, dict) or "Status" not in answer:
            raise _no_answer(answer)
        if answer["Status"] != "Success":
            raise Failure([str(part) for part in answer.get("ErrorDescription", [])], method)
        return answer.get("Value", "")

    def __call__(self, method: str, *params: Any) -> Any:
        """A call within the session. Raises Failure, Unreachable."""
        return self.raw(method, self.session, *params)


def _no_answer(what: object) -> Unreachable:
    return Unreachable(
        f"what the server answered is no result of the XenAPI ({type(what).__name__}): is it the "
        "right host and port?"
    )
