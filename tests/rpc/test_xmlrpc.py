"""The codec: what is read, what is refused, and that everything written can be read again."""

from __future__ import annotations

import contextlib
import xmlrpc.client
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xapid.datamodel.declare import (
    NULL,
    Bool,
    DateTime,
    Float,
    Int,
    MapOf,
    Ref,
    RefTo,
    SetOf,
    String,
    Type,
    Void,
)
from xapid.datamodel.network import Network
from xapid.rpc import answers
from xapid.rpc.xmlrpc import MAX_DEPTH, Foreign, Malformed, RawDateTime, Request, decode

GOLDEN = Path(__file__).parent / "golden"


def params(*values: str) -> bytes:
    inner = "".join(f"<param><value>{value}</value></param>" for value in values)
    return f"<methodCall><methodName>a.b</methodName><params>{inner}</params></methodCall>".encode()


def read(type_: Type[Any], value: Any) -> Any:
    """What Python's own client makes of an answer."""
    body = b"".join(answers.success(type_, value).blocks())
    (answer,), _ = xmlrpc.client.loads(body)
    assert list(answer) == ["Status", "Value"]
    return answer["Value"]


def test_every_scalar_is_read() -> None:
    request = decode(
        params(
            "plain",
            "<string> kept </string>",
            "<int>-7</int>",
            "<i4>7</i4>",
            "<i8>9223372036854775807</i8>",
            "<boolean>1</boolean>",
            "<double> 2.5 </double>",
            "<dateTime.iso8601>20300102T03:04:05Z</dateTime.iso8601>",
            "<base64>AAAA</base64>",
            "<nil/>",
            "",
        )
    )

    assert request == Request(
        "a.b", ["plain", " kept ", -7, 7, 2**63 - 1, True, 2.5, *request.raw_params[7:]]
    )
    assert request.raw_params[7:] == ["20300102T03:04:05Z", "base64", "nil", ""]
    assert [type(raw) for raw in request.raw_params[7:]] == [RawDateTime, Foreign, Foreign, str]


def test_white_space_between_elements_and_comments_mean_nothing() -> None:
    body = b"""<?xml version="1.0" encoding="UTF-8"?>
    <!-- a call -->
    <methodCall> <methodName> a.b </methodName>
      <params> <param> <value>
        <struct> <member> <value><int>1</int></value> <name>k</name> </member> </struct>
      </value> </param>
      <param><value><array> <data> <value>x</value> </data> </array></value></param> </params>
    </methodCall>"""

    assert decode(body) == Request("a.b", [{"k": 1}, ["x"]])


def test_entities_and_other_encodings_are_read() -> None:
    assert decode(params("&lt;&#233;&amp;<![CDATA[<]]>")).raw_params == ["<é&<"]
    latin = b'<?xml version="1.0" encoding="iso-8859-1"?>' + params("@").replace(b"@", b"\xe9")
    assert decode(latin).raw_params == ["é"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<methodCall>",
        b"<methodCall/>",
        b"<methodCall><params/></methodCall>",
        b"<methodCall><methodName></methodName></methodCall>",
        b"<methodCall><methodName>" + b"m" * 257 + b"</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>",
        b"<methodCall><methodName>a</methodName></methodCall><methodCall/>",
        b"<methodCall>text<methodName>a</methodName></methodCall>",
        b"<methodResponse/>",
        b"<?php x?><methodCall><methodName>a</methodName></methodCall>",
        b'<?xml version="1.0" encoding="no-such"?><methodCall/>',
        b"<!DOCTYPE methodCall><methodCall><methodName>a</methodName></methodCall>",
        b'<!DOCTYPE m [<!ENTITY a "b">]><methodCall><methodName>&a;</methodName></methodCall>',
        b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><methodCall/>',
        params("<int>1</int><int>2</int>"),
        params("text<int>1</int>"),
        params("<int>1</int>text"),
        params("<int>one</int>"),
        params("<int>" + "1" * 5000 + "</int>"),
        params("<double>one</double>"),
        params("<boolean>true</boolean>"),
        params("<unknown/>"),
        params("<array/>"),
        params("<array><data/><data/></array>"),
        params("<struct><member><name>a</name></member></struct>"),
        params("<struct><member><value/></member></struct>"),
        params("<struct>" + "<member><name>a</name><value/></member>" * 2 + "</struct>"),
        params("&#0;"),
        params("&undeclared;"),
        b"\xff\xfe<",
        params("é").replace("é".encode(), b"\xe9"),
    ],
)
def test_what_is_no_call_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        decode(body)

    assert str(refused.value)
    assert "\n" not in str(refused.value)


def test_values_may_be_nested_as_deep_as_the_limit_and_no_deeper() -> None:
    def nested(depth: int) -> bytes:
        arrays = depth - 1
        return params("<array><data><value>" * arrays + "</value></data></array>" * arrays)

    assert decode(nested(MAX_DEPTH)).method == "a.b"
    with pytest.raises(Malformed, match="deeper than 64"):
        decode(nested(MAX_DEPTH + 1))
    with pytest.raises(Malformed, match="deeper than 64"):
        decode(nested(100_000))


def test_there_may_not_be_endlessly_many_values() -> None:
    with pytest.raises(Malformed, match="more than 100000 values"):
        decode(params("<array><data>" + "<value/>" * 100_000 + "</data></array>"))


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    for candidate in (body, params("@").replace(b"@", body)):
        with contextlib.suppress(Malformed):
            decode(candidate)


