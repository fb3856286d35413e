"""Virtual TPMs: which can be made, and what libxl is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import VmOperations, VmPowerState
from xapid.datamodel.errors import (
    DeviceAlreadyExists,
    HandleInvalid,
    OperationNotAllowed,
    VMBadPowerState,
)
from xapid.datamodel.vm import VM
from xapid.datamodel.vtpm import VTPM
from xapid.services.vtpm import VTPMService

from .world import Caller, World

RUNNING = {"power_state": VmPowerState.RUNNING, "domid": 5}


@pytest.fixture
def service(world: World) -> VTPMService:
    return VTPMService(world.store)


async def new_vm(world: World, **values: Any) -> Ref[VM]:
    return await world.store.transact(lambda tx: tx.create(VM, {"name_label": "vm", **values}))


async def test_a_tpm_is_made_and_destroyed(
    world: World, caller: Caller, service: VTPMService
) -> None:
    vm, backend = await new_vm(world), await new_vm(world, **RUNNING)

    vtpm = await service.create(caller, {"VM": vm, "backend": backend})
    made = world.store.get(vm).VTPMs
    await service.destroy(caller, vtpm)

    assert made == (vtpm,)
    assert world.store.get(vm).VTPMs == () and world.store.count(VTPM) == 0


async def test_libxl_is_told_the_domain_that_serves_the_tpm(
    world: World, caller: Caller, service: VTPMService
) -> None:
    vm, backend = await new_vm(world), await new_vm(world, **RUNNING)
    vtpm = await service.create(caller, {"VM": vm, "backend": backend})

    planned = service.planned(world.store.get(vm))

    uuid = world.store.get(vtpm).uuid
    assert planned == [{"backend_domid": 5, "devid": 0, "uuid": uuid}]
    assert service.planned(world.store.get(backend)) == []


async def test_a_guest_whose_tpm_nobody_serves_is_not_planned(
    world: World, caller: Caller, service: VTPMService
) -> None:
    vm, backend = await new_vm(world), await new_vm(world, name_label="tpm server")
    await service.create(caller, {"VM": vm, "backend": backend})

    with pytest.raises(OperationNotAllowed, match="tpm server"):
        service.planned(world.store.get(vm))


async def test_a_build_that_failed_for_the_tpm_says_who_does_not_serve_it(
    world: World, caller: Caller, service: VTPMService
) -> None:
    vm, backend = await new_vm(world), await new_vm(world, name_label="tpm server", **RUNNING)
    await service.create(caller, {"VM": vm, "backend": backend})
    log = ["libxl: libxl_create.c:1872:domcreate_attach_devices: unable to add vtpm devices"]

    failure = service.failure(world.store.get(vm), log)

    assert isinstance(failure, OperationNotAllowed) and "tpm server" in failure.reason
    assert service.failure(world.store.get(vm), ["libxl: unable to add disk devices"]) is None
    assert service.failure(world.store.get(backend), log) is None


async def test_without_a_domain_that_serves_it_no_tpm_is_made(
    world: World, caller: Caller, service: VTPMService
) -> None:
    vm = await new_vm(world)
    dom0 = await new_vm(world, is_control_domain=True, **{**RUNNING, "domid": 0})
    template = await new_vm(world, is_a_template=True)

    for backend in (NULL, dom0, template, vm):
        with pytest.raises(OperationNotAllowed):
            await service.create(caller, {"VM": vm, "backend": backend})

    assert world.store.count(VTPM) == 0


async def test_a_vm_has_one_tpm(world: World, caller: Caller, service: VTPMService) -> None:
    vm, backend = await new_vm(world), await new_vm(world, **RUNNING)
    await service.create(caller, {"VM": vm, "backend": backend})

    with pytest.raises(DeviceAlreadyExists):
        await service.create(caller, {"VM": vm, "backend": backend})


async def test_the_tpm_of_a_running_or_busy_vm_stays_as_it_is(
    world: World, caller: Caller, service: VTPMService
) -> None:
    vm, backend = await new_vm(world), await new_vm(world, **RUNNING)
    vtpm = await service.create(caller, {"VM": vm, "backend": backend})

    await world.store.set(vm, VM.current_operations, {"OpaqueRef:x": VmOperations.START})
    with pytest.raises(OperationNotAllowed, match="busy"):
        await service.destroy(caller, vtpm)
    await world.store.set(vm, VM.power_state, VmPowerState.RUNNING)
    with pytest.raises(VMBadPowerState):
        await service.destroy(caller, vtpm)

    assert world.store.count(VTPM) == 1


async def test_control_and_foreign_domains_and_no_vm_at_all_get_no_tpm(
    world: World, caller: Caller, service: VTPMService
) -> None:
    backend = await new_vm(world, **RUNNING)
    control = await new_vm(world, is_control_domain=True)
    foreign = await new_vm(world, is_foreign_domain=True)

    for vm in (control, foreign):
        with pytest.raises(OperationNotAllowed):
            await service.create(caller, {"VM": vm, "backend": backend})
    with pytest.raises(HandleInvalid):
        await service.create(caller, {"VM": NULL, "backend": backend})

    assert world.store.count(VTPM) == 0
