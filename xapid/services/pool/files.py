"""Patches on the disk of the host: received, verified, unpacked into a scratch directory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from .archive import MAX_HEAD, Head, NotAPatch, head_length, read_head, read_keys

KEYS: Final = "patch-keys"
PATCHES: Final = "patches"
SCRATCH: Final = "patch-scratch"
MAX_UNPACKED: Final = 4 << 30
MAX_MEMBERS: Final = 10_000
_BLOCK: Final = 1 << 20


class PatchFileMissing(Exception):  # noqa: N818
    """The file of the patch was cleaned away, or lost."""


@dataclass(frozen=True)
class PatchFiles:
    """One directory a patch under `state`, named by its uuid, which was checked to be one.

    state: the daemon's state directory. Everything here is readable by its owner only.
    """

    state: Path

    def prepare(self) -> None:
        """Make the directories, and remove what an earlier run left half done."""
        shutil.rmtree(self.state / SCRATCH, ignore_errors=True)
        for name in (KEYS, PATCHES, SCRATCH):
            (self.state / name).mkdir(mode=0o700, exist_ok=True)

    async def receive(self, chunks: AsyncIterator[bytes]) -> tuple[Head, Path]:
        """Write an upload to a file of its own; nothing is written before its head is trusted.

        Raises NotAPatch, OSError; then no file is left.
        """
        keys = await asyncio.to_thread(read_keys, self.state / KEYS)
        beginning = bytearray()
        length = None
        async for chunk in chunks:
            beginning += chunk
            length = head_length(bytes(beginning[:MAX_HEAD]))
            if length is not None and len(beginning) >= length:
                break
        head = read_head(bytes(beginning[: length or 0]), keys)
        fd, name = tempfile.mkstemp(dir=self.state / SCRATCH, prefix="upload-")
        try:
            with os.fdopen(fd, "wb") as file:
                await _write(file, head, bytes(beginning), chunks)
        except BaseException:
            self.discard(Path(name))
            raise
        return head, Path(name)

    def keep(self, received: Path, uuid: str) -> None:
        """Take a received file for the patch's own."""
        directory = self.state / PATCHES / uuid
        directory.mkdir(mode=0o700, exist_ok=True)
        received.replace(directory / "patch")
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def clean(self, uuid: str) -> None:
        """Remove the file of a patch; the output of its scripts stays."""
        (self.state / PATCHES / uuid / "patch").unlink(missing_ok=True)

    def remove(self, uuid: str) -> None:
        """Remove everything of a patch."""
        shutil.rmtree(self.state / PATCHES / uuid, ignore_errors=True)

    def keep_output(self, uuid: str, script: str, output: str) -> None:
        """Keep what a script of the patch wrote, for people."""
        directory = self.state / PATCHES / uuid
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / f"{script}.log").write_text(output, errors="replace")

    def unpack(self, uuid: str) -> tuple[Head, Path]:
        """Verify a patch once more and unpack it into a fresh directory; `discard` it after use.

        For a thread: it reads the whole file. Raises PatchFileMissing, NotAPatch, OSError; then no
        directory is left.
        """
        directory = Path(tempfile.mkdtemp(dir=self.state / SCRATCH, prefix=f"{uuid}-"))
        try:
            return self._unpack(uuid, directory), directory
        except BaseException:
            self.discard(directory)
            raise

    def discard(self, path: Path) -> None:
        """Remove what `receive` or `unpack` gave, if it is still there."""
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def _unpack(self, uuid: str, directory: Path) -> Head:
        try:
            file = (self.state / PATCHES / uuid / "patch").open("rb")
        except FileNotFoundError as error:
            raise PatchFileMissing(uuid) from error
        with file:
            beginning = file.read(MAX_HEAD)
            length = head_length(beginning) or 0
            head = read_head(beginning[:length], read_keys(self.state / KEYS))
            file.seek(length)
            digest, size = hashlib.sha256(), 0
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
            if (size, digest.hexdigest()) != (head.manifest.size, head.manifest.sha256):
                raise NotAPatch("its payload is not the one that was signed")
            file.seek(length)
            _extract(file, directory)
        return head


async def _write(
    file: BinaryIO, head: Head, beginning: bytes, chunks: AsyncIterator[bytes]
) -> None:
    digest = hashlib.sha256()
    written = 0

    def put(chunk: bytes) -> None:
        file.write(chunk)
        digest.update(chunk)

    async def payload() -> AsyncIterator[bytes]:
        yield beginning[head.length :]
        async for chunk in chunks:
            yield chunk

    file.write(beginning[: head.length])
    async for chunk in payload():
        written += len(chunk)
        if written > head.manifest.size:
            raise NotAPatch("it is longer than its manifest says")
        await asyncio.to_thread(put, chunk)
    if (written, digest.hexdigest()) != (head.manifest.size, head.manifest.sha256):
        raise NotAPatch("its payload is not the one that was signed")
    await asyncio.to_thread(file.flush)
    await asyncio.to_thread(os.fsync, file.fileno())


def _extract(file: BinaryIO, directory: Path) -> None:
    """Unpack plain files and directories beneath `directory`. Raises NotAPatch for others."""
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            held = 0
            for number, member in enumerate(tar):
                held += member.size
                if number >= MAX_MEMBERS or held > MAX_UNPACKED:
                    raise NotAPatch("its payload unpacks to too much")
                _extract_member(tar, member, directory)
    except (tarfile.TarError, EOFError) as error:
        raise NotAPatch("its payload is no tar archive") from error


def _extract_member(tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise NotAPatch("its payload names a file outside its own directory")
    target = directory / path
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise NotAPatch("its payload holds something else than plain files and directories")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as copy:
        shutil.copyfileobj(source, copy, _BLOCK)
    target.chmod(0o700 if member.mode & 0o100 else 0o600)