TAGS = ["value", "int", "string", "array", "data", "struct", "member", "name", "params", "param"]
PIECES = [f"<{tag}>" for tag in TAGS] + [f"</{tag}>" for tag in TAGS] + ["1", " ", "<nil/>"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
@settings(max_examples=300)
def test_no_mix_of_elements_raises_anything_but_malformed(pieces: list[str]) -> None:
    with contextlib.suppress(Malformed):
        decode(params("".join(pieces)))


sendable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]))
raw_values = st.recursive(
    sendable
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc-_ é<&", max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(raw_values, max_size=3))
@settings(max_examples=200)
def test_what_a_client_writes_is_what_is_read(values: list[Any]) -> None:
    body = xmlrpc.client.dumps(tuple(values), "a.b").encode()

    assert decode(body).raw_params == values


anything = st.text(st.characters(), max_size=40)  # controls, surrogates and all
TYPES: list[tuple[Type[Any], st.SearchStrategy[Any]]] = [
    (String, anything),
    (Int, st.integers(-(2**63), 2**63 - 1)),
    (Float, st.floats()),
    (Bool, st.booleans()),
    (Void, st.none()),
    (DateTime, st.datetimes(timezones=st.just(UTC))),
    (RefTo("VM"), anything.map(Ref)),
    (SetOf(String), st.lists(anything, max_size=5).map(tuple)),
    (MapOf(String, String), st.dictionaries(anything, anything, max_size=5)),
    (MapOf(Int, Float), st.dictionaries(st.integers(0, 99), st.floats(), max_size=5)),
    (SetOf(SetOf(MapOf(String, Int))), st.just((({"a": 1},), ()))),
]


@pytest.mark.parametrize(("type_", "values"), TYPES, ids=lambda x: getattr(x, "name", ""))
@settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors])
@given(data=st.data())
def test_whatever_is_written_is_read_again(
    type_: Type[Any], values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    read(type_, data.draw(values))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_text_comes_back_as_it_was_but_for_what_xml_cannot_carry(text: str) -> None:
    allowed = [
        c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in text
    ]

    assert read(String, text) == "".join(allowed)


def test_each_type_is_written_as_clients_expect_it() -> None:
    east = datetime(2030, 1, 2, 5, 4, 5, 999, tzinfo=timezone(timedelta(hours=2)))

    assert answers.encode(Int, 2**63 - 1) == "<value>9223372036854775807</value>"
    assert answers.encode(Bool, True) == "<value><boolean>1</boolean></value>"
    assert answers.encode(Float, 1e-7) == "<value><double>0.0000001</double></value>"
    assert answers.encode(Float, 1e22) == "<value><double>10000000000000000000000</double></value>"
    assert answers.encode(Void, None) == "<value></value>"
    assert answers.encode(String, "") == "<value></value>"
    assert answers.encode(String, " a") == "<value><string> a</string></value>"
    assert answers.encode(RefTo("VM"), NULL) == "<value>OpaqueRef:NULL</value>"
    assert answers.encode(DateTime, east) == (
        "<value><dateTime.iso8601>20300102T03:04:05Z</dateTime.iso8601></value>"
    )


def test_a_number_that_is_none_is_written_as_zero() -> None:
    assert read(Float, float("nan")) == 0.0
    assert read(Float, float("inf")) == 0.0


def network(name: str) -> Network:
    row = {field.name: field.default for field in Network.fields.values()}
    return Network(
        Ref(f"OpaqueRef:{name}"), {**row, "name_label": name, "VIFs": (Ref("OpaqueRef:v"),)}
    )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("success.xml", answers.success(SetOf(String), ("CX8", "PSE36"))),
        ("failure.xml", answers.failure(["VM_BAD_POWER_STATE", "OpaqueRef:1", "Halted", "<&>"])),
        ("record.xml", answers.record_answer(network("one"))),
        ("records.xml", answers.records_answer([network("one"), network("two")])),
    ],
)
def test_answers_are_byte_for_byte_what_they_were(name: str, answer: answers.Answer) -> None:
    assert b"".join(answer.blocks()) == (GOLDEN / name).read_bytes().rstrip(b"\n")


def test_a_record_is_encoded_once() -> None:
    record = network("one")

    first = answers.member_of(record)

    assert answers.member_of(record) is first
    assert answers.records_answer([record]).pieces[1] is first


TEXTS = st.sampled_from(
    ["", " x ", "plain", "<&>\r", "ä" * 9, "</member><member><name>bridge</name>"]
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name_label": TEXTS,
        "name_description": TEXTS,
        "bridge": TEXTS,
        "other_config": st.dictionaries(TEXTS.filter(bool), TEXTS),
        "VIFs": st.lists(TEXTS.map(Ref)).map(tuple),
    },
)


@given(st.lists(st.tuples(CHANGES, st.booleans()), max_size=6))
def test_a_changed_record_is_encoded_as_if_it_were_new(steps: list[tuple[Any, bool]]) -> None:
    record = network("one")
    answers.member_of(record)

    for changes, read in steps:
        before, record = record, Network(record.ref, {**record.row, **changes})
        record.follow(before, changes)
        if read:
            fresh = answers.member_of(Network(record.ref, record.row))
            assert answers.member_of(record) == fresh
            assert answers.member_of(record) is record.encoded

    assert answers.member_of(record) == answers.member_of(Network(record.ref, record.row))


def test_a_long_answer_leaves_in_blocks_of_the_announced_length() -> None:
    answer = answers.records_answer([network(f"n{i}") for i in range(2000)])

    blocks = list(answer.blocks())

    assert sum(map(len, blocks)) == answer.length
    assert all(answers.BLOCK <= len(block) < 2 * answers.BLOCK for block in blocks[:-1])
    assert len(blocks) > 3


def test_the_value_of_an_answer_is_what_a_task_shows() -> None:
    answer = answers.success(String, "a<b")

    assert answers.value_of(answer) == b"<value>a&lt;b</value>"
