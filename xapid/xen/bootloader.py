"""Bootloaders: a kernel and a ramdisk from the guest's own disk.

libxl runs pygrub too, but without privileges it cannot open a disk that only root may read, and of
a failure libxl says no more than that there was one. So xapid runs it: as a user of its own, on a
device node that this user alone may read, in pygrub's own cage (a chroot, other namespaces,
limits). Whatever the guest's disk talks it into, its answer is a command line and two files.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from ..programs import ProgramMissing, ProgramTookTooLong, run
from .lend import lend
from .plan import BackendDisk, BootPaths

# Where distributions keep Xen's private programs; {} is the version, as in 4.17.
PLACES: Final = (
    *("/usr/lib/xen-{}/bin", "/usr/libexec/xen/bin", "/usr/lib/xen/bin"),
    *("/usr/local/lib/xen/bin", "/usr/local/libexec/xen/bin"),
)
UID_RANGE_USER: Final = "xen-qemuuser-range-base"
UID_RANGE_BASE: Final = 131072
FIRST_RESERVED_DOMID: Final = 0x7FF0
READERS: Final = 4
DEADLINE_S: Final = 120.0
_RESULT_LIMIT: Final = 1 << 16


class BootloaderError(Exception):
    """The bootloader found nothing to boot, or could not look; the message says why."""


class Bootloader(Protocol):
    """What fetches a kernel from a guest's disk."""

    def fetched(
        self, disk: BackendDisk | None, options: Sequence[str], kernel_arguments: str
    ) -> AbstractAsyncContextManager[BootPaths]:
        """The files to boot, as long as the context lasts.

        disk: the one the VM boots from. options: of the bootloader, such as --entry=1.
        kernel_arguments: added to what the guest's configuration says. Raises BootloaderError.
        """


def find_pygrub(version: str, places: Sequence[str] = PLACES) -> Path | None:
    """The pygrub of the Xen of this version, such as "4.17"."""
    candidates = (Path(place.format(version)) / "pygrub" for place in places)
    return next((path for path in candidates if path.is_file()), None)


def reader_uids() -> tuple[int, ...]:
    """Uids that nothing else runs as.

    A range is set apart for device models, base + domid; the domids that Xen reserves are free.
    """
    try:
        base = pwd.getpwnam(UID_RANGE_USER).pw_uid
    except KeyError:
        base = UID_RANGE_BASE
    return tuple(base + FIRST_RESERVED_DOMID + number for number in range(READERS))


class Pygrub:
    """Implements `Bootloader`. place: a private directory, emptied now; program: None if absent."""

    def __init__(self, place: Path, program: Path | None, uids: Sequence[int]) -> None:
        self._place = place
        self._program = program
        self._free: asyncio.Queue[int] = asyncio.Queue()
        for uid in uids:
            self._free.put_nowait(uid)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)

    @asynccontextmanager
    async def fetched(
        self, disk: BackendDisk | None, options: Sequence[str], kernel_arguments: str
    ) -> AsyncIterator[BootPaths]:
        if disk is None or disk.format == "empty":
            raise BootloaderError("the VM has no disk to boot from")
        if disk.format != "raw":
            raise BootloaderError(f"pygrub cannot read a disk in the format {disk.format}")
        directory = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._place))
        try:
            wanted = (*options, f"--args={kernel_arguments}")
            yield await self._fetch(Path(disk.path), wanted, directory)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _fetch(self, disk: Path, wanted: Sequence[str], directory: Path) -> BootPaths:
        uid = await self._free.get()
        try:
            node = directory / "disk"
            held = await _lend(disk, node, uid)
            try:
                return await self._run(node, wanted, directory, uid)
            finally:
                os.close(held)
        finally:
            self._free.put_nowait(uid)

    async def _run(self, node: Path, wanted: Sequence[str], directory: Path, uid: int) -> BootPaths:
        if self._program is None:
            raise BootloaderError("pygrub is not installed beside this Xen")
        result = directory / "result"
        await asyncio.to_thread(result.touch, 0o600)
        try:
            finished = await run(
                [
                    self._program,
                    *("--quiet", f"--runas={uid}", *wanted),
                    *(f"--output={result}", "--output-format=simple0"),
                    *(f"--output-directory={directory}", str(node)),
                ],
                deadline_s=DEADLINE_S,
            )
        except (ProgramMissing, ProgramTookTooLong) as error:
            raise BootloaderError(str(error)) from error
        # Its exit status says nothing: it hands on a wait status, whose low byte is 0.
        answer, kernel, ramdisk = await asyncio.to_thread(_outcome, directory, result)
        if not kernel or not answer:
            raise BootloaderError(_complaint(finished.output))
        return BootPaths(kernel, ramdisk, _kernel_arguments(answer))


async def _lend(disk: Path, node: Path, uid: int) -> int:
    """`lend` in a thread; the descriptor is closed when the caller is cancelled meanwhile."""
    lending = asyncio.create_task(asyncio.to_thread(lend, disk, node, uid))
    try:
        return await asyncio.shield(lending)
    except asyncio.CancelledError:
        lending.add_done_callback(_close_result)
        raise
    except OSError as error:
        raise BootloaderError(f"the disk cannot be read: {error.strerror}") from error


def _close_result(lending: asyncio.Task[int]) -> None:
    if lending.exception() is None:
        os.close(lending.result())


def _outcome(directory: Path, result: Path) -> tuple[str, str, str]:
    """What pygrub answered, and the paths of the kernel and the ramdisk. Blocks."""
    with result.open("rb") as file:
        answer = file.read(_RESULT_LIMIT).decode(errors="replace")
    return answer, _file(directory, "boot_kernel.*"), _file(directory, "boot_ramdisk.*")


def _file(directory: Path, pattern: str) -> str:
    """The path of a file that was made before pygrub gave up its privileges; "" if none is left.

    The paths in its answer are not looked at: by then the guest's disk may have written them.
    """
    return next((str(path) for path in directory.glob(pattern) if path.stat().st_size), "")


def _kernel_arguments(answer: str) -> str:
    lines = [line for line in answer.split("\0") if line.startswith("args ")]
    return "".join(filter(str.isprintable, lines[-1].removeprefix("args "))) if lines else ""


def _complaint(output: str) -> str:
    """The last thing that pygrub said, which is the exception it ended with."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "pygrub found no kernel and did not say why"
