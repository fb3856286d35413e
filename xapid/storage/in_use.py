"""Changes of volumes that a guest has open, made under it: it sees them or notices nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from .blocking import Threads
from .branches import Branch
from .driver import BackendFailure, NewVolume, StorageError, Volume, VolumeInUse
from .image_files import ImageFiles
from .image_names import Image
from .served import Served, Servers, Undecided

log = structlog.get_logger()


class InUse:
    """For one directory of images, by whoever may change names in it now."""

    def __init__(self, files: ImageFiles, threads: Threads, servers: Servers) -> None:
        self._files = files
        self._threads = threads
        self._servers = servers

    @asynccontextmanager
    async def served(self, image: Image) -> AsyncIterator[tuple[Served, Branch]]:
        """Who serves a qcow2 volume to a guest, and how it would be split.

        Raises NotSupported, BackendFailure, and VolumeInUse for one whose server has something
        else open than it should: a change leaves that which was cut short, and it lasts until the
        guest starts anew.
        """
        await self._threads.run(self._files.settle_branches)
        async with self._servers.serving(self._files.at(image.live)) as served:
            branch = await self._threads.run(self._files.plan_branch, image)
            if served.leans_on != branch.leans_on:
                log.warning("a guest writes to an older image", disk=image.live)
                raise VolumeInUse(image.live)
            yield served, branch

    async def branch(self, served: Served, image: Image, new: NewVolume, branch: Branch) -> Volume:
        """Split a volume under whoever writes to it; the clone shows what it held at that moment.

        The new images are written already. Not to be cancelled: what became of it decides.
        """
        volume = await self._threads.run(self._files.prepare_branch, image, new, branch)
        again = await self._threads.run(self._files.name_again, image, served.opened_as)
        try:
            await served.go_on_in(self._files.at(branch.next))
        except Undecided as error:
            await self._threads.run(self._files.settle_branches)
            raise BackendFailure(str(error)) from error
        except StorageError:
            await self._threads.run(self._files.branches.abandon, image.live, branch)
            raise
        finally:
            await self._threads.run(self._files.drop_name, again)
        await self._threads.run(self._files.finish_branch, image, branch)
        return volume

    async def grow(self, image: Image, size: int) -> None:
        """Let a volume, and what the guest sees of it, be `size` bytes large.

        Raises NotSupported where nobody can be told, NoSpace, BackendFailure.
        """
        if image.format == "raw":
            await self._threads.run(self._files.grow_in_use, image, size)
            return
        async with self.served(image) as (served, _):
            try:
                await served.grow(size)
            except Undecided as error:
                raise BackendFailure(str(error)) from error
