"""A guest's own part of xenstore, kept within bounds whatever the guest writes there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from ..db.text import clean_text
from .xenstore_wire import XenstoreError, XenstoreNotFound, XenstoreUnavailable

ROOTS = ("attr", "control", "data", "drivers", "feature", "xenserver/attr")
"""Where agents write what others shall know, below the domain's directory."""

MAX_NODES = 512
MAX_CHARACTERS = 64 << 10
AT_ONCE = 16
MAX_VALUE = 1024
MAX_DEPTH = 8


class ReadsNodes(Protocol):
    """What is needed of Xenstore."""

    async def read(self, path: str) -> bytes: ...
    async def directory(self, path: str) -> list[str]: ...


def domain_path(domid: int) -> str:
    """A domain's directory in xenstore."""
    return f"/local/domain/{domid}"


class GuestTree:
    """What one guest has written below ROOTS, by path from the domain's directory.

    Whatever is beyond MAX_NODES nodes, MAX_CHARACTERS in all, MAX_DEPTH levels or MAX_VALUE bytes
    in one value is not looked at. What is kept is valid text.
    """

    def __init__(self, xenstore: ReadsNodes, domid: int) -> None:
        self._xenstore = xenstore
        self._top = domain_path(domid)
        self._nodes: dict[str, str] = {}
        self._characters = 0
        self.truncated = False

    @property
    def values(self) -> dict[str, str]:
        """The values that are not empty."""
        return {path: value for path, value in self._nodes.items() if value}

    def concerned(self, changed: Iterable[str]) -> list[str]:
        """Which places to look at again after changes at these absolute paths."""
        places: dict[str, None] = {}
        for path in changed:
            places.update(dict.fromkeys(self._places(path)))
        return [p for p in places if not any(p.startswith(f"{other}/") for other in places)]

    def _places(self, path: str) -> list[str]:
        if not path.startswith(f"{self._top}/"):
            return list(ROOTS)  # the directory itself, or more than could be told
        place = path.removeprefix(f"{self._top}/")
        if any(place == root or place.startswith(f"{root}/") for root in ROOTS):
            return [place] if place.count("/") < MAX_DEPTH else []
        return [root for root in ROOTS if root.startswith(f"{place}/")]

    async def refresh(self, places: Iterable[str]) -> None:
        """Look again at these places and all below them. Raises XenstoreUnavailable."""
        waiting = list(places)
        for place in waiting:
            self._forget(place)
        while waiting:
            looks = [self._look(place) for place in waiting[:AT_ONCE]]
            del waiting[:AT_ONCE]
            for below in await asyncio.gather(*looks):
                waiting += below

    def _forget(self, place: str) -> None:
        for path in [p for p in self._nodes if p == place or p.startswith(f"{place}/")]:
            self._characters -= len(self._nodes.pop(path))

    async def _look(self, place: str) -> list[str]:
        """Keep the value of one node; the places below it."""
        if len(self._nodes) >= MAX_NODES:
            self.truncated = True
            return []
        self._nodes[place] = ""  # holds its seat while others look beside it
        path = f"{self._top}/{place}"
        try:
            raw_value = await self._xenstore.read(path)
            names = await self._xenstore.directory(path)
        except XenstoreNotFound:
            self._nodes.pop(place, None)
            return []
        except XenstoreUnavailable:
            raise
        except XenstoreError:
            self.truncated = True  # more children than an answer holds
            return []
        self._keep(place, raw_value)
        if place.count("/") + 1 >= MAX_DEPTH:
            self.truncated |= bool(names)
            return []
        room = MAX_NODES - len(self._nodes)
        self.truncated |= len(names) > room
        return [f"{place}/{name}" for name in names[:room]]

    def _keep(self, place: str, raw_value: bytes) -> None:
        raw_text = raw_value[:MAX_VALUE].decode("utf-8", "replace").rstrip("\0")
        value = clean_text(raw_text, MAX_VALUE)
        if self._characters + len(value) > MAX_CHARACTERS:
            self.truncated = True
            return
        self._characters += len(value)
        self._nodes[place] = value
