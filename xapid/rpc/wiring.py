"""Which object answers which message: found at the start, and every fault told at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import Any

from ..datamodel.registry import METHODS, Kind
from .derived import FieldCheck


class Miswired(Exception):  # noqa: N818
    """Messages and implementations do not match; the text names each fault."""


class Found:
    """What the services say of their methods."""

    def __init__(self, services: Iterable[object], not_yet: Collection[str]) -> None:
        self.services = list(services)
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {}
        self.checks: dict[Any, list[FieldCheck]] = {}
        faults: list[str] = []
        for service in self.services:
            for name in dir(type(service)):
                function = getattr(type(service), name, None)
                marks = getattr(function, "__dict__", {})
                if "implements" in marks:
                    faults += self._bind(marks["implements"], getattr(service, name))
                for field in marks.get("checks", ()):
                    self.checks.setdefault(field, []).append(getattr(service, name))
        faults += self._unbound(not_yet)
        if faults:
            raise Miswired("; ".join(sorted(faults)))

    def _bind(self, name: str, handler: Callable[..., Awaitable[Any]]) -> list[str]:
        if name not in METHODS:
            return [f"{handler.__qualname__} implements {name}, which does not exist"]
        if name in self.handlers:
            first = self.handlers[name].__qualname__
            return [f"{name} is implemented by {first} and by {handler.__qualname__}"]
        self.handlers[name] = handler
        return []

    def _unbound(self, not_yet: Collection[str]) -> Iterator[str]:
        for name, method in METHODS.items():
            implemented, excused = name in self.handlers, name in not_yet
            if method.kind is Kind.MESSAGE and not implemented and not excused:
                yield f"{name} is not implemented and stands in no list"
            elif implemented and excused:
                yield f"{name} is listed as not implemented, but is"
        for name in not_yet:
            if name not in METHODS:
                yield f"{name} is listed as not implemented, but does not exist"
