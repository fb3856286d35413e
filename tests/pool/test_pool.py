"""The pool: backups of its database, and honest answers where another host would be needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from xapid.datamodel.declare import NULL
from xapid.datamodel.errors import (
    ApiError,
    HANotEnabled,
    HANotInstalled,
    NotInEmergencyMode,
    OperationNotAllowed,
)
from xapid.datamodel.host import Host
from xapid.datamodel.pool import Pool
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.sr import SR
from xapid.db.store import Store
from xapid.services.pool.service import BACKUPS_KEPT

from .world import Caller, World


def backups(world: World) -> list[str]:
    return sorted(path.name for path in (world.state / "backup").iterdir())


async def test_a_backup_of_the_database_can_be_opened(world: World, caller: Caller) -> None:
    await world.pool.sync_database(caller)

    (name,) = backups(world)
    assert name == "state-20300101T000000Z.db"
    copy = await Store.open(world.state / "backup" / name, CLASSES)
    assert copy.refs(Host) == [world.host]
    await copy.close()


async def test_only_the_newest_backups_are_kept_and_nothing_else_is_removed(
    world: World, caller: Caller
) -> None:
    (world.state / "backup").mkdir()
    (world.state / "backup" / "mine.db").write_text("x")

    for _ in range(BACKUPS_KEPT + 2):
        world.moment += timedelta(days=1)
        await world.pool.sync_database(caller)

    found = backups(world)
    assert len(found) == BACKUPS_KEPT + 1 and found[0] == "mine.db"
    assert found[1] == "state-20300104T000000Z.db"


async def test_a_backup_that_cannot_be_made_is_an_error_that_says_why(
    world: World, caller: Caller
) -> None:
    (world.state / "backup").write_text("in the way")

    with pytest.raises(OperationNotAllowed, match="not backed up"):
        await world.pool.sync_database(caller)


@pytest.mark.parametrize(
    ("message", "parameters", "error"),
    [
        ("join", ("a", "b", "c"), OperationNotAllowed),
        ("join_force", ("a", "b", "c"), OperationNotAllowed),
        ("eject", (NULL,), OperationNotAllowed),
        ("designate_new_master", (NULL,), OperationNotAllowed),
        ("recover_slaves", (), OperationNotAllowed),
        ("emergency_transition_to_master", (), NotInEmergencyMode),
        ("emergency_reset_master", ("a",), NotInEmergencyMode),
        ("enable_ha", ((), {}), HANotInstalled),
        ("disable_ha", (), HANotEnabled),
    ],
)
async def test_what_needs_more_hosts_says_so(
    world: World, caller: Caller, message: str, parameters: tuple[Any, ...], error: type[ApiError]
) -> None:
    with pytest.raises(error):
        await getattr(world.pool, message)(caller, *parameters)


async def test_a_default_sr_is_one_that_can_be_written_to(world: World, caller: Caller) -> None:
    iso = await world.store.transact(lambda tx: tx.create(SR, {"content_type": "iso"}))
    disks = await world.store.transact(lambda tx: tx.create(SR, {"content_type": "user"}))

    world.pool.check_sr(caller, NULL, Pool.default_SR, disks)
    world.pool.check_sr(caller, NULL, Pool.default_SR, NULL)
    with pytest.raises(OperationNotAllowed):
        world.pool.check_sr(caller, NULL, Pool.default_SR, iso)
