"""Reaching the server that the options name, and beginning and ending the session there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .credentials import Account, from_keyring, prompted, read_password_file
from .failures import Failure, Refused, UsageError
from .options import Options
from .server import Connect, Server
from .transport import SOCKETS, TlsConnection, UnixConnection, local_socket

ROOT: Final = "root"
DENIED: Final = "SESSION_AUTHENTICATION_FAILED"


@contextlib.contextmanager
def connected(options: Options, *, silent: bool = False) -> Iterator[Server]:
    """A server with a session, which ends with the block however that ends.

    silent: nobody is asked for anything. Raises Unreachable, Untrusted, UsageError, Refused.
    """
    server = Server(_connect(options, silent=silent))
    try:
        server.open()  # before a password is asked for
        _log_in(server, options, silent=silent)
        yield server
    finally:
        server.logout()


def _connect(options: Options, *, silent: bool) -> Connect:
    if not options.server:
        path = Path(options.socket) if options.socket else local_socket(SOCKETS)
        return lambda: UnixConnection(path)
    if options.socket:
        raise UsageError("-s HOST and --socket PATH name two servers: choose one")
    from .trust import (
        Trust,
        known_hosts_file,
        read_fingerprint,
    )  # only here: TLS takes long to load

    host, port = options.server.strip("[]"), options.port_number
    trust = Trust(
        host,
        port,
        file=known_hosts_file(),
        ask=_nobody if silent else _ask,
        ca=Path(options.ca) if options.ca else None,
        expected=read_fingerprint(options.fingerprint) if options.fingerprint else "",
        accept_new=options.trust_new and not silent,
    )
    return lambda: TlsConnection(host, port, trust)


def _nobody(_: str) -> bool:
    return False


def _ask(question: str) -> bool:
    """Ask at the terminal, if there is one at both ends."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{question} [yes/no] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _log_in(server: Server, options: Options, *, silent: bool) -> None:
    """Log in with what was given, else as the kernel knows us, else ask for a password."""
    account = _given(options)
    user = options.user or account.user or ROOT
    try:
        if account.password or not options.server:
            try:
                return server.login(user, account.password)
            except Failure as failure:
                if account.password or silent or failure.code != DENIED:
                    raise
        if silent:
            raise Refused("a password is needed")
        server.login(user, prompted(f"Password of {user} on {options.server or 'this host'}: "))
    except Failure as failure:
        if failure.code == DENIED:
            raise Refused(
                f"{options.server or 'this host'} does not let {user} in with this password: try "
                "again, or name another user with -u"
            ) from failure
        raise Refused(f"the login failed: {' '.join((failure.code, *failure.parameters))}") from (
            failure
        )


def _given(options: Options) -> Account:
    """User and password from -pwf, XE_PASSWORD_FILE or the keyring, as far as they are there."""
    path = options.password_file or os.environ.get("XE_PASSWORD_FILE", "")
    if path:
        return read_password_file(Path(path).expanduser())
    if options.server:
        found = from_keyring(options.server, options.user or ROOT)
        if found:
            return Account("", found)
    return Account("", "")
