"""The files of a directory of images, and each change of them that must be whole or not at all.

Everything here blocks, and is called by one thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import structlog

from .branches import Branch, Branches
from .chains import Chains, Merge
from .directory import Directory, failures
from .driver import (
    BackendFailure,
    NewVolume,
    NotSupported,
    RepositoryNotEmpty,
    Volume,
    VolumeExists,
    VolumeLabel,
    VolumeMissing,
)
from .image_names import BASE, FORMATS, LIVE, OURS, Image, aligned, image_at
from .label import MARKER, read_label, read_marker, write_label
from .loops import loops_on, take_over_size
from .qcow2 import Header, NotOurs

log = structlog.get_logger()


class ImageFiles:
    """One open directory. in_flight: uuids that are staged or retired and not settled yet."""

    def __init__(self, path: PurePosixPath, directory: Directory) -> None:
        self.path = path
        self.directory = directory
        self.chains = Chains(directory)
        self.branches = Branches(directory, self.chains)
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

    def look(self, image: Image, read: dict[str, Header] | None = None) -> Volume:
        """A volume as it is. Raises VolumeMissing, also for an image that is not safe to open.

        read: as `Chains.header` has it.
        """
        with failures(f"cannot read {image.live}"):
            facts = self.directory.regular(image.live)
            if facts is None:
                raise VolumeMissing(image.live)
            size = facts.st_size
            if image.format == "qcow2":
                try:
                    size = self.chains.header(image.live, read).virtual_size
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
        self.check_chain(image)
        with failures(f"cannot read {image.live}"):
            return self.branches.plan(image.live)

    def reserve_branch(self, image: Image, twin: Image, branch: Branch) -> None:
        """Empty, private files for the images to come."""
        self.reserve(twin)
        with failures(f"cannot clone {image.live}", fd=self.directory.fd):
            self.branches.reserve(branch)

    def prepare_branch(self, image: Image, new: NewVolume, branch: Branch) -> Volume:
        """Make all that a clone needs, but let the volume be what it is. Or leave nothing."""
        with failures(f"cannot clone {image.live}", fd=self.directory.fd):
            try:
                volume = self.finish_staging(Image(new.uuid, "qcow2"), new)
                if branch.splits:
                    self.branches.name_base(image.live, branch)
            except BaseException:
                self.branches.abandon(image.live, branch)
                raise
        return volume

    def branch(self, image: Image, new: NewVolume, branch: Branch) -> Volume:
        """Turn a volume into a base with two leaves, which have been written already.

        Cut short anywhere, the volume shows what it showed before.
        """
        volume = self.prepare_branch(image, new, branch)
        if branch.splits:
            self.finish_branch(image, branch)
        return volume

    def finish_branch(self, image: Image, branch: Branch) -> None:
        """Let a volume be what its writer, if it has one, goes on in."""
        with failures(f"cannot clone {image.live}", fd=self.directory.fd):
            self.branches.pass_name(image.live, branch)

    def name_again(self, image: Image, path: str) -> str:
        """Let the path by which a writer opened a volume lead to it; the name to be removed."""
        name = PurePosixPath(path).name
        with failures(f"cannot clone {image.live}", fd=self.directory.fd):
            return name if self.branches.name_again(image.live, name) else ""

    def drop_name(self, name: str) -> None:
        """Take back what `name_again` made; what stays of it goes with the next scan."""
        if name:
            with suppress(OSError):
                self.directory.remove(name)

    def settle_branches(self) -> None:
        """Finish or take back clones that were cut short."""
        with failures(f"cannot settle what is in {self.path}"):
            self.branches.settle()

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

    def grow_in_use(self, image: Image, size: int) -> None:
        """Grow a raw image that is open through loop devices. Raises NotSupported without any."""
        with failures(f"cannot grow the disk {image.uuid}", requested=size, fd=self.directory.fd):
            fd = self.directory.open(image.live, os.O_RDWR)
            try:
                devices = loops_on(fd)
                if not devices:
                    raise NotSupported(f"nothing that has {image.live} open can be told")
                os.ftruncate(fd, size)
                os.fsync(fd)
            finally:
                os.close(fd)
            for device in devices:
                take_over_size(device)

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
            self.branches.settle()
            read: dict[str, Header] = {}
            listed = (self._listed(name, read) for name in self.directory.names())
            volumes = [volume for volume in listed if volume]
            found = {volume.location for volume in volumes}
            retiring = {uuid for uuid in self.in_flight if self.find(uuid) is None}
            self.incomplete = any(
                location not in found and location.partition(".")[0] not in retiring
                for location in known
            )
            self._remove_leftovers(read)
        return volumes

    def _listed(self, name: str, read: dict[str, Header]) -> Volume | None:
        if LIVE.fullmatch(name) is None:
            return None
        try:
            return self.look(image_at(name), read)
        except VolumeMissing:
            return None

    def _finish_moves(self, known: Collection[str], names: Sequence[str]) -> None:
        there = frozenset(names)
        for name in names:
            if not name.endswith(("staged", "retired", ".json.new")):
                continue
            match = OURS.fullmatch(name)
            if match is None or match[1] in self.in_flight:
                continue
            if match[2] == "json.new":
                self.directory.remove(name)
            for kind in FORMATS:
                image = Image(match[1], kind)
                ours = name in (image.staged, image.retired)
                if ours and image.live in known and image.live not in there:
                    log.info("disk recovered", path=self.at(name))
                    self.directory.rename(name, image.live)

    def _remove_leftovers(self, read: dict[str, Header]) -> None:
        for name in self.directory.names():
            if not name.endswith(("staged", "retired")):
                continue
            match = OURS.fullmatch(name)
            if match is None or match[1] in self.in_flight:
                continue
            if self._remove_with_bases(name):
                log.info("half-made disk removed", path=self.at(name))
        with suppress(NotOurs):
            leftovers, unused = self.chains.leftovers(read)
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
