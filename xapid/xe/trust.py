"""Which servers are trusted: their certificates' fingerprints, kept at the first use."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .failures import Untrusted, UsageError

FINGERPRINT: Final = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){31}")
_HEAD: Final = (
    "# Servers that xe trusts: HOST:PORT and the SHA-256 fingerprint of its certificate\n"
)

Ask = Callable[[str], bool]
"""Asks a person yes or no; False as well where nobody is there."""


def known_hosts_file() -> Path:
    """Where the fingerprints are kept, for the user who runs `xe`."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "xapid" / "known_hosts"


def read_fingerprint(text: str) -> str:
    """A fingerprint as people write it, in its usual form. Raises UsageError."""
    plain = re.sub(r"^sha-?256[=: ]*", "", text.strip(), flags=re.IGNORECASE).upper()
    if re.fullmatch(r"[0-9A-F]{64}", plain):
        plain = ":".join(re.findall("..", plain))
    if not FINGERPRINT.fullmatch(plain):
        raise UsageError(f"{text!r} is not a SHA-256 fingerprint: 32 pairs of hexadecimal digits")
    return plain


def fingerprint_of(certificate: bytes) -> str:
    """What a person compares, of a certificate in DER; as xapid writes it to its log."""
    return hashlib.sha256(certificate).digest().hex(":").upper()


class Trust:
    """Decides about one server's certificate.

    ca: a file of certificates that vouch for the server; then nothing else counts.
    expected: the fingerprint that the certificate must have.
    accept_new: trust a server that was never seen without asking.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        file: Path,
        ask: Ask,
        ca: Path | None = None,
        expected: str = "",
        accept_new: bool = False,
    ) -> None:
        self._host = host
        self._port = port
        self._file = file
        self._ask = ask
        self._ca = ca
        self._expected = expected
        self._accept_new = accept_new

    @property
    def name(self) -> str:
        """The server as it stands in the file."""
        host = self._host.lower()
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def connect(self, timeout_s: float) -> ssl.SSLSocket:
        """A connection to the server, once it is trusted. Raises Untrusted, OSError."""
        pinned = self._expected or ("" if self._ca else self._remembered())
        if pinned:
            return self._compared(self._handshake(_unchecked(), timeout_s), pinned)
        try:
            return self._handshake(self._checked(), timeout_s)
        except ssl.SSLCertVerificationError as error:
            if self._ca is not None:
                raise Untrusted(
                    f"the certificate of {self.name} is not one that {self._ca} vouches for "
                    f"({error.verify_message}): give the right file with --ca"
                ) from error
            why = error.verify_message
        return self._met_first(self._handshake(_unchecked(), timeout_s), why)

    def _handshake(self, context: ssl.SSLContext, timeout_s: float) -> ssl.SSLSocket:
        plain = socket.create_connection((self._host, self._port), timeout_s)
        try:
            return context.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise

    def _checked(self) -> ssl.SSLContext:
        """A context that wants the certificate vouched for, by the file or by the system."""
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise UsageError(f"--ca {self._ca}: {error.strerror or error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _compared(self, connection: ssl.SSLSocket, pinned: str) -> ssl.SSLSocket:
        found = _fingerprint(connection)
        if found == pinned:
            return connection
        connection.close()
        if self._expected:
            raise Untrusted(
                f"the certificate of {self.name} has the fingerprint {found}, not the one that was "
                "asked for: nothing was sent"
            )
        raise Untrusted(
            f"the certificate of {self.name} is not the one of last time: somebody may be reading "
            f"along, or it was replaced. Nothing was sent. Its fingerprint is {found}; compare it "
            "on the host (`openssl x509 -noout -sha256 -fingerprint -in "
            f"/etc/xapid/tls/server.crt`), and if it is right remove the line of {self.name} from "
            f"{self._file}"
        )

    def _met_first(self, connection: ssl.SSLSocket, why: str) -> ssl.SSLSocket:
        found = _fingerprint(connection)
        question = (
            f"{self.name} shows a certificate that no authority of this system vouches for "
            f"({why}).\nIts SHA-256 fingerprint is\n  {found}\n"
            "Compare it with the one in xapid's log on that host. Trust it from now on?"
        )
        if not self._accept_new and not self._ask(question):
            connection.close()
            raise Untrusted(
                f"{self.name} is not trusted yet, and nothing was sent: compare its fingerprint "
                f"{found} with the host's, then say --fingerprint {found}, or use --ca FILE"
            )
        self._remember(found)
        return connection

    def _remembered(self) -> str:
        try:
            lines = self._file.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Untrusted(f"{self._file} cannot be read: {error.strerror}") from error
        for line in lines:
            name, _, rest = line.partition(" ")
            if name == self.name:
                return read_fingerprint(rest)
        return ""

    def _remember(self, fingerprint: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = not self._file.exists()
            with os.fdopen(os.open(self._file, flags, 0o600), "a", encoding="ascii") as file:
                file.write((_HEAD if new else "") + f"{self.name} sha256={fingerprint}\n")
        except (OSError, ValueError) as error:
            raise Untrusted(f"{self._file} cannot be written: {error}") from error


def _unchecked() -> ssl.SSLContext:
    """A context for a certificate that is compared by its fingerprint before anything is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _fingerprint(connection: ssl.SSLSocket) -> str:
    certificate = connection.getpeercert(binary_form=True)
    if not certificate:
        connection.close()
        raise Untrusted("the server showed no certificate")
    return fingerprint_of(certificate)
