"""The rules for text that may enter the store: every reader must be able to print it as XML."""

from __future__ import annotations

import re

from ..datamodel.errors import InvalidValue

MAX_STRING = 64 << 10  # bytes of UTF-8
MAX_LONG_STRING = 1 << 20
MAX_RESULT = 4 << 20  # of a task: the records of some 400 VMs
MAX_ENTRIES = 1024
MAX_COLLECTION = 1 << 20  # characters in all keys and values of one map or set

# The characters outside the Char production of XML 1.0, lone surrogates among them.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SHOWN = 64


def check_text(field: str, value: str, limit: int = MAX_STRING) -> None:
    """Raise InvalidValue unless `value` is valid XML text of at most `limit` bytes of UTF-8."""
    if len(value) > limit:
        raise InvalidValue(field, shown(value))
    if value.isascii():
        if value.isprintable():
            return
    elif len(value) * 4 > limit and len(value.encode("utf-8", "surrogatepass")) > limit:
        raise InvalidValue(field, shown(value))
    if _FORBIDDEN.search(value):
        raise InvalidValue(field, shown(value))


def is_valid_text(value: str) -> bool:
    """Whether every character of `value` may stand in an XML 1.0 document."""
    return _FORBIDDEN.search(value) is None


def clean_text(value: str, limit: int = MAX_STRING) -> str:
    """`value` with forbidden characters replaced by U+FFFD and cut to `limit` bytes of UTF-8.

    For text that others wrote and that is better kept than refused: guest data, command output.
    """
    cleaned = _FORBIDDEN.sub("\ufffd", value[:limit])
    return cleaned.encode()[:limit].decode(errors="ignore")


def shown(value: object) -> str:
    """A short rendering of a refused value, itself valid text."""
    cleaned = _FORBIDDEN.sub("\ufffd", str(value)[: _SHOWN + 1])
    return cleaned if len(cleaned) <= _SHOWN else cleaned[:_SHOWN] + "..."
