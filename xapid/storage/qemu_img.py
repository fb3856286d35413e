"""qemu-img of the distribution: formats always named, paths absolute and made by the daemon.

It is never started with a directory to work in: entering one on a dead server would block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from .. import programs
from .driver import BackendFailure, NoSpace, Progress, StorageTimeout

PROGRAM: Final = "qemu-img"
WITH_US: Final = ("setpriv", "--pdeathsig", "KILL")
"""Before a program that must not go on working on a disk when the daemon is gone."""
QUICK_S: Final = 60.0
SLOWEST: Final = 1 << 20  # bytes a second; what is slower than that is stuck
NO_ROOM: Final = ("No space left on device", "Disk quota exceeded", "File too large")
PERCENT: Final = re.compile(rb"\(([0-9]{1,3}\.[0-9]{2})/100%\)")
CREATE_OPTIONS: Final = "compat=1.1,cluster_size=65536,lazy_refcounts=off"


async def check_installed() -> None:
    """Raises BackendFailure where there is no qemu-img."""
    try:
        await programs.run((PROGRAM, "--version"), deadline_s=QUICK_S)
    except programs.ProgramMissing as error:
        raise BackendFailure(f"{error}; qcow2 images need it (qemu-utils)") from error


async def create(path: str, size: int) -> None:
    """Write an empty qcow2 image of `size` bytes. Raises NoSpace, BackendFailure."""
    await _run("create", "-q", "-f", "qcow2", "-o", CREATE_OPTIONS, path, str(size), size=size)


async def create_overlay(path: str, backing: str, size: int) -> None:
    """Write an image that shows the qcow2 image `backing`, named relative to its own directory.

    The backing file is not opened. Raises NoSpace, BackendFailure.
    """
    overlay = ("-o", CREATE_OPTIONS, "-b", backing, "-F", "qcow2", "-u")
    await _run("create", "-q", "-f", "qcow2", *overlay, path, str(size), size=size)


async def convert(
    source: str,
    source_format: str,
    target: str,
    target_format: str,
    size: int,
    progress: Progress,
    *,
    into_empty: bool = False,
) -> None:
    """Write what `source` shows to a new image of another format; zeros become holes.

    size: bytes, for the deadline. into_empty: the target is there, and holds zeros.
    Raises NoSpace, BackendFailure, StorageTimeout.
    """
    options = ("-o", CREATE_OPTIONS) if target_format == "qcow2" else ()
    formats = ("-f", source_format, "-O", target_format, *options)
    if into_empty:
        formats = (*formats, "-n", "--target-is-zero")
    await _long("convert", "-p", *formats, source, target, size=size, progress=progress)


async def convert_onto(
    source: str, source_format: str, device: str, size: int, progress: Progress
) -> None:
    """Write what `source` shows onto a block device that reads as zeros and is large enough.

    size: bytes, for the deadline. Nothing stays in the page cache, which whoever cancels would have
    to wait for. Raises as `convert` does.
    """
    formats = ("-f", source_format, "-O", "raw", "-n", "--target-is-zero", "-t", "none")
    await _long("convert", "-p", *formats, source, device, size=size, progress=progress)


async def commit(path: str, size: int, progress: Progress) -> None:
    """Write what a qcow2 image holds into its backing file; the image itself stays as it is.

    What the image shows is the same at every moment. Raises as `convert` does.
    """
    await _long("commit", "-p", "-d", "-f", "qcow2", path, size=size, progress=progress)


async def resize(path: str, size: int) -> None:
    """Make a qcow2 image `size` bytes large. Raises NoSpace, BackendFailure."""
    await _run("resize", "-q", "-f", "qcow2", path, str(size), size=size)


async def _long(*arguments: str, size: int, progress: Progress) -> None:
    def heard(output: bytes) -> None:
        told = PERCENT.findall(output)
        if told:
            progress(min(1.0, float(told[-1]) / 100))

    deadline_s = QUICK_S * 60 + size / SLOWEST
    await _run(*arguments, deadline_s=deadline_s, size=size, heard=heard)
    progress(1.0)


async def _run(
    *arguments: str,
    deadline_s: float = QUICK_S,
    size: int = 0,
    heard: Callable[[bytes], None] | None = None,
) -> None:
    try:
        command = (*WITH_US, PROGRAM, *arguments)
        finished = await programs.run(command, deadline_s=deadline_s, heard=heard)
    except programs.ProgramMissing as error:
        raise BackendFailure(str(error)) from error
    except programs.ProgramTookTooLong as error:
        raise StorageTimeout(str(error)) from error
    if finished.succeeded:
        return
    lines = [line.strip() for line in re.split(r"[\r\n]+", finished.output)]
    said = [line for line in lines if line and "/100%)" not in line]
    if any(reason in finished.output for reason in NO_ROOM):
        raise NoSpace(size, 0)
    why = said[-1] if said else f"it ended with status {finished.status}"
    raise BackendFailure(f"qemu-img {arguments[0]}: {why}"[:500])
