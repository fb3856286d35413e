"""How calls travel: XML-RPC over HTTP, on a Unix socket or on TLS to a certificate we trust."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .failures import Unreachable

if TYPE_CHECKING:
    from .trust import Trust

CONNECT_S: Final = 10.0
ANSWER_S: Final = 300.0
"""How long one answer may take; what takes longer runs as a task, which is waited for in turns."""

SOCKETS: Final = (Path("/run/xapid/xapid.sock"), Path("/var/lib/xcp/xapi"))
USER_AGENT: Final = "xe"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(CONNECT_S)
            connection.connect(str(self._path))
            connection.settimeout(ANSWER_S)
        except OSError as error:
            connection.close()
            raise Unreachable(_why_no_socket(self._path, error)) from error
        self.sock = connection


class TlsConnection(http.client.HTTPConnection):
    """HTTP over TLS; nothing is sent before the certificate was found good."""

    def __init__(self, host: str, port: int, trust: Trust) -> None:
        super().__init__(host, port, timeout=CONNECT_S)
        self._trust = trust

    def connect(self) -> None:
        try:
            connection = self._trust.connect(CONNECT_S)
        except OSError as error:
            raise Unreachable(
                f"{self.host} does not answer on port {self.port} ({_reason(error)}): check the "
                "address, and that xapid serves https there (listen.https in its settings)"
            ) from error
        connection.settimeout(ANSWER_S)
        self.sock = connection


class Transport(xmlrpc.client.Transport):
    """The wire of `xmlrpc.client` on connections of ours. Raises Unreachable, Untrusted."""

    user_agent = USER_AGENT
    accept_gzip_encoding = False

    def __init__(self, place: UnixConnection | TlsConnection) -> None:
        super().__init__()
        self._place = place

    def open(self) -> None:
        """Connect now. Raises Unreachable, Untrusted."""
        self._place.connect()

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        self._connection = host, self._place
        return self._place

    def request(
        self, host: Any, handler: str, request_body: Any, verbose: bool = False
    ) -> tuple[Any, ...]:
        """Send a call once: one that the server may have carried out is never repeated."""
        try:
            return self.single_request(host, handler, request_body, verbose)
        except xmlrpc.client.ProtocolError as error:
            self.close()
            raise Unreachable(
                f"the server answered with HTTP {error.errcode} ({error.errmsg}) instead of a "
                "result: is it one that speaks the XenAPI?"
            ) from error
        except TimeoutError as error:
            self.close()
            raise Unreachable(
                f"the server did not answer within {ANSWER_S:.0f} s; look with `xe task-list` "
                "what it does"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(
                f"the connection broke ({_reason(error)}): the server may have restarted; look "
                "what was done before you repeat the command"
            ) from error


def upload(place: UnixConnection | TlsConnection, path: str, source: Path) -> tuple[int, str]:
    """PUT a file's content; the status and the body of the answer. Raises Unreachable, OSError."""
    with source.open("rb") as file:
        try:
            headers = {"Content-Length": str(source.stat().st_size), "User-Agent": USER_AGENT}
            place.request("PUT", path, body=file, headers=headers)
            answer = place.getresponse()
            return answer.status, answer.read(1 << 20).decode(errors="replace").strip()
        except http.client.HTTPException as error:
            raise Unreachable(f"the upload broke off ({_reason(error)})") from error
        finally:
            place.close()


def local_socket(candidates: Iterable[Path] = SOCKETS) -> Path:
    """The first Unix socket that is there. Raises Unreachable."""
    tried = list(candidates)
    for path in tried:
        try:
            if path.is_socket():
                return path
        except PermissionError as error:
            raise Unreachable(_why_no_socket(path, error)) from error
    raise Unreachable(
        f"xapid does not run on this host (there is no {' and no '.join(map(str, tried))}): start "
        "it with `systemctl start xapid`, or name another host with -s HOST"
    )


def _why_no_socket(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return (
            f"you may not use {path}: run xe as root or as a member of the group xapid, or log in "
            "over the network with -s HOST -u USER"
        )
    return f"xapid does not answer on {path} ({_reason(error)}): see `systemctl status xapid`"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
