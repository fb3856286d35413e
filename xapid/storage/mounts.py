"""File systems that belong to SRs: mounted for the whole host, so that guests keep them.

Under systemd each is a transient unit of its own and outlives the daemon; elsewhere mount(8) does
it. Nothing here touches a mounted file system itself, so a dead server cannot hold it up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import structlog

from .. import programs
from .driver import BackendFailure, RepositoryInUse, StorageTimeout

log = structlog.get_logger()

MOUNT_S: Final = 45.0
UNIT_S: Final = 30  # how long systemd lets a mount program run
SAFE: Final = ("nosuid", "nodev", "noexec")
MOUNTINFO: Final = Path("/proc/self/mountinfo")
SYSTEMD: Final = Path("/run/systemd/system")
ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mounted:
    """One line of the kernel's list."""

    point: str
    kind: str
    source: str


def mounted() -> list[Mounted]:
    """All that is mounted where this process runs, the newest last."""
    found = []
    for line in MOUNTINFO.read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, source = after.split(" ")[:2]
        found.append(Mounted(_plain(before.split(" ")[4]), kind, _plain(source)))
    return found


def _plain(text: str) -> str:
    return ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


class Mounts:
    """Mount points below one directory, one for each SR."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def point(self, name: str) -> PurePosixPath:
        """Where the file system of that name is mounted; name: a uuid."""
        return PurePosixPath(self._directory) / name

    def find(self, name: str) -> Mounted | None:
        """What is mounted under that name."""
        point = str(self.point(name))
        return next((each for each in reversed(mounted()) if each.point == point), None)

    async def mount(self, name: str, kind: str, source: str, options: Sequence[str]) -> None:
        """Mount a file system; nothing happens when it is mounted already.

        kind: one of mount(8)'s; source: a device or an export, checked by the caller.
        Raises BackendFailure, RepositoryInUse, StorageTimeout.
        """
        there = self.find(name)
        if there is not None:
            if there.source != source:
                raise RepositoryInUse(f"{there.source} is mounted where {source} should be")
            return
        point = self._make_point(name)
        chosen = ",".join((*SAFE, *options))
        if SYSTEMD.is_dir():
            unit = ("--no-ask-password", "--collect", "--fsck=no", f"--type={kind}")
            limits = (f"--property=TimeoutSec={UNIT_S}", f"--description=xapid SR {name}")
            await _run("systemd-mount", *unit, f"--options={chosen}", *limits, source, str(point))
        else:
            await _run("mount", "-t", kind, "-o", chosen, "--", source, str(point))

    async def unmount(self, name: str) -> bool:
        """Unmount what is mounted under that name; False when it is in use and stays."""
        if self.find(name) is None:
            return True
        point = self.point(name)
        try:
            if SYSTEMD.is_dir():
                await _run("systemd-mount", "--umount", "--no-ask-password", str(point))
            else:
                await _run("umount", "--", str(point))
        except (BackendFailure, StorageTimeout) as error:
            log.warning("file system stays mounted", point=str(point), reason=str(error))
            return False
        self._remove_point(name)
        return True

    def _make_point(self, name: str) -> Path:
        point = Path(self.point(name))
        point.mkdir(mode=0o700, parents=True, exist_ok=True)
        return point

    def _remove_point(self, name: str) -> None:
        Path(self.point(name)).rmdir()


async def _run(*command: str) -> None:
    try:
        finished = await programs.run(command, deadline_s=MOUNT_S)
    except programs.ProgramMissing as error:
        raise BackendFailure(str(error)) from error
    except programs.ProgramTookTooLong as error:
        raise StorageTimeout(str(error)) from error
    if not finished.succeeded:
        lines = [line for line in finished.output.splitlines() if line.strip()]
        why = lines[-1] if lines else f"it ended with status {finished.status}"
        raise BackendFailure(f"{command[0]}: {why}"[:500])
