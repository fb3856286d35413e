"""A bootloader for hosts without Xen: whatever is on the disk, it finds something to boot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from .plan import BackendDisk, BootPaths


class MockBootloader:
    """Implements `Bootloader`; the mock libxl never opens what it is told to boot."""

    @asynccontextmanager
    async def fetched(
        self, disk: BackendDisk | None, options: Sequence[str], kernel_arguments: str
    ) -> AsyncIterator[BootPaths]:
        yield BootPaths(kernel="/dev/null", arguments=kernel_arguments)
