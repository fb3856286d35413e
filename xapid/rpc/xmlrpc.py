"""XML-RPC requests: bytes to a method's name and raw values, within limits."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple
from xml.parsers import expat

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 100_000
MAX_NUMBER: Final = 64  # characters of an <int>, a <double> or a date
MAX_METHOD: Final = 256  # characters of a method's name


class Malformed(Exception):  # noqa: N818
    """The request is not an XML-RPC call within the limits; the text says why, in one line."""


class RawDateTime(str):
    """The text of a <dateTime.iso8601>, not yet read."""

    __slots__ = ()


class Foreign(str):
    """A value of a type that no parameter of the API has: its element's name."""

    __slots__ = ()


class Request(NamedTuple):
    """A call as it was sent: nothing about it is checked yet but its form."""

    method: str
    raw_params: list[Any]


_SCALARS = {
    "string",
    "int",
    "i4",
    "i8",
    "boolean",
    "double",
    "dateTime.iso8601",
    "base64",
    "nil",
}
_CHILDREN = {
    "": {"methodCall"},
    "methodCall": {"methodName", "params"},
    "params": {"param"},
    "param": {"value"},
    "value": _SCALARS | {"array", "struct"},
    "array": {"data"},
    "data": {"value"},
    "struct": {"member"},
    "member": {"name", "value"},
}
_MANY = {"params", "data", "struct"}
_NUMBER = re.compile(r"[+-]?[0-9]+")
_BLANK = " \t\r\n"


def decode(body: bytes) -> Request:
    """Read one method call. Raises Malformed and nothing else."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype
    parser.ProcessingInstructionHandler = _refuse_instruction
    try:
        parser.Parse(body, True)
    except Malformed:
        raise
    except expat.ExpatError as error:
        raise Malformed(
            f"the body is not well-formed XML: {expat.errors.messages[error.code]}"
            f" at line {error.lineno}, column {error.offset}"
        ) from None
    except (LookupError, ValueError, RecursionError):
        raise Malformed("the body cannot be read as XML") from None
    return reader.request()


def _refuse_doctype(*_: object) -> None:
    raise Malformed("a document type declaration is not accepted")


def _refuse_instruction(*_: object) -> None:
    raise Malformed("a processing instruction is not accepted")


class _Frame:
    """An open element: its children's names and what they hold."""

    __slots__ = ("content", "seen", "tag")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.seen: list[str] = []
        self.content: list[Any] = []


class _Reader:
    def __init__(self) -> None:
        self._frames = [_Frame("")]
        self._text: list[str] = []
        self._depth = 0
        self._values = 0

    def start(self, tag: str, attributes: object) -> None:
        parent = self._frames[-1]
        if tag not in _CHILDREN.get(parent.tag, ()):
            raise Malformed(f"<{_shown(tag)}> may not stand in <{_shown(parent.tag) or 'nothing'}>")
        if parent.tag not in _MANY and tag in parent.seen:
            raise Malformed(f"a second <{tag}> in one <{parent.tag}>")
        if parent.tag == "value" and parent.seen:
            raise Malformed("a <value> holds more than one value")
        self._refuse_text()
        if parent.tag not in _MANY:
            parent.seen.append(tag)
        if tag == "value":
            self._depth += 1
            self._values += 1
            if self._depth > MAX_DEPTH:
                raise Malformed(f"values are nested deeper than {MAX_DEPTH}")
            if self._values > MAX_VALUES:
                raise Malformed(f"the call holds more than {MAX_VALUES} values")
        self._frames.append(_Frame(tag))

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, tag: str) -> None:
        frame = self._frames.pop()
        if tag in _SCALARS or tag in ("name", "methodName") or (tag == "value" and not frame.seen):
            text = "".join(self._text)
            self._text.clear()
        else:
            self._refuse_text()
            text = ""
        self._frames[-1].content.append(self._finish(frame, text))

    def _finish(self, frame: _Frame, text: str) -> Any:
        match frame.tag:
            case "value":
                self._depth -= 1
                return frame.content[0] if frame.seen else text
            case "struct":
                return _struct(frame.content)
            case "data" | "params":
                return frame.content
            case "param" | "array":
                if not frame.content:
                    raise Malformed(f"an empty <{frame.tag}>")
                return frame.content[0]
            case "member":
                if len(frame.content) != 2:
                    raise Malformed("a <member> needs a <name> and a <value>")
                return frame.content if frame.seen[0] == "name" else frame.content[::-1]
            case "methodCall":
                return _call(frame)
            case "string" | "name" | "methodName":
                return text
            case _:
                return _scalar(frame.tag, text)

    def _refuse_text(self) -> None:
        if self._text:
            if "".join(self._text).strip(_BLANK):
                raise Malformed("text stands between elements")
            self._text.clear()

    def request(self) -> Request:
        call = self._frames[0].content
        if not call:
            raise Malformed("the body holds no <methodCall>")
        request: Request = call[0]
        return request


def _call(frame: _Frame) -> Request:
    if not frame.seen or frame.seen[0] != "methodName":
        raise Malformed("a <methodCall> begins with its <methodName>")
    name = frame.content[0].strip(_BLANK)
    if not name or len(name) > MAX_METHOD:
        raise Malformed(f"a <methodName> has 1 to {MAX_METHOD} characters")
    return Request(name, frame.content[1] if len(frame.content) > 1 else [])


def _struct(members: list[list[Any]]) -> dict[str, Any]:
    result: dict[str, Any] = dict(members)
    if len(result) != len(members):
        raise Malformed("a <struct> names one member twice")
    return result


def _scalar(tag: str, text: str) -> Any:
    if tag in ("base64", "nil"):
        return Foreign(tag)
    text = text.strip(_BLANK)
    if len(text) > MAX_NUMBER:
        raise Malformed(f"a <{tag}> longer than {MAX_NUMBER} characters")
    match tag:
        case "boolean":
            if text not in ("0", "1"):
                raise Malformed("a <boolean> is 0 or 1")
            return text == "1"
        case "double":
            try:
                return float(text)
            except ValueError:
                raise Malformed("a <double> that is no number") from None
        case "dateTime.iso8601":
            return RawDateTime(text)
        case _:
            if not _NUMBER.fullmatch(text):
                raise Malformed(f"an <{tag}> that is no number")
            return int(text)


def _shown(tag: str) -> str:
    return tag if len(tag) <= 32 else tag[:32] + "…"
