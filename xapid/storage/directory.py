"""One directory that a client named: where it may be, and changes in it that survive a crash."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from .driver import BackendFailure, ConfigInvalid, NoSpace, Space

SYSTEM_DIRECTORIES = tuple(
    PurePosixPath(path)
    for path in (
        *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc"),
        *("/root/.ssh", "/run", "/sbin", "/sys", "/usr", "/var/cache", "/var/lib/dpkg"),
        *("/var/lib/xen", "/var/lib/xenstored", "/var/lock", "/var/log", "/var/run", "/var/spool"),
    )
)
TOO_SHALLOW = frozenset(
    PurePosixPath(path)
    for path in (
        *("/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var", "/var/lib"),
        *("/tmp", "/var/tmp"),  # noqa: S108 (refused here)
    )
)
PLAIN = re.compile(r"/[A-Za-z0-9/._+@-]*")
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_path(key: str, path: str, roots: Sequence[PurePosixPath]) -> PurePosixPath:
    """Check the path of a directory that may hold disks.

    It is absolute and plain (no "..", and nothing that a tool further down would need quoted: only
    letters, digits and /._+@-), outside the directories of
    the system itself, not one of those that other things live in directly (/, /srv, /tmp ...), and
    below one of `roots` when there are any. Raises ConfigInvalid.
    """
    pure = PurePosixPath(path)
    if not PLAIN.fullmatch(path) or len(path) > 512:
        raise ConfigInvalid(key, path, "an absolute path of plain characters is needed")
    if str(pure) != path.rstrip("/") or ".." in pure.parts:
        raise ConfigInvalid(key, path, "the path must be written without . or .. or //")
    if pure in TOO_SHALLOW or any(pure.is_relative_to(d) for d in SYSTEM_DIRECTORIES):
        raise ConfigInvalid(key, path, "disks do not belong in a directory of the system")
    if roots and not any(pure.is_relative_to(root) for root in roots):
        allowed = ", ".join(str(root) for root in roots)
        raise ConfigInvalid(key, path, f"disks may be kept below {allowed} only")
    return pure


def open_directory(key: str, path: PurePosixPath, *, create: bool) -> int:
    """Open a checked path one step at a time, through no symbolic link; returns its descriptor.

    create: make what is missing, for root alone. Raises ConfigInvalid.
    """
    fd = os.open("/", OPEN_DIRECTORY)
    try:
        for name in path.parts[1:]:
            below = _step(key, path, fd, name, create=create)
            os.close(fd)
            fd = below
        if os.fstat(fd).st_mode & stat.S_IWOTH:
            raise ConfigInvalid(key, str(path), "everybody may write in this directory")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _step(key: str, path: PurePosixPath, fd: int, name: str, *, create: bool) -> int:
    try:
        return os.open(name, OPEN_DIRECTORY, dir_fd=fd)
    except FileNotFoundError:
        if not create:
            raise ConfigInvalid(key, str(path), f"{name} does not exist") from None
    except OSError as error:
        why = f"{name} is a symbolic link or not a directory"
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            why = os.strerror(error.errno or 0)
        raise ConfigInvalid(key, str(path), why) from error
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=fd)
            os.fsync(fd)
        return os.open(name, OPEN_DIRECTORY, dir_fd=fd)
    except OSError as error:
        raise ConfigInvalid(key, str(path), os.strerror(error.errno or 0)) from error


@contextmanager
def failures(what: str, *, requested: int = 0, fd: int | None = None) -> Iterator[None]:
    """Turn the operating system's refusals into StorageErrors: NoSpace and BackendFailure."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoSpace(requested, space(fd).free if fd is not None else 0) from error
        raise BackendFailure(f"{what}: {os.strerror(error.errno or 0)}") from error


def space(fd: int) -> Space:
    """Sizes of the file system that the directory is on."""
    facts = os.fstatvfs(fd)
    total = facts.f_blocks * facts.f_frsize
    return Space(total=total, used=total - facts.f_bfree * facts.f_frsize)


class Directory:
    """An open directory. Names are single components made by the driver, never a client's.

    Methods block and raise OSError. What they did is on disk when they return.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def names(self) -> list[str]:
        return sorted(os.listdir(self.fd))  # noqa: PTH208 (a descriptor has no path)

    def exists(self, name: str) -> bool:
        return self._stat(name) is not None

    def regular(self, name: str) -> os.stat_result | None:
        """The facts of a regular file; None for anything else, and for a symbolic link."""
        facts = self._stat(name)
        return facts if facts is not None and stat.S_ISREG(facts.st_mode) else None

    def open(self, name: str, flags: int) -> int:
        """Open a regular file. Raises OSError for anything else of that name."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(name, flags, 0o600, dir_fd=self.fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return fd

    def sync(self) -> None:
        os.fsync(self.fd)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        self.sync()

    def link(self, old: str, new: str) -> None:
        """Give a file a second name."""
        os.link(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        self.sync()

    def sync_file(self, name: str) -> None:
        """Let a file's content reach the disk."""
        fd = self.open(name, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def remove(self, *names: str) -> None:
        """Remove what there is of these names."""
        for name in names:
            self.unlink(name)
        self.sync()

    def unlink(self, name: str) -> None:
        """Remove a file if it is there; one step of a change."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file: afterwards it holds the old content or the new."""
        draft = f"{name}.new"
        self.unlink(draft)
        fd = self.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self.rename(draft, name)
        except BaseException:
            with suppress(OSError):
                self.unlink(draft)
            raise

    def read(self, name: str, limit: int = 1 << 16) -> bytes | None:
        """A small file's content; None when it is not there, or larger than `limit`."""
        try:
            fd = self.open(name, os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            content = file.read(limit + 1)
        return content if len(content) <= limit else None

    def _stat(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
