"""XML-RPC answers: values of declared types to bytes."""

from __future__ import annotations

import math
import re
from array import array
from asyncio import Future
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

from ..datamodel.declare import (
    Bool,
    Class,
    DateTime,
    EnumType,
    Float,
    Former,
    Int,
    MapType,
    RecordType,
    RefType,
    SetType,
    String,
    Type,
    Void,
)

BLOCK: Final = 256 * 1024  # bytes of a long answer that leave in one go

# What is written. Clients' parsers accept no white space between tags, and some turn
# `<string></string>` into nothing, so a string stands in <value> without an element of its own.

_ESCAPED = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_HEAD = (
    b"<?xml version='1.0' encoding='UTF-8'?><methodResponse><params><param><value><struct>"
    b"<member><name>Status</name><value>Success</value></member><member><name>Value</name>"
)
_FAILED = _HEAD.replace(b"Success", b"Failure").replace(b"<name>Value", b"<name>ErrorDescription")
_TAIL = b"</member></struct></value></param></params></methodResponse>"
_MEMBER_END = b"</value></member>"


def escape(text: str) -> str:
    """Text as it may stand in an element; what XML cannot carry becomes U+FFFD."""
    if _ESCAPED.search(text) is None:
        return text
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)


class Answer:
    """The bytes of a response, in pieces that are joined only as they leave."""

    __slots__ = ("length", "pieces")

    def __init__(self, pieces: Sequence[bytes | memoryview], length: int | None = None) -> None:
        self.pieces = pieces
        self.length = sum(map(len, pieces)) if length is None else length

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """Joined pieces of about `size` bytes each."""
        waiting: list[bytes | memoryview] = []
        held = 0
        for piece in self.pieces:
            waiting.append(piece)
            held += len(piece)
            if held >= size:
                yield b"".join(waiting)
                waiting, held = [], 0
        if waiting:
            yield b"".join(waiting)


class Later:
    """An answer that is there once `ready` is done: `finish` gives it then, or one still later."""

    __slots__ = ("finish", "ready")

    def __init__(self, ready: Future[Any], finish: Callable[[], Answer | Later]) -> None:
        self.ready = ready
        self.finish = finish


def success(type_: Type[Any], value: Any) -> Answer:
    """The answer of a call that gave a value of the declared type."""
    if isinstance(type_, SetType) and isinstance(type_.item, RecordType):
        return _record_set_answer(value)
    return Answer((_HEAD + encode(type_, value).encode() + _TAIL,))


def answering(type_: Type[Any], handler: Callable[..., Any]) -> Callable[..., Answer]:
    """What gives the answer of a call: the handler's result, coded as the declared type."""
    coded = _encoder(type_)

    def answer(call: Any, *values: Any) -> Answer:
        whole = _HEAD + coded(handler(call, *values)).encode() + _TAIL
        return Answer((whole,), len(whole))

    return answer


def failure(error: Iterable[str]) -> Answer:
    """The answer of a call that failed: its code and the code's parameters."""
    return Answer((_FAILED + encode(_STRINGS, tuple(error)).encode() + _TAIL,))


def value_of(answer: Answer) -> bytes:
    """The <value> element in the answer of a call that succeeded."""
    whole = b"".join(answer.pieces)
    return whole[len(_HEAD) : -len(_TAIL)]


def record_answer(record: Class) -> Answer:
    """The answer that holds one object."""
    return Answer((_HEAD, _value_in(member_of(record)), _TAIL))


def _record_set_answer(records: Iterable[Class]) -> Answer:
    """The answer that lists records: each is encoded once, however many callers it goes to."""
    return Answer(
        (
            _HEAD + b"<value><array><data>",
            *(_value_in(member_of(record)) for record in records),
            b"</data></array></value>" + _TAIL,
        )
    )


def _value_in(member: bytes) -> memoryview:
    """The <value> of a struct's member, not copied."""
    start = member.index(b"<value>")  # a name is a reference of ours: no markup in it
    return memoryview(member)[start : len(member) - len(b"</member>")]


def records_answer(records: Iterable[Class]) -> Answer:
    """The answer that maps references to objects."""
    return Answer(
        (
            _HEAD + b"<value><struct>",
            *(member_of(record) for record in records),
            b"</struct></value>" + _TAIL,
        )
    )


def member_of(record: Class) -> bytes:
    """A struct's member that maps the object's reference to its record; made once an object."""
    member: bytes | None = record.encoded
    if member is None:
        codec = _record(type(record))
        if record.former is None:
            member = codec.encode(record)
        elif record.former.starts is None:
            member, record.starts = codec.outline(record)
        else:
            member, record.starts = codec.encode_changed(record, record.former)
        record.encoded, record.former = member, None
    return member


def encode(type_: Type[Any], value: Any) -> str:
    """A <value> of the declared type."""
    return _encoder(type_)(value)


Encoder = Callable[[Any], str]


_encoders: dict[Type[Any], Encoder] = {}


