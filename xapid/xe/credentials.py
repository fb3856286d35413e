"""Where passwords come from: a file, the keyring or a prompt; never the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from .failures import Refused, UsageError

KEYRING_S: Final = 10.0
MAX_FILE: Final = 4096
ON_COMMAND_LINE: Final = (
    "a password on the command line can be read by everybody on this machine and stays in the "
    "shell's history: leave it out to be asked for it, or put it into a file that only you can "
    "read and say -pwf FILE"
)


class Account(NamedTuple):
    """Who logs in; an empty name leaves it as it was asked for."""

    user: str
    password: str


def read_password_file(path: Path) -> Account:
    """The password in a file of one line, or user and password in one of two.

    Raises UsageError: the file cannot be read, or others can read it as well.
    """
    lines = read_secret(path).split("\n")
    if len(lines) == 1:
        return Account("", lines[0])
    if len(lines) == 2:
        return Account(lines[0].strip(), lines[1])
    raise UsageError(f"{path}: a password file has one line, or two with the user in the first")


def read_secret(path: Path) -> str:
    """The content of a file that only its owner may read; `-` is the standard input."""
    if str(path) == "-":
        return sys.stdin.read(MAX_FILE).rstrip("\n")
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise UsageError(f"{path} can be read by others: chmod 600 {path}, and try again")
            return file.read(MAX_FILE).rstrip("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def from_keyring(server: str, user: str) -> str | None:
    """The password in the desktop's keyring (libsecret), if there is one for this server."""
    program = shutil.which("secret-tool")
    if program is None or "DBUS_SESSION_BUS_ADDRESS" not in os.environ:
        return None
    command = [program, "lookup", "xapid-server", server, "xapid-user", user]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=KEYRING_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.rstrip("\n") or None if done.returncode == 0 else None


def prompted(question: str) -> str:
    """What somebody types, unseen. Raises Refused where nobody is there to type."""
    import getpass  # only here: it is seldom needed

    try:
        with Path("/dev/tty").open():
            pass
    except OSError as error:
        raise Refused(
            f"there is no terminal to ask for it: {question.rstrip(': ')}; give a file instead"
        ) from error
    return getpass.getpass(question)
