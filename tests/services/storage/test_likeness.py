"""What is allowed to disks and drives, asked of each and taken from one that is alike."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import DomainType, VbdMode, VbdType, VmPowerState
from xapid.datamodel.pbd import PBD
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.sr import SR
from xapid.datamodel.vbd import VBD
from xapid.datamodel.vdi import VDI
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.operations import Operations
from xapid.services.storage.rules import (
    VBD_OPERATIONS,
    VDI_OPERATIONS,
    StorageRules,
    govern,
    vbd_refusal,
)
from xapid.storage.driver import Capability

BOTH = (False, True)


class Kinds:
    """Storage of type "all" can do everything, "some" no snapshots, any other nothing."""

    def can(self, kind: str, capability: Capability, location: str = "") -> bool:
        return kind == "all" or (kind == "some" and capability is not Capability.VDI_SNAPSHOT)


@pytest.fixture
def rules() -> StorageRules:
    kinds: Any = Kinds()
    return StorageRules(kinds)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    kinds: Any = Kinds()
    govern(store, Operations(store), kinds)
    yield store
    await store.close()


async def test_disks_that_are_alike_may_do_the_same(store: Store, rules: StorageRules) -> None:
    async with store.transaction() as tx:
        vm = tx.create(VM)
        srs: list[Ref[SR]] = []
        for kind, attached in itertools.product(("all", "some", "none"), BOTH):
            srs.append(tx.create(SR, {"type": kind}))
            tx.create(PBD, {"SR": srs[-1], "currently_attached": attached})
        for values in itertools.product(srs, BOTH, BOTH, BOTH, range(4)):
            *given, used = values
            names = ("SR", "missing", "managed", "read_only")
            vdi = tx.create(VDI, dict(zip(names, given, strict=True)))
            for device in range(min(used, 2)):
                drive = {"VM": vm, "VDI": vdi, "userdevice": str(device)}
                mode = VbdMode.RW if used == 3 else VbdMode.RO
                tx.create(VBD, {**drive, "mode": mode, "currently_attached": used > 1})

    seen = set()
    for vdi in store.all(VDI):
        asked = tuple(op for op in VDI_OPERATIONS if rules.vdi_refusal(store, vdi, op) is None)
        assert vdi.allowed_operations == asked
        seen.add(asked)
    assert len(seen) > 8


async def test_drives_that_are_alike_may_do_the_same(store: Store) -> None:
    states = itertools.product(VmPowerState, BOTH, BOTH, DomainType, ("", "BIOS order"))
    names = (
        *("power_state", "is_control_domain", "is_foreign_domain", "domain_type"),
        "HVM_boot_policy",
    )
    drives = list(itertools.product(VbdType, BOTH, BOTH, BOTH))
    async with store.transaction() as tx:
        for values in states:
            vm = tx.create(VM, dict(zip(names, values, strict=True)))
            for number, (kind, attached, empty, unpluggable) in enumerate(drives):
                drive = {"VM": vm, "VDI": NULL, "userdevice": str(number), "type": kind}
                drive |= {"currently_attached": attached, "empty": empty}
                tx.create(VBD, {**drive, "unpluggable": unpluggable})

    seen = set()
    for vbd in store.all(VBD):
        asked = tuple(op for op in VBD_OPERATIONS if vbd_refusal(store, vbd, op) is None)
        assert vbd.allowed_operations == asked
        seen.add(asked)
    assert len(seen) > 4
