"""The files of a directory of images, and each change of them that must be whole or not at all.

Everything here blocks, and is called by one thread at a time.
"""

from __future__ import annotations

import os
import uuid as uuids
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import structlog

from .chains import MAX_DEPTH, Chains, Merge
from .directory import Directory, failures
from .driver import (
    BackendFailure,
    NewVolume,
    RepositoryNotEmpty,
    Volume,
    VolumeExists,
    VolumeLabel,
    VolumeMissing,
)
from .image_names import BASE, FORMATS, LIVE, OURS, Image, aligned, image_at
from .label import MARKER, read_label, read_marker, write_label
from .qcow2 import NotOurs

log = structlog.get_logger()


@dataclass(frozen=True)
class Branch:
    """How a qcow2 volume is cloned. base: what both lean on; splits: it is the volume of now."""

    base: str
    splits: bool
    size: int
    too_deep: bool


class ImageFiles:
    """One open directory. in_flight: uuids that are staged or retired and not settled yet."""

    def __init__(self, path: PurePosixPath, directory: Directory) -> None:
        self.path = path
        self.directory = directory
        self.chains = Chains(directory)
        self.in_flight: set[str] = set()
        self.incomplete = True  # until a scan has seen every disk that is known

    def at(self, name: str) -> str:
        """The absolute path of one of our files."""
        return str(self.path / name)

    def find(self, uuid: str) -> str | None:
        """The location of the live volume with this uuid."""
        for kind in FORMATS:
            if self.directory.regular(f"{uuid}.{kind}"):
                return f"{uuid}.{kind}"
        return None

    def look(self, image: Image) -> Volume:
        """A volume as it is. Raises VolumeMissing, also for an image that is not safe to open."""
        with failures(f"cannot read {image.live}"):
            facts = self.directory.regular(image.live)
            if facts is None:
                raise VolumeMissing(image.live)
            size = facts.st_size
            if image.format == "qcow2":
                try:
                    size = self.chains.header(image.live).virtual_size
                except NotOurs as error:
                    log.warning("image passed over", path=self.at(image.live), why=str(error))
                    raise VolumeMissing(image.live) from error
            label = read_label(self.directory, image.uuid)
        return Volume(image.uuid, image.live, size, facts.st_blocks * 512, label)

    def check_chain(self, image: Image) -> Volume:
        """A volume that is safe to open with all it leans on. Raises BackendFailure."""
        volume = self.look(image)
        if image.format == "qcow2":
            try:
                with failures(f"cannot read {image.live}"):
                    self.chains.chain(image.live)
            except NotOurs as error:
                raise BackendFailure(f"{image.live} cannot be used: {error}") from error
        return volume

    # Making

    def refuse_existing(self, uuid: str) -> None:
        names = {name for kind in FORMATS for name in _names(Image(uuid, kind))}
        if uuid in self.in_flight or any(self.directory.exists(name) for name in names):
            raise VolumeExists(uuid)

    def reserve(self, image: Image) -> None:
        """An empty, private file where the new volume is staged, and nothing else yet."""
        with failures(f"cannot make the disk {image.uuid}", fd=self.directory.fd):
            os.close(self.directory.open(image.staged, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    def stage_raw(self, image: Image, new: NewVolume, fill: Callable[[int], None] | None) -> Volume:
        """Write a raw image where it is staged."""
        size = aligned(new.size)
        what = f"cannot make the disk {new.uuid}"
        with failures(what, requested=size, fd=self.directory.fd):
            fd = self.directory.open(image.staged, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                if fill is not None:
                    fill(fd)
                os.ftruncate(fd, size)
            finally:
                os.close(fd)
        return self.finish_staging(image, new)

    def finish_staging(self, image: Image, new: NewVolume) -> Volume:
        """Let a staged image reach the disk, at its full size, with its label."""
        size = aligned(new.size)
        with failures(f"cannot make the disk {new.uuid}", requested=size, fd=self.directory.fd):
            if image.format == "raw":
                fd = self.directory.open(image.staged, os.O_RDWR)
                try:
                    if os.fstat(fd).st_size < size:
                        os.ftruncate(fd, size)
                finally:
                    os.close(fd)
            else:
                size = self.chains.header(image.staged).virtual_size
            self.directory.sync_file(image.staged)
            write_label(self.directory, new.uuid, new.label)
            facts = self.directory.regular(image.staged)
        used = 0 if facts is None else facts.st_blocks * 512
        return Volume(new.uuid, image.live, size, used, new.label)

    # Cloning

    def plan_branch(self, image: Image) -> Branch:
        """How to clone a qcow2 volume. Raises VolumeMissing, BackendFailure."""
        size = self.check_chain(image).virtual_size
        with failures(f"cannot read {image.live}"):
            chain = self.chains.chain(image.live)
            empty = self.chains.empty(image.live)
        parent = chain[0][1].backing
        if empty:
            return Branch(parent, False, size, too_deep=False)
        return Branch(f"{uuids.uuid4()}.base", True, size, too_deep=len(chain) >= MAX_DEPTH)

    def reserve_branch(self, image: Image, twin: Image, branch: Branch) -> None:
        """Empty, private files for the images to come."""
        self.reserve(twin)
        if branch.splits:
            with failures(f"cannot clone {image.live}", fd=self.directory.fd):
                self.directory.remove(image.next)
                os.close(self.directory.open(image.next, os.O_RDWR | os.O_CREAT | os.O_EXCL))

    def branch(self, image: Image, new: NewVolume, branch: Branch) -> Volume:
        """Turn a volume into a base with two leaves, which have been written already.

        The base first is a second name of the volume; the volume's own name then passes to its
        new leaf in one step. Cut short anywhere, the volume shows what it showed before.
        """
        twin = Image(new.uuid, "qcow2")
        if not branch.splits:
            return self.finish_staging(twin, new)
        with failures(f"cannot clone {image.live}", fd=self.directory.fd):
            try:
                volume = self.finish_staging(twin, new)
                self.directory.sync_file(image.next)
                self.directory.link(image.live, branch.base)
                self.directory.rename(image.next, image.live)
            except BaseException:
                self.abandon_branch(image, branch)
                raise
        return volume

    def abandon_branch(self, image: Image, branch: Branch) -> None:
        """Take back what of a clone was made before it was decided."""
        with suppress(OSError):
            if branch.splits and self._same(image.live, branch.base):
                self.directory.remove(branch.base)
            self.directory.remove(image.next)

    def _same(self, one: str, other: str) -> bool:
        first, second = self.directory.regular(one), self.directory.regular(other)
        return first is not None and second is not None and os.path.samestat(first, second)

    def merges(self, busy: Collection[str]) -> list[Merge]:
        """What could be merged now; nothing while an image cannot be read."""
        try:
            return self.chains.merges(busy)
        except NotOurs as error:
            log.warning("no disks merged", path=str(self.path), why=str(error))
            return []

    def replace(self, base: str, child: str) -> None:
        """A base that took up its child's data takes its name as well."""
        with failures(f"cannot rename {base}"):
            self.directory.sync_file(base)
            self.directory.rename(base, child)

    # Renaming and removing

    def move(self, image: Image, old: str, new: str) -> None:
        with failures(f"cannot rename the disk {image.uuid}"):
            if self.directory.regular(old):
                self.directory.rename(old, new)
            elif not self.directory.regular(new):
                raise VolumeMissing(image.live)

    def purge(self, uuid: str) -> None:
        """Remove what is staged or retired of a volume, and the bases that only it leaned on."""
        with failures(f"cannot remove the disk {uuid}"):
            for kind in FORMATS:
                image = Image(uuid, kind)
                for name in (image.staged, image.retired):
                    if self.directory.regular(name):
                        self._remove_with_bases(name)
            if self.find(uuid) is None:
                self.directory.remove(f"{uuid}.json")

    def _remove_with_bases(self, name: str) -> bool:
        """The lowest base first: what is left always names what is still to go.

        Returns False when it must wait until everything can be seen again.
        """
        doomed: list[str] = []
        if name.endswith((".qcow2-staged", ".qcow2-retired")) and self._written(name):
            try:
                doomed = self.chains.alone_below(name)
            except NotOurs as error:
                log.warning("space kept", path=self.at(name), why=str(error))
                return False
        if doomed and self.incomplete:
            log.warning("space kept until every disk is found again", path=self.at(name))
            return False
        if doomed:
            self.directory.remove(*doomed)
        self.directory.remove(name)
        return True

    def _written(self, name: str) -> bool:
        """Whether the image got as far as a header."""
        try:
            self.chains.header(name)
        except NotOurs:
            return False
        return True

    def resize_raw(self, image: Image, size: int) -> None:
        with failures(f"cannot resize the disk {image.uuid}", requested=size, fd=self.directory.fd):
            fd = self.directory.open(image.live, os.O_RDWR)
            try:
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)

    def describe(self, image: Image, label: VolumeLabel) -> None:
        if self.look(image).label != label:
            with failures(f"cannot write the label of {image.uuid}", fd=self.directory.fd):
                write_label(self.directory, image.uuid, label)

    # The whole directory

    def scan(self, known: Collection[str]) -> Sequence[Volume]:
        """All volumes, once what an earlier instance left half done is settled."""
        with failures(f"cannot read {self.path}"):
            names = self.directory.names()
            self.incomplete = True
            self._finish_moves(known, names)
            volumes = [volume for volume in map(self._listed, self.directory.names()) if volume]
            found = {volume.location for volume in volumes}
            retiring = {uuid for uuid in self.in_flight if self.find(uuid) is None}
            self.incomplete = any(
                location not in found and location.partition(".")[0] not in retiring
                for location in known
            )
            self._remove_leftovers()
        return volumes

    def _listed(self, name: str) -> Volume | None:
        if LIVE.fullmatch(name) is None or self.directory.regular(name) is None:
            return None
        try:
            return self.look(image_at(name))
        except VolumeMissing:
            return None

    def _finish_moves(self, known: Collection[str], names: Sequence[str]) -> None:
        for name in names:
            match = OURS.fullmatch(name)
            if match is None or match[1] in self.in_flight:
                continue
            if match[2] in ("qcow2-next", "json.new"):
                self.directory.remove(name)
            for kind in FORMATS:
                image = Image(match[1], kind)
                ours = name in (image.staged, image.retired)
                if ours and image.live in known and image.live not in names:
                    log.info("disk recovered", path=self.at(name))
                    self.directory.rename(name, image.live)

    def _remove_leftovers(self) -> None:
        for name in self.directory.names():
            match = OURS.fullmatch(name)
            if match is None or match[1] in self.in_flight:
                continue
            if match[2].endswith(("staged", "retired")) and self._remove_with_bases(name):
                log.info("half-made disk removed", path=self.at(name))
        with suppress(NotOurs):
            leftovers, unused = self.chains.leftovers()
            self.directory.remove(*leftovers)
            for name in unused:  # a disk that leaned on it may come back
                log.warning("no disk needs this image; it is kept", path=self.at(name))
        if not self.incomplete:
            self._drop_orphaned_labels()

    def _drop_orphaned_labels(self) -> None:
        matches = [m for m in map(OURS.fullmatch, self.directory.names()) if m]
        with_image = {m[1] for m in matches if not m[2].startswith("json")} | self.in_flight
        for match in matches:
            if match[2] == "json" and match[1] not in with_image:
                self.directory.remove(match[0])

    def destroy(self) -> None:
        with failures(f"cannot destroy the repository in {self.path}"):
            volumes = self.scan(())
            hidden = [name for name in self.directory.names() if BASE.fullmatch(name)]
            if volumes or self.in_flight or hidden:
                raise RepositoryNotEmpty(f"{self.path} still holds disks")
            marker = read_marker(self.directory)
            self.directory.remove(MARKER)
        if marker is not None and marker.made:
            with suppress(OSError):  # somebody keeps other files there
                Path(self.path).rmdir()


def _names(image: Image) -> tuple[str, ...]:
    return (image.live, image.staged, image.retired)
