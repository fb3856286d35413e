"""The rules of what clients put into a host's settings: its name, its logging, its licence."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ...datamodel.errors import (
    HostNameInvalid,
    InvalidValue,
    LicenseProcessingError,
    ValueNotSupported,
)
from ...db.text import is_valid_text, shown
from .machine import LogDestination

MAX_HOSTNAME: Final = 64  # Linux's HOST_NAME_MAX
MAX_LICENCE: Final = 32 << 10
MAX_LICENCE_LINES: Final = 64
SYSLOG_PORT: Final = 514

_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LICENCE_LINE: Final = re.compile(r"([a-z][a-z0-9_-]{0,63})\s*=\s*(.{0,1024})")


def check_hostname(name: str) -> None:
    """A name as RFC 1123 has it, short enough for the kernel. Raises HOST_NAME_INVALID."""
    if not name:
        raise HostNameInvalid("it is empty")
    if len(name) > MAX_HOSTNAME:
        raise HostNameInvalid(f"it is longer than {MAX_HOSTNAME} characters")
    if not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise HostNameInvalid("each part between dots is made of letters, digits and inner hyphens")
    if name.replace(".", "").isdigit():
        raise HostNameInvalid("a name of digits alone would be taken for an address")


def log_destination(logging: Mapping[str, str]) -> LogDestination | None:
    """What `syslog_destination` (HOST, HOST:PORT or [IPv6]:PORT) and `syslog_protocol` ask for.

    Raises INVALID_VALUE, VALUE_NOT_SUPPORTED.
    """
    wanted = logging.get("syslog_destination", "")
    if not wanted:
        return None
    address, port = _split(wanted)
    if not _is_address(address) and not _is_name(address):
        raise InvalidValue("logging:syslog_destination", shown(wanted))
    protocol = logging.get("syslog_protocol", "udp")
    if protocol == "udp":
        return LogDestination(address, port, "udp")
    if protocol == "tcp":
        return LogDestination(address, port, "tcp")
    raise ValueNotSupported("logging:syslog_protocol", shown(protocol), "it is udp or tcp")


def _split(wanted: str) -> tuple[str, int]:
    if _is_address(wanted):
        return wanted, SYSLOG_PORT
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?", wanted)
    if found is None or not 0 < int(found[3] or SYSLOG_PORT) < 65536:
        raise InvalidValue("logging:syslog_destination", shown(wanted))
    return found[1] or found[2], int(found[3] or SYSLOG_PORT)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a scope would go into rsyslog's file unchecked


def _is_name(text: str) -> bool:
    return len(text) <= 253 and all(_LABEL.fullmatch(label) for label in text.split("."))


def read_licence(contents: str, now: datetime) -> dict[str, str]:
    """What a licence file says: lines `name=value`, and comments that begin with #.

    contents: the file in base64. `expiry` must be a date (YYYY-MM-DD) that has not passed.
    Raises LICENSE_PROCESSING_ERROR.
    """
    try:
        text = base64.b64decode("".join(contents.split()), validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise LicenseProcessingError() from error
    lines = [line.strip() for line in text.splitlines()]
    matches = [_LICENCE_LINE.fullmatch(line) for line in lines if line and line[0] != "#"]
    read = {found[1]: found[2] for found in matches if found is not None}
    if not 0 < len(matches) <= MAX_LICENCE_LINES or len(read) < len(matches):
        raise LicenseProcessingError()
    if len(text) > MAX_LICENCE or not is_valid_text(text):
        raise LicenseProcessingError()
    if "expiry" in read and not _is_future(read["expiry"], now):
        raise LicenseProcessingError()
    return read


def _is_future(date: str, now: datetime) -> bool:
    try:
        last_day = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return last_day.date() >= now.date()
