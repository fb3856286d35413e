"""The records of a VM's states: what each arrow of its life writes, in one transaction each."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ...datamodel.declare import NEVER, NULL, Ref
from ...datamodel.enums import VmPowerState
from ...datamodel.host import Host
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...datamodel.vm_metrics import VMMetrics
from ...db.transaction import Transaction

NO_DOMAIN = -1


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
    record_devices(tx, record, attached=True)


def record_devices(tx: Transaction, record: VM, *, attached: bool) -> None:
    """Say of every device of a VM whether the domain has it."""
    for vbd in record.VBDs:
        tx.set(vbd, VBD.currently_attached, attached)
    for vif in record.VIFs:
        tx.set(vif, VIF.currently_attached, attached)


def record_halted(tx: Transaction, vm: Ref[VM]) -> None:
    """The VM has no domain and no saved state."""
    _record_no_domain(tx, vm, VmPowerState.HALTED, NULL)
    record_devices(tx, tx.get(vm), attached=False)


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
    """The record as it was booted, for VM.get_boot_record: JSON of its stored fields."""
    kept = {
        n: v for n, v in record.row.items() if n not in ("last_booted_record", "recommendations")
    }
    return json.dumps(kept, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} has no JSON form")
