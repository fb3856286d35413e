"""The short way to read a call gives what the parser gives, or leaves it to the parser."""

from __future__ import annotations

import time
import xmlrpc.client
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xapid.rpc.plain_call import LONGEST, MOST_PARAMS, read_call, read_plain
from xapid.rpc.xmlrpc import Malformed, Request, decode

BOOLEANS = b"<methodCall><methodName>a.b</methodName><params>%b</params></methodCall>" % (
    b"<param><value><boolean>1</boolean></value></param>"
    b"<param><value><boolean>0</boolean></value></param>"
)
PIECES = [
    *("<methodCall>", "</methodCall>", "<methodName>", "</methodName>", "VM.start", "<params>"),
    *("</params>", "<param>", "</param>", "<value>", "</value>", "<string>", "</string>"),
    *("<boolean>", "</boolean>", "0", "1", " ", "\n", "\r\n", "\t", "\v", "&amp;", "&#10;", "]]>"),
    *("<int>", "</int>", "<!-- -->", "<![CDATA[x]]>", "é", "\x00", "x", ".", "<params/>", "<?x?>"),
    *("<?xml version='1.0'?>", '<?xml version="1.0" encoding="utf-8"?>', "<!DOCTYPE a>"),
    *("<?xml version='1.0' encoding='latin-1'?>", "<value/>", "<string/>", "OpaqueRef:NULL"),
]


def read_by_parser(body: bytes) -> Request | None:
    try:
        return decode(body)
    except Malformed:
        return None


def same(body: bytes) -> bool:
    """Whether the short way leaves the body alone or reads it as the parser does."""
    short = read_plain(body)
    return short is None or (short == read_by_parser(body) and types(short) == types(decode(body)))


def types(request: Request) -> list[type]:
    return [type(value) for value in request.raw_params]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("VM.get_power_state", ("OpaqueRef:x", "OpaqueRef:y")),
        ("VM.start", ("OpaqueRef:x", "OpaqueRef:y", False, True)),
        ("session.logout", ("",)),
        ("event.next", (" a b\n\tc ",)),
        ("a", ("x",) * MOST_PARAMS),
        ("host.list", ()),
    ],
)
def test_what_clients_send_is_read_the_short_way(method: str, params: tuple[Any, ...]) -> None:
    body = xmlrpc.client.dumps(params, method).encode()

    assert read_plain(body) == Request(method, list(params))
    assert read_plain(body) == decode(body)


@pytest.mark.parametrize(
    "params",
    [(1,), (1.5,), (["x"],), ({"a": "b"},), ("&",), ("é",), ("a\rb",), ("x",) * (MOST_PARAMS + 1)],
)
def test_everything_else_is_left_to_the_parser(params: tuple[Any, ...]) -> None:
    body = xmlrpc.client.dumps(params, "a.b").encode()

    assert read_plain(body) is None
    assert read_call(body) == decode(body)


def test_a_body_that_is_no_call_is_refused_by_the_parser() -> None:
    with pytest.raises(Malformed):
        read_call(b"<methodCall>")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map(lambda parts: "".join(parts).encode()))
@example(BOOLEANS)
def test_on_any_sequence_of_markup_both_agree(body: bytes) -> None:
    assert same(body)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.text(max_size=8) | st.booleans(), max_size=MOST_PARAMS + 1),
    st.lists(st.tuples(st.integers(0, 2000), st.sampled_from(PIECES)), max_size=2),
    st.booleans(),
)
def test_on_any_call_with_something_put_into_it_both_agree(
    params: list[Any], inserted: list[tuple[int, str]], spaced: bool
) -> None:
    values = [
        f"<boolean>{value:d}</boolean>" if isinstance(value, bool) else f"<string>{value}</string>"
        for value in params
    ]
    gap = "\n " if spaced else ""
    text = f"{gap}".join(f"<param>{gap}<value>{each}</value>{gap}</param>" for each in values)
    text = f"<methodCall><methodName>a.b</methodName>{gap}<params>{text}</params></methodCall>"
    for at, piece in inserted:
        text = text[: at % len(text)] + piece + text[at % len(text) :]

    assert same(text.encode("utf-8", "surrogatepass"))


def test_no_body_makes_it_slow() -> None:
    bodies = [
        b"<methodCall><methodName>a</methodName><params>" + filler * (LONGEST // len(filler))
        for filler in (b" ", b"<param>", b"<param><value>x</value></param>", b"\n<param> <value>")
    ]

    began = time.process_time()
    for body in bodies:
        assert read_plain(body) is None
    assert time.process_time() - began < 0.1
