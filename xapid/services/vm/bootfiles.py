"""Kernels and ramdisks in the control domain: which may be booted, and where they really are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ...datamodel.errors import InvalidValue
from ...xen.plan import Boot, BootPaths, check_path


class BootFiles:
    """Lets a VM name a kernel only in directories that the administrator chose for it.

    A client that may create VMs must not read the control domain's other files through a guest's
    kernel or ramdisk, so links are followed first and the end of the way is what counts.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = tuple(directories)

    async def resolve(self, boot: Boot) -> BootPaths:
        """The real paths of what a plan wants to boot. Raises INVALID_VALUE."""
        return BootPaths(
            kernel=await self._resolve("PV_kernel", boot.kernel),
            ramdisk=await self._resolve("PV_ramdisk", boot.ramdisk),
        )

    async def _resolve(self, field: str, raw_path: str) -> str:
        if not raw_path:
            return ""
        check_path(field, raw_path)
        real = await asyncio.to_thread(self._real_path, raw_path)
        if real is None:
            raise InvalidValue(field, raw_path)
        check_path(field, real)
        return real

    def _real_path(self, path: str) -> str | None:
        try:
            real = Path(path).resolve(strict=True)
            allowed = [d.resolve() for d in self._directories]
            inside = any(real.is_relative_to(d) for d in allowed)
            return str(real) if inside and real.is_file() else None
        except (OSError, RuntimeError):
            return None
