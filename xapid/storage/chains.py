"""Chains of qcow2 images in one directory: who leans on whom, and what may go or be merged.

A volume is a leaf; below it are bases, which nobody writes to and no client sees. A leaf that is
cloned becomes a base with two new leaves on it. Everything here blocks; it raises OSError, and
NotOurs for an image that leans on something else than a base of the same directory.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from .directory import Directory
from .image_names import BASE, OURS, QCOW2_SUFFIXES
from .qcow2 import Header, NotOurs, is_empty, read_header

log = structlog.get_logger()

MAX_DEPTH = 16
"""Images in a chain: more make every read slower. A clone beyond it is a full copy."""
ABSURD_DEPTH = 64


@dataclass(frozen=True)
class Merge:
    """What `base` is merged with: its only child. leaves: the volumes that lean on the child."""

    base: str
    child: str
    leaves: frozenset[str]


class Chains:
    """Reads the chains of a directory afresh each time; the headers are what is true."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.may_have_bases = True
        """False once there were none; whoever makes one says so."""

    def header(self, name: str, read: dict[str, Header] | None = None) -> Header:
        """The header of one image, whose backing file is a base of ours or none.

        read: those of this pass over the directory, to which it is added.
        """
        if read is not None and name in read:
            return read[name]
        fd = self._directory.open(name, os.O_RDONLY)
        try:
            header = read_header(fd)
        finally:
            os.close(fd)
        if header.backing and not (
            BASE.fullmatch(header.backing) and header.backing_format == "qcow2"
        ):
            raise NotOurs("it leans on a file that is not this storage's")
        if read is not None:
            read[name] = header
        return header

    def chain(self, name: str) -> list[tuple[str, Header]]:
        """An image and all it leans on. Raises NotOurs also when something is missing."""
        found: list[tuple[str, Header]] = []
        while name:
            try:
                header = self.header(name)
            except FileNotFoundError:
                if not found:
                    raise
                raise NotOurs(f"its base {name} is missing") from None
            found.append((name, header))
            if len(found) > ABSURD_DEPTH:
                raise NotOurs("its chain has no end")
            name = header.backing
        return found

    def empty(self, name: str) -> bool:
        """Whether a leaf holds no data of its own."""
        fd = self._directory.open(name, os.O_RDONLY)
        try:
            return is_empty(fd, read_header(fd))
        finally:
            os.close(fd)

    def parents(self, read: dict[str, Header] | None = None) -> dict[str, str]:
        """Each image of the directory with the base it leans on, "" for none.

        read: headers that this pass over the directory has read before.
        Raises NotOurs when one of them cannot be read: then nothing may be concluded. One that is
        being made leans on nothing until its header is written.
        """
        found = {}
        names = [name for name in self._directory.names() if name.endswith(QCOW2_SUFFIXES)]
        self.may_have_bases = any(name.endswith(".base") for name in names)
        for name in names:
            if not OURS.fullmatch(name) or self._directory.regular(name) is None:
                continue
            try:
                found[name] = self.header(name, read).backing
            except NotOurs:
                if not name.endswith(("-staged", "-next")):
                    raise
                found[name] = ""
        return found

    def alone_below(self, name: str) -> list[str]:
        """The bases that nobody would lean on were `name` gone, the lowest first."""
        if not self.header(name).backing:
            return []
        parents = self.parents()
        doomed: list[str] = []
        base = parents.get(name, "")
        going = {name}
        while (
            base in parents
            and base not in going
            and not any(parent == base and child not in going for child, parent in parents.items())
        ):
            going.add(base)
            doomed.insert(0, base)
            base = parents[base]
        return doomed

    def leftovers(self, read: dict[str, Header]) -> tuple[list[str], list[str]]:
        """Bases nobody leans on: those that are a second name of a volume, and all others.

        The first are what a clone leaves that was cut short. read: as `parents` has it.
        """
        parents = self.parents(read)
        needed = set(parents.values())
        alone = [name for name in parents if BASE.fullmatch(name) and name not in needed]
        if not alone:
            return [], []
        volumes = {self._inode(name) for name in parents if name.endswith(".qcow2")}
        second = [name for name in alone if self._inode(name) in volumes]
        return second, [name for name in alone if name not in second]

    def merges(self, busy: Collection[str]) -> list[Merge]:
        """The bases with one child only, as long as no volume in `busy` leans on them."""
        if not self.may_have_bases:
            return []  # it is asked for often, and the directory may be large
        parents = self.parents()
        children: dict[str, list[str]] = {}
        for child, base in parents.items():
            children.setdefault(base, []).append(child)
        found = []
        for base, leaning in sorted(children.items()):
            if base not in parents or len(leaning) != 1:
                continue
            leaves = self._leaves(leaning[0], children)
            settled = all(leaf.endswith(".qcow2") for leaf in leaves)
            if settled and leaves and not leaves & set(busy):
                found.append(Merge(base, leaning[0], leaves))
        return found

    def _leaves(self, name: str, children: dict[str, list[str]]) -> frozenset[str]:
        found: set[str] = set()
        seen: set[str] = set()
        ahead = [name]
        while ahead:
            each = ahead.pop()
            if each in seen:
                continue  # damaged: a ring of bases
            seen.add(each)
            if BASE.fullmatch(each):
                ahead += children.get(each, ())
            else:
                found.add(each)
        return frozenset(found)

    def _inode(self, name: str) -> int:
        facts = self._directory.regular(name)
        return facts.st_ino if facts is not None else -1
