"""Good messages to begin with: calls of every method, requests of every form, settings."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path
from typing import Any

from xapid.config.document import example
from xapid.datamodel.declare import (
    Bool,
    DateTime,
    EnumType,
    Float,
    Int,
    MapType,
    RecordType,
    RefType,
    SetType,
)
from xapid.datamodel.registry import METHODS

GOLDEN = Path(__file__).parents[1] / "rpc" / "golden"
SESSION = "OpaqueRef:session"

XML_WORDS = [
    *(
        f"<{slash}{name}>".encode()
        for name in (
            *("methodCall", "methodName", "params", "param", "value", "array", "data", "struct"),
            *("member", "name", "string", "int", "i4", "boolean", "double", "dateTime.iso8601"),
            *("base64", "nil"),
        )
        for slash in ("", "/")
    ),
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"<?xml version='1.0' encoding='UTF-16'?>",
    b"<?php x?>",
    b"<![CDATA[<value>]]>",
    b"<!-- -->",
    b"&lt;",
    b"&#0;",
    b"&#xD800;",
    b"&b;",
    b"<value><array><data>",
    b"<string/>",
    b" xmlns='a'",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"OpaqueRef:NULL",
    b"20300101T00:00:00Z",
]
HTTP_WORDS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b":", b"\t", b"\x00", b"0\r\n\r\n", b"\r\n "),
    *(b"POST ", b"GET ", b"PUT ", b"CONNECT ", b"* ", b"/RPC2 ", b" HTTP/1.1", b" HTTP/1.0"),
    *(b"HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01", b"http://a/", b"/../"),
    *(b"%2e%2e/", b"%00", b"?session_id=", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n"),
    *(b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"Authorization: Bearer \xff\r\n", b"Trailer: a\r\n"),
    *(b"ffffffffffffffff\r\n", b";ext=1", b"X: " + b"y" * 9000 + b"\r\n", b"A: b\r\n" * 120),
]
TOML_WORDS = [
    *(b"[", b"]", b"[[", b"]]", b"=", b'"', b"'", b'"""', b"{", b"}", b",", b".", b"#", b"\n"),
    *(b"[listen]\n", b"[xen]\n", b"[listen.https]\n", b"https = ", b"socket = ", b"true", b"nan"),
    *(b"1979-05-27T07:32:00Z", b'"\\u0000"', b'"\\UD800"', b"0x", b"1_000", b"inf", b"\x00"),
    *(b'"[::1]:443"', b'"a:b:1"', b'"[::1%lo]:1"', b'"192.0.2.0/33"', b'["::/0"]', b"\xff"),
]


def sample(type_: Any) -> Any:
    """A value of a declared type, as a client sends it."""
    match type_:
        case SetType():
            return [] if isinstance(type_.item, RecordType) else [sample(type_.item)]
        case MapType():
            return {str(sample(type_.key)): sample(type_.value)}
        case RecordType():
            return {"name_label": "x"}
        case RefType():
            return "OpaqueRef:NULL"
        case EnumType():
            return str(next(iter(type_.values)))
    if type_ is Bool:
        return True
    if type_ is Float:
        return 0.5
    if type_ is DateTime:
        return xmlrpc.client.DateTime("20300101T00:00:00Z")
    return "1" if type_ is Int else "text"


def call(name: str, session: str = SESSION) -> bytes:
    """A call of a method with a value for each parameter."""
    method = METHODS[name]
    values = tuple(sample(param.type) for param in method.params)
    return xmlrpc.client.dumps(((session,) if method.session else ()) + values, name).encode()


def calls(session: str = SESSION) -> list[bytes]:
    """A call of every method, and the golden answers, which are none."""
    return [
        *(call(name, session) for name in METHODS),
        *(path.read_bytes() for path in sorted(GOLDEN.glob("*.xml"))),
    ]


def requests(session: str = SESSION) -> list[bytes]:
    """HTTP requests of every form there is."""
    body = call("VM.get_all", session)
    length = b"Content-Length: %d\r\n" % len(body)
    chunks = b"%x\r\n%b\r\n5;a=b\r\n     \r\n0\r\nX-Trailer: y\r\n\r\n" % (len(body), body)
    post = b"POST / HTTP/1.1\r\nHost: x\r\n"
    plain = post + b"Content-Type: text/xml\r\n" + length + b"\r\n" + body
    return [
        plain,
        plain + plain,
        b"POST /RPC2 HTTP/1.1\r\nHost: x\r\nUser-Agent: a/1\r\n" + length + b"\r\n" + body,
        b"POST /RPC2 HTTP/1.0\r\n" + length + b"\r\n" + body,
        post + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        post + b"Expect: 100-continue\r\n" + length + b"\r\n" + body,
        post + b"Connection: close\r\n" + length + b"\r\n" + body,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n",
        b"PUT /pool_patch_upload?session_id=x&task_id=y HTTP/1.1\r\nHost: x\r\n"
        b"Content-Length: 5\r\n\r\nabcde",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ]


def settings() -> list[bytes]:
    """Configuration files: every setting, and some of each form."""
    whole = example()
    set_all = "\n".join(
        line.removeprefix("#") if " = " in line else line for line in whole.split("\n")
    )
    return [
        whole.encode(),
        set_all.encode(),
        b'state_dir = "/x"\n[listen]\nhttps = "[::]:443"\nsocket_links = ["/a", "/b"]\n',
        b'listen.https = "0.0.0.0:443"\nlisten.call_rate = 5\nlog = {level = "debug"}\n',
        b'[metrics]\naddresses = ["192.0.2.0/24", "::1"]\ntoken_file = "/t"\n[xen]\nbuilds = 9\n',
    ]
