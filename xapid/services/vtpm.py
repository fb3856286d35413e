"""Virtual TPMs: their records, and what a new domain is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..datamodel.declare import NULL, Ref
from ..datamodel.enums import VmPowerState
from ..datamodel.errors import (
    ApiError,
    DeviceAlreadyExists,
    HandleInvalid,
    OperationNotAllowed,
    VMBadPowerState,
)
from ..datamodel.vm import VM
from ..datamodel.vtpm import VTPM
from ..db.store import Store
from .ports import Call, View, implements, implements_static

DEVICE = "vtpm0"


@dataclass
class VTPMService:
    """A TPM is served by a domain of its own (vtpmmgr and a vtpm stub domain); dom0 has no backend.

    The secrets are in that domain's disk; a record only says which domain it is.
    """

    store: Store

    @implements_static(VTPM.create)
    async def create(self, call: Call, args: VTPM | Mapping[str, Any]) -> Ref[VTPM]:
        values = args.row if isinstance(args, VTPM) else args
        vm, backend = values["VM"], values.get("backend", NULL)
        async with self.store.transaction() as tx:
            record = _changeable(tx, vm)
            if record.VTPMs:
                raise DeviceAlreadyExists(DEVICE)
            check_backend(tx, record, backend)
            return tx.create(VTPM, {"VM": vm, "backend": backend})
        raise AssertionError  # the block above returns or raises

    @implements(VTPM.destroy)
    async def destroy(self, call: Call, vtpm: Ref[VTPM]) -> None:
        async with self.store.transaction() as tx:
            _changeable(tx, tx.get(vtpm).VM)
            tx.destroy(vtpm)

    def planned(self, record: VM) -> list[dict[str, Any]]:
        """The libxl_device_vtpm of each TPM of a VM that gets a new domain.

        Raises OPERATION_NOT_ALLOWED when the domain that serves it does not run.
        """
        planned = []
        for number, ref in enumerate(record.VTPMs):
            vtpm = self.store.get(ref)
            backend = self.store.get(vtpm.backend)
            if backend.power_state is not VmPowerState.RUNNING or backend.domid < 0:
                raise OperationNotAllowed(
                    f"{backend.name_label}, which serves the TPM of {record.name_label}, "
                    "does not run; start it first"
                )
            planned.append({"backend_domid": backend.domid, "devid": number, "uuid": vtpm.uuid})
        return planned

    def failure(self, record: VM, log: Sequence[str]) -> ApiError | None:
        """libxl waits for the backend's answer, which only a vtpm stub domain gives."""
        if not record.VTPMs or not any("vtpm" in line.lower() for line in log):
            return None
        names = [self.store.get(self.store.get(ref).backend).name_label for ref in record.VTPMs]
        return OperationNotAllowed(
            f"{' and '.join(names)} serves no TPM to {record.name_label}: "
            "a backend is a vtpm stub domain with its manager (vtpmmgr), and this host shows none"
        )


def check_backend(view: View, vm: VM, backend: Ref[VM]) -> None:
    """A TPM needs a domain that serves it. Raises OPERATION_NOT_ALLOWED, HANDLE_INVALID."""
    if backend == NULL:
        raise OperationNotAllowed(
            "a virtual TPM needs a backend: name the VM of a vtpm stub domain; "
            "the control domain cannot serve one"
        )
    record = view.find(VM, backend)
    if record is None:
        raise HandleInvalid("VM", backend)
    if record.is_control_domain:
        raise OperationNotAllowed("the control domain cannot serve a virtual TPM")
    if record.is_a_template or record.ref == vm.ref:
        raise OperationNotAllowed(f"{record.name_label} cannot serve the TPM of {vm.name_label}")


def _changeable(view: View, vm: Ref[VM]) -> VM:
    """A VM whose devices may be changed while nothing runs. Raises VM_BAD_POWER_STATE …"""
    record = view.find(VM, vm)
    if record is None:
        raise HandleInvalid("VM", vm)
    if record.is_control_domain or record.is_foreign_domain:
        raise OperationNotAllowed(f"{record.name_label} is not a guest of this daemon")
    if record.power_state is not VmPowerState.HALTED:
        raise VMBadPowerState(vm, VmPowerState.HALTED, record.power_state)
    for task, running in record.current_operations.items():
        raise OperationNotAllowed(f"{record.name_label} is busy with {running} ({task})")
    return record
