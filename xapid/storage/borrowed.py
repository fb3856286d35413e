"""Repositories whose volumes others make and remove: discs in a directory, drives of the host."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .driver import (
    Access,
    NewVolume,
    NotSupported,
    Progress,
    Volume,
    VolumeLabel,
    VolumeMissing,
)


class Borrowed:
    """The part of `Repository` that they have in common: what would change them is refused."""

    owner: str
    """Who makes and removes the volumes, for errors."""

    @property
    def served_by_qemu(self) -> bool:
        return False

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        """All volumes that are there now."""
        raise NotImplementedError

    async def locate(self, uuid: str) -> str:
        for volume in await self.scan(()):
            if volume.uuid == uuid:
                return volume.location
        raise VolumeMissing(uuid)

    async def deactivate(self, location: str) -> None:
        """Nothing is held."""

    async def describe(self, location: str, label: VolumeLabel) -> None:
        """There is no place for labels; the database remembers them."""

    async def reclaimable(self) -> bool:
        return False

    async def reclaim(self, progress: Progress) -> None:
        """Nothing is ever left behind."""

    async def create(self, new: NewVolume) -> Volume:
        raise self._refusal()

    async def copy(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        raise self._refusal()

    async def clone(self, location: str, new: NewVolume, progress: Progress) -> Volume:
        raise self._refusal()

    async def publish(self, location: str) -> None:
        raise self._refusal()

    async def retire(self, location: str) -> None:
        raise self._refusal()

    async def reinstate(self, location: str) -> None:
        raise self._refusal()

    async def purge(self, location: str) -> None:
        raise self._refusal()

    async def resize(self, location: str, size: int) -> Volume:
        raise self._refusal()

    def _refusal(self) -> NotSupported:
        return NotSupported(f"{self.owner} makes, changes and removes what is there")
