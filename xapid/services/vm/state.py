"""The records of a VM's states: what each arrow of its life writes, in one transaction each."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson

from ...datamodel.declare import NEVER, NULL, Field, Ref, RefType
from ...datamodel.enums import VmPowerState
from ...datamodel.errors import ApiError
from ...datamodel.host import Host
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...datamodel.vm_metrics import VMMetrics
from ...db.transaction import Transaction
from ...db.values import check_of, decoder_of

NO_DOMAIN = -1
OF_NOW = frozenset({"power_state", "suspend_VDI", "last_booted_record", "recommendations"})


def record_started(
    tx: Transaction, vm: Ref[VM], host: Ref[Host], domid: int, now: datetime, *, paused: bool
) -> None:
    """The VM has a domain now: fresh from its boot, or resumed."""
    record = tx.get(vm)
    tx.update(
        vm,
        {
            "power_state": VmPowerState.PAUSED if paused else VmPowerState.RUNNING,
            "domid": domid,
            "resident_on": host,
            "suspend_VDI": NULL,
            "last_booted_record": boot_record(record),
        },
    )
    if tx.find(VMMetrics, record.metrics) is not None:
        tx.set(record.metrics, VMMetrics.start_time, now)


def record_boot(tx: Transaction, vm: Ref[VM], host: Ref[Host]) -> None:
    """What the VM was booted on, which the guest has seen and a resume does not change."""
    cpu = tx.get(host).cpu_configuration
    seen = {key: cpu[key] for key in ("vendor", "features") if cpu.get(key)}
    tx.set(vm, VM.last_boot_CPU_flags, seen)


def record_devices(tx: Transaction, record: VM, attached: Collection[Ref[Any]]) -> None:
    """Say of every device of a VM whether the domain has it."""
    for vbd in record.VBDs:
        tx.set(vbd, VBD.currently_attached, vbd in attached)
    for vif in record.VIFs:
        tx.set(vif, VIF.currently_attached, vif in attached)


def record_halted(tx: Transaction, vm: Ref[VM]) -> None:
    """The VM has no domain and no saved state."""
    _record_no_domain(tx, vm, VmPowerState.HALTED, NULL)
    record_devices(tx, tx.get(vm), ())


def record_suspended(tx: Transaction, vm: Ref[VM], image: Ref[VDI]) -> None:
    """The VM's state is in `image`; its disks stay its own (section 2.3.3, Suspended)."""
    _record_no_domain(tx, vm, VmPowerState.SUSPENDED, image)


def _record_no_domain(tx: Transaction, vm: Ref[VM], state: VmPowerState, image: Ref[VDI]) -> None:
    tx.update(
        vm,
        {
            "power_state": state,
            "domid": NO_DOMAIN,
            "resident_on": NULL,
            "suspend_VDI": image,
        },
    )
    metrics = tx.get(vm).metrics
    if tx.find(VMMetrics, metrics) is not None:
        tx.set(metrics, VMMetrics.start_time, NEVER)


def boot_record(record: VM) -> str:
    """The record as it was booted, for VM.get_boot_record: JSON of what it says about the VM."""
    kept = {f.name: record.row[f.name] for f in _described()}
    return orjson.dumps(kept).decode()


def read_boot_record(record: VM) -> VM:
    """The VM as it was last booted; as it is now if it never was.

    A client may have made the VM with any text there: what cannot be read is as it is now.
    """
    try:
        booted = orjson.loads(record.last_booted_record or "{}")
    except orjson.JSONDecodeError:
        booted = {}
    row = {name: record.row[name] for name in VM.fields}
    for field in _described():
        if isinstance(booted, dict) and field.name in booted:
            with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError, ApiError):
                row[field.name] = _read(field, booted[field.name])
    return VM(record.ref, row)


def _read(field: Field[Any], stored: Any) -> Any:
    decode = decoder_of(field.type)
    return check_of(field)(decode(stored, {}) if decode else stored)


def _described() -> list[Field[Any]]:
    """The fields that a client chose; what runs and who works on it is of the moment."""
    return [
        field
        for field in VM.fields.values()
        if field.qualifier != "RO/runtime"
        and field.name not in OF_NOW
        and not isinstance(field.type, RefType)
    ]
