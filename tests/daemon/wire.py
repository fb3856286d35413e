"""Requests as no well-behaved client would send them, and what is known of a whole daemon."""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from xapid.datamodel.registry import CLASSES

from .conftest import UnixConnection

VOLATILE = ("session", "task", "event", "host_cpu", "console")
MALFORMED = "the request is no XML-RPC call"
HEADERS = {"Content-Type": "text/xml"}


class Xml(str):
    """A value's element, written as it is to be sent."""

    __slots__ = ()


def element(value: Any) -> str:
    """The <value> of a Python value; integers of any size as <int>."""
    match value:
        case Xml():
            inner = str(value)
        case bool():
            inner = f"<boolean>{int(value)}</boolean>"
        case int():
            inner = f"<int>{value}</int>"
        case float():
            inner = f"<double>{value}</double>"
        case str():
            inner = f"<string>{escape(value)}</string>"
        case list() | tuple():
            inner = f"<array><data>{''.join(map(element, value))}</data></array>"
        case dict():
            members = (
                f"<member><name>{escape(k)}</name>{element(v)}</member>" for k, v in value.items()
            )
            inner = f"<struct>{''.join(members)}</struct>"
        case xmlrpc.client.DateTime():
            inner = f"<dateTime.iso8601>{value.value}</dateTime.iso8601>"
        case _:
            raise TypeError(value)
    return f"<value>{inner}</value>"


class Wire:
    """One connection on which anything can be sent; it is kept as long as the daemon keeps it."""

    def __init__(self, path: Path) -> None:
        self._connection = UnixConnection(str(path))
        self.session = ""

    def answer(self, method: str, *params: Any) -> tuple[str, Any]:
        """("Success", the value) or (the error's code, its parameters)."""
        sent = "".join(f"<param>{element(value)}</param>" for value in params)
        body = f"<methodCall><methodName>{method}</methodName><params>{sent}</params></methodCall>"
        self._connection.request("POST", "/", body.encode("utf-8", "surrogatepass"), HEADERS)
        response = self._connection.getresponse()
        text = response.read()
        if response.status == 400:
            return MALFORMED, text.decode()
        assert response.status == 200, (method, response.status)
        [answer], _ = xmlrpc.client.loads(text)
        if answer["Status"] == "Success":  # type: ignore[index, call-overload]
            return "Success", answer["Value"]  # type: ignore[index, call-overload]
        code, *parameters = answer["ErrorDescription"]  # type: ignore[index, call-overload]
        return code, parameters

    def call(self, method: str, *params: Any) -> Any:
        code, value = self.answer(method, self.session, *params)
        assert code == "Success", (method, code, value)
        return value

    def close(self) -> None:
        self._connection.close()

    def everything(self) -> dict[str, dict[str, Any]]:
        """Every record of the daemon, less what moves by itself."""
        return {
            name: self.call(f"{name}.get_all_records")
            for name, cls in CLASSES.items()
            if "get_all_records" in cls.derived
            and name not in VOLATILE
            and not name.endswith("_metrics")
        }