def _encoder(type_: Type[Any]) -> Encoder:
    encoder = _encoders.get(type_)
    if encoder is None:
        encoder = _encoders[type_] = _make_encoder(type_)
    return encoder


def _make_encoder(type_: Type[Any]) -> Encoder:
    match type_:
        case RecordType():
            return _any_record
        case SetType():
            return _set_encoder(type_)
        case MapType():
            return _map_encoder(type_)
        case EnumType() | RefType():
            return _string
    return _PRIMITIVES[type_]


def _string(text: str) -> str:
    if text and (text[0] in " \t\r\n" or text[-1] in " \t\r\n"):
        return f"<value><string>{escape(text)}</string></value>"
    return f"<value>{escape(text)}</value>"


def _int(number: int) -> str:
    return f"<value>{number:d}</value>"


def _float(number: float) -> str:
    if not math.isfinite(number):
        number = 0.0
    text = repr(float(number))
    if "e" in text:  # XML-RPC knows no exponents
        text = format(Decimal(text), "f")
    return f"<value><double>{text}</double></value>"


def _bool(truth: bool) -> str:
    return f"<value><boolean>{1 if truth else 0}</boolean></value>"


def _datetime(moment: datetime) -> str:
    return f"<value><dateTime.iso8601>{datetime_text(moment)}</dateTime.iso8601></value>"


def datetime_text(moment: datetime) -> str:
    """A moment as the wire writes it, in UTC and whole seconds."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return (
        f"{moment.year:04d}{moment.month:02d}{moment.day:02d}"
        f"T{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d}Z"
    )


def _void(nothing: object) -> str:
    return "<value></value>"


_PRIMITIVES: dict[Type[Any], Encoder] = {
    String: _string,
    Int: _int,
    Float: _float,
    Bool: _bool,
    DateTime: _datetime,
    Void: _void,
}


def _set_encoder(type_: SetType[Any]) -> Encoder:
    item = _encoder(type_.item)

    def encode_set(values: Iterable[Any]) -> str:
        return f"<value><array><data>{''.join(map(item, values))}</data></array></value>"

    return encode_set


def _map_encoder(type_: MapType[Any, Any]) -> Encoder:
    item = _encoder(type_.value)

    def encode_map(pairs: Any) -> str:
        members = "".join(
            [f"<member><name>{escape(str(k))}</name>{item(v)}</member>" for k, v in pairs.items()]
        )
        return f"<value><struct>{members}</struct></value>"

    return encode_map


class _RecordCodec:
    """Encodes the records of one class.

    A changed record is made of what it was before, for which it must be known where each field
    starts; that is found out when a record is encoded for the second time, as most never change.
    """

    def __init__(self, cls: type[Class]) -> None:
        self._fields = [
            (f"<member><name>{escape(name)}</name>", name, _encoder(field.type))
            for name, field in cls.fields.items()
        ]
        self._places = {name: place for place, name in enumerate(cls.fields)}

    def encode(self, record: Class) -> bytes:
        row = record.row
        members = "".join(
            [f"{head}{item(row[name])}</member>" for head, name, item in self._fields]
        )
        return f"{_record_head(record)}{members}{_RECORD_END}".encode()

    def outline(self, record: Class) -> tuple[bytes, array[int]]:
        """The record encoded, and where its fields start; the last one's end besides."""
        head = _record_head(record).encode()
        fields = [self._field(place, record) for place in range(len(self._fields))]
        starts = array("Q", accumulate(map(len, fields), initial=len(head)))
        return b"".join((head, *fields, _RECORD_END.encode())), starts

    def encode_changed(self, record: Class, former: Former) -> tuple[bytes, array[int]]:
        """As above, of what the record was before; only what changed is encoded."""
        encoded: bytes = former.encoded
        starts: array[int] = former.starts
        fields = {p: self._field(p, record) for p in map(self._places.__getitem__, former.changed)}
        pieces: list[bytes] = []
        end = moved = 0
        moved_starts = array("Q")
        for place, start in enumerate(starts):
            moved_starts.append(start + moved)
            field = fields.get(place)
            if field is not None:
                pieces += encoded[end:start], field
                end = starts[place + 1]
                moved += len(field) - (end - start)
        return b"".join((*pieces, encoded[end:])), moved_starts

    def _field(self, place: int, record: Class) -> bytes:
        head, name, item = self._fields[place]
        return f"{head}{item(record.row[name])}</member>".encode()


_RECORD_END: Final = "</struct></value></member>"
_records: dict[type[Class], _RecordCodec] = {}


def _record_head(record: Class) -> str:
    return f"<member><name>{escape(record.ref)}</name><value><struct>"


def _record(cls: type[Class]) -> _RecordCodec:
    codec = _records.get(cls)
    if codec is None:
        codec = _records[cls] = _RecordCodec(cls)
    return codec


def _any_record(record: Class) -> str:
    return str(_value_in(member_of(record)), "utf-8")


_STRINGS = SetType(String)
