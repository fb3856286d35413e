"""What udev is told of guests' disks on logical volumes: to name them, and to look no further.

Otherwise it reads each disk that becomes active, and makes links in /dev/disk by the labels and
identifiers that a guest has chosen: those of this host's own file systems, if the guest likes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from .. import programs

log = structlog.get_logger()

DIRECTORY: Final = Path("/run/udev/rules.d")
NAMES: Final = ("12-xapid.rules", "57-xapid.rules")
"""After the rules that name the group, and before those that read the disk: they are
11-dm-lvm and 13-dm-disk in LVM's own numbering, 56-lvm and 60-persistent-storage-dm in Debian's.
"""
TEXT: Final = (
    'ENV{DM_VG_NAME}=="xapid-*", ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}="1", '
    'ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1", OPTIONS:="nowatch"\n'
)
RELOAD_S: Final = 30.0

Run = Callable[..., Awaitable[programs.Finished]]


async def ensure(directory: Path = DIRECTORY, run: Run = programs.run) -> None:
    """Let udev have the rule until the host ends; nothing happens where there is no udev."""
    try:
        if not _written(directory):
            return
        await run(("udevadm", "control", "--reload"), deadline_s=RELOAD_S)
    except (OSError, programs.ProgramMissing, programs.ProgramTookTooLong) as error:
        log.warning("udev reads guests' disks on logical volumes", why=str(error))


def _written(directory: Path) -> bool:
    """Write what is missing, in files in memory; whether anything was."""
    missing = [directory / name for name in NAMES if not _holds_it(directory / name)]
    if not missing or not directory.parent.is_dir():
        return False
    directory.mkdir(exist_ok=True)
    for file in missing:
        new = file.with_suffix(".new")
        new.write_text(TEXT)
        new.replace(file)
    return True


def _holds_it(file: Path) -> bool:
    try:
        return file.read_text() == TEXT
    except OSError:
        return False
