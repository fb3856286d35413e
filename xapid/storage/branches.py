"""How a qcow2 volume is split into a base and leaves on it, in steps that a kill may come between.

The base first is a second name of the volume. The image that goes on in the volume's place lies
beside it under a name of its own, and takes the volume's name in one rename, after whoever writes
to the volume goes on in it. Everything here blocks; it raises OSError and NotOurs.
"""

from __future__ import annotations

import fcntl
import os
import struct
import uuid as uuids
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from .chains import MAX_DEPTH, Chains
from .directory import Directory
from .image_names import NEXT
from .qcow2 import NotOurs

log = structlog.get_logger()

FLOCK: Final = struct.Struct("hhqqi")
QEMU_LOCKS: Final = (100, 200)
"""Where in an image qemu holds locks as long as it has it open, and how many bytes."""


@dataclass(frozen=True)
class Branch:
    """How a qcow2 volume is cloned. base: what both lean on; splits: it is the volume of now.

    leans_on: what the volume leans on before. size: bytes.
    """

    base: str
    splits: bool
    leans_on: str
    size: int
    too_deep: bool

    @property
    def next(self) -> str:
        """What the volume goes on in once it is split."""
        return f"{self.base.removesuffix('.base')}.qcow2-next"


class Branches:
    """Splits volumes of one directory."""

    def __init__(self, directory: Directory, chains: Chains) -> None:
        self._directory = directory
        self._chains = chains

    def plan(self, location: str) -> Branch:
        """How to clone a volume.

        One that is empty needs no new base, also while a qemu writes to it: that has an entry in
        the first table of the image before it tells its guest that anything is written.
        """
        chain = self._chains.chain(location)
        header = chain[0][1]
        if self._chains.empty(location):
            return Branch(header.backing, False, header.backing, header.virtual_size, False)
        base = f"{uuids.uuid4()}.base"
        too_deep = len(chain) >= MAX_DEPTH
        return Branch(base, True, header.backing, header.virtual_size, too_deep)

    def reserve(self, branch: Branch) -> None:
        """An empty, private file for the image that the volume goes on in."""
        if branch.splits:
            os.close(self._directory.open(branch.next, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    def name_base(self, location: str, branch: Branch) -> None:
        """Let everything that was written so far reach the disk; the volume is a base, too."""
        self._directory.sync_file(branch.next)
        self._chains.may_have_bases = True
        self._directory.link(location, branch.base)

    def name_again(self, location: str, name: str) -> bool:
        """Give a volume the name again that it had while it was next; whether there is need."""
        if NEXT.fullmatch(name) is None or self._directory.exists(name):
            return False
        self._directory.link(location, name)
        return True

    def pass_name(self, location: str, branch: Branch) -> None:
        """The volume is what goes on in its place from now on."""
        self._directory.rename(branch.next, location)

    def abandon(self, location: str, branch: Branch) -> None:
        """Take back what was made before it was decided."""
        with suppress(OSError):
            if branch.splits:
                if self._inode(location) == self._inode(branch.base):
                    self._directory.remove(branch.base)
                self._directory.remove(branch.next)

    def settle(self) -> None:
        """Finish or take back what was cut short, by what storage shows.

        A qemu that got as far as writing to the next image has it open, or wrote to it: then that
        is the volume. Otherwise nothing happened yet.
        """
        for name in self._directory.names():
            if NEXT.fullmatch(name) is None:
                continue
            if self._has_another_name(name):
                self._directory.remove(name)
                continue
            volume = self._volume_of(name)
            if volume and not self._untouched(name):
                log.info("a guest's disk goes on in its new image", disk=volume)
                self._directory.rename(name, volume)
            elif volume or not self._written(name):
                self._directory.remove(name)
            else:
                log.warning("an image is kept that belongs to no disk", image=name)

    def _volume_of(self, name: str) -> str:
        """The volume that a next image would replace: its base is a second name of that."""
        try:
            base = self._chains.header(name).backing
        except NotOurs:
            return ""
        inode = self._inode(base) if base else -1
        volumes = (each for each in self._directory.names() if each.endswith(".qcow2"))
        return next((each for each in volumes if inode != -1 and self._inode(each) == inode), "")

    def _has_another_name(self, name: str) -> bool:
        facts = self._directory.regular(name)
        return facts is not None and facts.st_nlink > 1

    def _untouched(self, name: str) -> bool:
        return not self._written(name) and not self._open_in_qemu(name)

    def _written(self, name: str) -> bool:
        """Whether an image holds any data."""
        try:
            return not self._chains.empty(name)
        except NotOurs:
            return False

    def _open_in_qemu(self, name: str) -> bool:
        """Whether a qemu has the image open; where nobody can tell, one has."""
        fd = self._directory.open(name, os.O_RDONLY)
        try:
            asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, *QEMU_LOCKS, 0)
            told = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
        except OSError:
            return True
        finally:
            os.close(fd)
        kind: int = FLOCK.unpack(told)[0]
        return kind != fcntl.F_UNLCK

    def _inode(self, name: str) -> int:
        facts = self._directory.regular(name)
        return -1 if facts is None else facts.st_ino
