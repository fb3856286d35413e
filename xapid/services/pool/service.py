"""The pool of one host: the backup of its database, and what it has not for want of another."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import structlog

from ...datamodel.declare import NULL, Field, Ref
from ...datamodel.errors import (
    HANotEnabled,
    HANotInstalled,
    NotInEmergencyMode,
    OperationNotAllowed,
)
from ...datamodel.host import Host
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...db.failures import BackupFailed
from ...db.store import Store
from ..ports import Call, checks, implements_static

BACKUPS: Final = "backup"
BACKUPS_KEPT: Final = 14
_NAME: Final = re.compile(r"state-[0-9]{8}T[0-9]{6}Z\.db")
_ALONE: Final = "this host runs alone: pools of more than one host are not supported"

log = structlog.get_logger(__name__)


@dataclass
class PoolService:
    """state: the daemon's state directory. now: the time, in UTC."""

    store: Store
    host: Ref[Host]
    state: Path
    now: Callable[[], datetime]
    _backup: asyncio.Lock = field(default_factory=asyncio.Lock)

    @implements_static(Pool.sync_database)
    async def sync_database(self, call: Call) -> None:
        """There is no other host to write to, so it makes what one would be for: a good copy."""
        directory = self.state / BACKUPS
        target = directory / f"state-{self.now():%Y%m%dT%H%M%SZ}.db"
        async with self._backup:
            try:
                await asyncio.to_thread(directory.mkdir, 0o700, exist_ok=True)
                size = await self.store.backup(target)
                await asyncio.to_thread(drop_old_backups, directory)
            except (BackupFailed, OSError) as error:
                raise OperationNotAllowed(f"the database was not backed up: {error}") from error
        log.info("the database was backed up", path=str(target), bytes=size)

    @checks(Pool.default_SR, Pool.suspend_image_SR, Pool.crash_dump_SR)
    def check_sr(self, call: Call, pool: Ref[Pool], field: Field[Any], sr: Ref[SR]) -> None:
        """Images and dumps are written, which an SR of ISO images does not take."""
        record = self.store.find(SR, sr) if sr != NULL else None
        if record is not None and record.content_type == "iso":
            raise OperationNotAllowed(f"{record.name_label} holds ISO images and is not written to")

    # More than one host

    @implements_static(Pool.join)
    async def join(
        self, call: Call, master_address: str, master_username: str, master_password: str
    ) -> None:
        self._refuse()

    @implements_static(Pool.join_force)
    async def join_force(
        self, call: Call, master_address: str, master_username: str, master_password: str
    ) -> None:
        self._refuse()

    @implements_static(Pool.eject)
    async def eject(self, call: Call, host: Ref[Host]) -> None:
        self._refuse()

    @implements_static(Pool.designate_new_master)
    async def designate_new_master(self, call: Call, host: Ref[Host]) -> None:
        self._refuse()

    @implements_static(Pool.recover_slaves)
    async def recover_slaves(self, call: Call) -> tuple[Ref[Host], ...]:
        self._refuse()

    @implements_static(Pool.emergency_transition_to_master)
    async def emergency_transition_to_master(self, call: Call) -> None:
        raise NotInEmergencyMode()

    @implements_static(Pool.emergency_reset_master)
    async def emergency_reset_master(self, call: Call, master_address: str) -> None:
        raise NotInEmergencyMode()

    @implements_static(Pool.enable_ha)
    async def enable_ha(
        self, call: Call, heartbeat_srs: tuple[Ref[SR], ...], configuration: Mapping[str, str]
    ) -> None:
        raise HANotInstalled(self.host)

    @implements_static(Pool.disable_ha)
    async def disable_ha(self, call: Call) -> None:
        raise HANotEnabled()

    def _refuse(self) -> NoReturn:
        raise OperationNotAllowed(_ALONE)


def drop_old_backups(directory: Path) -> None:
    """Keep the newest backups; other files in the directory are nobody's business."""
    made = sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    for path in made[:-BACKUPS_KEPT]:
        path.unlink(missing_ok=True)
