"""Block devices that a client named for an SR: which may be used, and whether they are free."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import Final

from .. import programs
from .driver import BackendFailure, ConfigInvalid, ConfigMissing, RepositoryInUse, StorageTimeout

PATH: Final = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9/._:@+=-]{0,250}")
MAX_DEVICES: Final = 16
PROBE_S: Final = 60.0
LVM_MEMBER: Final = "LVM2_member"


def device_paths(key: str, value: str) -> tuple[str, ...]:
    """The paths below /dev in a list parted by commas. Raises ConfigMissing, ConfigInvalid."""
    if not value:
        raise ConfigMissing(key)
    paths = tuple(value.split(","))
    for path in paths:
        if not PATH.fullmatch(path) or str(PurePosixPath(path)) != path or ".." in path:
            raise ConfigInvalid(key, path, "the plain path of a device in /dev is needed")
    if len(set(paths)) != len(paths) or len(paths) > MAX_DEVICES:
        raise ConfigInvalid(key, value, f"{MAX_DEVICES} different devices at most can be used")
    return paths


def resolve(key: str, path: str) -> str:
    """The device node itself, which is a block device and no logical volume. Blocks.

    Raises ConfigInvalid.
    """
    node = os.path.realpath(path)
    try:
        facts = Path(node).stat()
    except OSError as error:
        raise ConfigInvalid(key, path, os.strerror(error.errno or 0)) from error
    if not node.startswith("/dev/") or not stat.S_ISBLK(facts.st_mode):
        raise ConfigInvalid(key, path, "it is not a block device")
    number = f"{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}"
    try:
        kind = Path(f"/sys/dev/block/{number}/dm/uuid").read_text()
    except OSError:
        kind = ""
    if kind.startswith("LVM-"):
        raise ConfigInvalid(key, path, "it is a logical volume, which may be a guest's disk")
    return node


def check_unused(key: str, path: str) -> int:
    """The bytes of a device that nobody has mounted or open. Blocks.

    Raises RepositoryInUse, ConfigInvalid.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RepositoryInUse(f"{path} is in use") from error
        raise ConfigInvalid(key, path, os.strerror(error.errno or 0)) from error
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


async def signature(path: str) -> str:
    """What is on a device, in blkid's words; "" for nothing that is known.

    Raises BackendFailure, StorageTimeout.
    """
    try:
        found = await programs.run(("blkid", "-p", "-o", "export", path), deadline_s=PROBE_S)
    except programs.ProgramMissing as error:
        raise BackendFailure(str(error)) from error
    except programs.ProgramTookTooLong as error:
        raise StorageTimeout(str(error)) from error
    if found.status == 2:
        return ""
    words = dict(line.partition("=")[::2] for line in found.output.splitlines())
    return words.get("TYPE") or words.get("PTTYPE") or "something"
