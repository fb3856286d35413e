"""Reads the calls that nearly all clients send by one regular expression, all others by the parser.

The two agree on every body that the expression matches; it matches only printable ASCII without
markup in its values.
"""

from __future__ import annotations

import re
from typing import Any, Final

from .xmlrpc import Request, decode

LONGEST: Final = 16 * 1024  # bytes; longer calls are rare, and read by the parser alone

MOST_PARAMS: Final = 6

# Possessive quantifiers throughout: no input makes the expression go back over what it has read.
_SPACE: Final = r"[ \t\r\n]*+"
_TEXT: Final = r"[\t\n -%'-;=?-~]*+"  # no `&`, `<` and `>`; `\r` is what XML turns into `\n`
_VALUE: Final = rf"(?:<string>({_TEXT})</string>|<boolean>([01])</boolean>|({_TEXT}))"
_PARAM: Final = rf"<param>{_SPACE}<value>{_VALUE}</value>{_SPACE}</param>{_SPACE}"
_UTF8: Final = r"""(?:'[Uu][Tt][Ff]-8'|"[Uu][Tt][Ff]-8")"""
_PROLOG: Final = rf"""(?:<\?xml version=(?:'1\.0'|"1\.0")(?: encoding={_UTF8})? ?\?>)?+{_SPACE}"""
_NAME: Final = r"<methodName>([A-Za-z0-9_.]{1,256}+)</methodName>"
_PARAMS: Final = (
    rf"(?:<params>{_SPACE}{f'(?:{_PARAM}' * MOST_PARAMS}{')?+' * MOST_PARAMS}</params>{_SPACE})?+"
)
_CALL: Final = re.compile(
    rf"{_PROLOG}<methodCall>{_SPACE}{_NAME}{_SPACE}{_PARAMS}</methodCall>{_SPACE}"
)


def read_call(body: bytes) -> Request:
    """Read one method call. Raises Malformed and nothing else."""
    if len(body) <= LONGEST and (request := read_plain(body)) is not None:
        return request
    return decode(body)


def read_plain(body: bytes) -> Request | None:
    """The call in a body of the usual shape; None: only the parser can tell."""
    try:
        found = _CALL.fullmatch(body.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    name, *values = found.groups()
    params: list[Any] = []
    for at in range(0, 3 * MOST_PARAMS, 3):
        if (text := values[at]) is not None or (text := values[at + 2]) is not None:
            params.append(text)
        elif (truth := values[at + 1]) is not None:
            params.append(truth == "1")
        else:
            break
    return Request(name, params)
