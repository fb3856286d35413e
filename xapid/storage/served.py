"""Images that a qemu serves to a guest while they change: what storage asks of that qemu.

The qemu alone knows what it has open; nothing here is remembered.
"""

# ruff: noqa: N818 (errors read as the complaint)

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from .driver import NotSupported, StorageError


class Undecided(StorageError):
    """The qemu was asked and did not answer: whether it did it shows later."""


class Served(Protocol):
    """An image that one qemu serves to one guest now, as one disk."""

    @property
    def leans_on(self) -> str:
        """The name of the image that the open one leans on, as its header has it; "" for none."""

    @property
    def opened_as(self) -> str:
        """The path by which the image that the guest writes to was opened."""

    async def grow(self, size: int) -> None:
        """Make the disk `size` bytes large, for the guest too.

        Raises BackendFailure when nothing changed, Undecided.
        """

    async def go_on_in(self, path: str) -> None:
        """From now on write to the empty image at `path`, which leans on the one of now.

        That one is opened again, only to be read, by the path it was opened by.
        Raises BackendFailure when nothing changed, Undecided.
        """


class Servers(Protocol):
    """All that serve images to guests on this host."""

    def serving(self, path: str) -> AbstractAsyncContextManager[Served]:
        """Who serves the image that was opened as `path`, for as long as the block lasts.

        Raises NotSupported when nobody who can be asked does, VolumeInUse when more than one
        device of a guest has it, BackendFailure.
        """


class NoServers:
    """For hosts where no qemu can be asked."""

    def serving(self, path: str) -> AbstractAsyncContextManager[Served]:
        raise NotSupported(f"nobody can be asked who serves {path}")


NO_SERVERS: Final = NoServers()
