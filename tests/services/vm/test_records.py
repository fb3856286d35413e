"""Copies of VMs: how far they say that they have come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import VbdType
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vdi import VDI
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.operations import Operations
from xapid.services.ports import Call
from xapid.services.vm.records import VMRecordService
from xapid.services.vm.rules import OPERATIONS, vm_refusal

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Caller:
    task: Ref[Any] = NULL
    user: str = "root"
    session: Ref[Any] = NULL
    fractions: list[float] = field(default_factory=list)

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)

    def unbroken(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass
class Disks:
    """Copies disks in three steps."""

    store: Store

    async def copy(self, call: Call, vdi: Ref[VDI], sr: Ref[Any]) -> Ref[VDI]:
        for step in (0.25, 0.5, 1.0):
            call.progress(step)
        return await self.store.transact(lambda tx: tx.create(VDI))

    async def destroy(self, call: Call, vdi: Ref[VDI]) -> None:
        await self.store.transact(lambda tx: tx.destroy(vdi))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    yield store
    await store.close()


@pytest.fixture
def service(store: Store) -> VMRecordService:
    operations = Operations(store)
    operations.govern(VM, OPERATIONS, vm_refusal)
    disks: Any = Disks(store)
    return VMRecordService(store, operations, disks, lambda: NOW)


async def test_the_progress_of_a_copy_covers_all_its_disks(
    store: Store, service: VMRecordService
) -> None:
    async with store.transaction() as tx:
        vm = tx.create(VM, {"name_label": "original", "domid": -1})
        for device in ("0", "1"):
            tx.create(VBD, {"VM": vm, "VDI": tx.create(VDI), "userdevice": device})
    caller: Any = Caller()

    twin = await service.copy(caller, vm, "copy", NULL)

    shown = caller.fractions
    assert len(store.get(twin).VBDs) == 2
    assert shown == sorted(shown) and shown[-1] == pytest.approx(0.95)
    assert shown[2] == pytest.approx(0.475)  # one of two disks done
    assert len([fraction for fraction in shown if fraction < 0.475]) == 2


async def test_a_cd_drive_is_no_part_of_the_copying(store: Store, service: VMRecordService) -> None:
    async with store.transaction() as tx:
        vm = tx.create(VM, {"name_label": "original", "domid": -1})
        tx.create(VBD, {"VM": vm, "VDI": tx.create(VDI), "type": VbdType.CD})
    caller: Any = Caller()

    await service.copy(caller, vm, "copy", NULL)

    assert caller.fractions == [] and store.count(VDI) == 1
