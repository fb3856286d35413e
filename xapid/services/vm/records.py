"""VM records: creating, copying, cloning, destroying, and the rules of their fields."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...datamodel.declare import NULL, Field, Ref
from ...datamodel.enums import DomainType, VbdType, VmOperations, VmPowerState
from ...datamodel.errors import (
    InvalidValue,
    MemoryConstraintViolationOrder,
    OperationNotAllowed,
    ValueNotSupported,
    VMBadPowerState,
    VMCannotDeleteDefaultTemplate,
)
from ...datamodel.sr import SR
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...datamodel.vm_metrics import VMMetrics
from ...db.store import Store
from ...db.text import check_text
from ...db.transaction import Transaction
from ...network.mac import new_mac
from ...undo import Undo
from ...xen.guest_store import plan_vm_data
from ...xen.keys import check_platform, pci_devices
from ...xen.plan import (
    BIOS_ORDER,
    BOOT_ORDER,
    MAX_SHADOW_MULTIPLIER,
    check_kernel_arguments,
    check_path,
    cpu_mask,
    sched_params,
)
from ..operations import Operations, Part
from ..ports import Call, Disks, checks, implements, overrides
from .autostart import AUTO_POWERON, check_auto_poweron

MAX_VCPUS = 4095  # what libxl's bitmaps and Xen's HVM limit leave no guest to reach

OWN_STATE = {
    "uuid", "power_state", "domid", "resident_on", "suspend_VDI", "metrics", "guest_metrics",
    "allowed_operations", "current_operations", "consoles", "VIFs", "VBDs", "crash_dumps", "VTPMs",
    "last_booted_record", "is_control_domain", "is_foreign_domain", "scheduled_to_be_resident_on",
}  # fmt: skip
"""Fields that a copy does not inherit."""


@dataclass
class VMRecordService:
    """Everything about VMs that needs no domain."""

    store: Store
    operations: Operations
    disks: Disks
    now: Callable[[], datetime]

    @overrides("VM.create")
    async def create(self, call: Call, values: Mapping[str, Any]) -> Ref[VM]:
        row = dict(values)
        if row.get("power_state", VmPowerState.HALTED) is not VmPowerState.HALTED:
            raise ValueNotSupported("power_state", row["power_state"], "a new VM is Halted")
        if row.get("suspend_VDI", NULL) != NULL:
            raise ValueNotSupported(
                "suspend_VDI", row["suspend_VDI"], "a new VM has no saved state"
            )
        check_memory_order(row)
        check_vcpus(row)
        self._check_new(call, row)
        async with self.store.transaction() as tx:
            return _create(tx, row, self.now())

    def _check_new(self, call: Call, row: Mapping[str, Any]) -> None:
        """A constructor sets what the setters would: the same checks hold."""
        for field in (VM.PV_kernel, VM.PV_ramdisk):
            self.check_boot_file(call, NULL, field, row[field.name])
        self.check_arguments(call, NULL, VM.PV_args, row["PV_args"])
        self.check_policy(call, NULL, VM.HVM_boot_policy, row["HVM_boot_policy"])
        self.check_boot_params(call, NULL, VM.HVM_boot_params, row["HVM_boot_params"])
        self.check_vcpus_params(call, NULL, VM.VCPUs_params, row["VCPUs_params"])
        self.check_platform(call, NULL, VM.platform, row["platform"])
        self.check_other_config(call, NULL, VM.other_config, row["other_config"])
        self.check_pci_bus(call, NULL, VM.PCI_bus, row["PCI_bus"])
        self.check_shadow_multiplier(row["HVM_shadow_multiplier"])
        self.check_xenstore_data(call, NULL, VM.xenstore_data, row["xenstore_data"])

    @overrides("VM.destroy")
    async def destroy(self, call: Call, vm: Ref[VM]) -> None:
        record = self.store.get(vm)
        if record.other_config.get("default_template") == "true" and record.is_a_template:
            raise VMCannotDeleteDefaultTemplate(vm)
        async with (
            self.operations.claim(call, vm, VmOperations.DESTROY),
            self.store.transaction() as tx,
        ):
            _destroy(tx, vm)

    @overrides("VM.set_is_a_template")
    async def set_is_a_template(self, call: Call, vm: Ref[VM], value: bool) -> None:
        record = self.store.get(vm)
        if record.is_control_domain or record.is_foreign_domain:
            raise OperationNotAllowed(f"{record.name_label} cannot be a template")
        if record.power_state is not VmPowerState.HALTED:
            raise VMBadPowerState(vm, VmPowerState.HALTED, record.power_state)
        async with self.store.transaction() as tx:
            tx.set(vm, VM.is_a_template, value)

    @implements(VM.clone)
    async def clone(self, call: Call, vm: Ref[VM], new_name: str) -> Ref[VM]:
        return await self._duplicate(call, vm, new_name, VmOperations.CLONE, None)

    @implements(VM.copy)
    async def copy(self, call: Call, vm: Ref[VM], new_name: str, sr: Ref[SR]) -> Ref[VM]:
        return await self._duplicate(call, vm, new_name, VmOperations.COPY, sr)

    async def _duplicate(
        self, call: Call, vm: Ref[VM], name: str, operation: VmOperations, sr: Ref[SR] | None
    ) -> Ref[VM]:
        """A new VM like `vm`, its disks cloned, or copied to `sr` (NULL: where each one is)."""
        check_text("new_name", name)  # before any disk is made
        async with self.operations.claim(call, vm, operation) as record, Undo() as undo:
            twins: dict[Ref[VBD], Ref[VDI]] = {}
            for done, ref in enumerate(record.VBDs):
                disk = self.store.get(ref)
                if disk.type is VbdType.CD or disk.VDI == NULL:
                    continue
                share = 0.95 / len(record.VBDs)
                part = Part(call, share * done, share * (done + 1))
                twins[ref] = await self._duplicate_disk(part, disk.VDI, sr)
                undo.add(self.disks.destroy, call, twins[ref])
                part.progress(1.0)
            async with self.store.transaction() as tx:
                macs = self.store.values(VIF.MAC)
                twin = _create_twin(tx, tx.get(vm), name, twins, macs, self.now())
            undo.commit()
            return twin

    async def _duplicate_disk(self, call: Call, vdi: Ref[VDI], sr: Ref[SR] | None) -> Ref[VDI]:
        if sr is None:
            return await self.disks.clone(call, vdi)
        return await self.disks.copy(call, vdi, self.store.get(vdi).SR if sr == NULL else sr)

    @checks(VM.PV_kernel, VM.PV_ramdisk)
    def check_boot_file(self, call: Call, vm: Ref[VM], field: Field[Any], value: str) -> None:
        if value:
            check_path(field.name, value)

    @checks(VM.PV_args)
    def check_arguments(self, call: Call, vm: Ref[VM], field: Field[Any], value: str) -> None:
        check_kernel_arguments(field.name, value)

    @checks(VM.HVM_boot_policy)
    def check_policy(self, call: Call, vm: Ref[VM], field: Field[Any], value: str) -> None:
        if value not in ("", BIOS_ORDER):
            raise ValueNotSupported(field.name, value, f'only "" and "{BIOS_ORDER}" exist')
        self._check_halted(vm, field)

    @checks(VM.domain_type)
    def check_domain_type(
        self, call: Call, vm: Ref[VM], field: Field[Any], value: DomainType
    ) -> None:
        self._check_halted(vm, field)

    def _check_halted(self, vm: Ref[VM], field: Field[Any]) -> None:
        """A suspended or running guest is of the kind it was booted as."""
        record = self.store.find(VM, vm)
        if record is not None and record.power_state is not VmPowerState.HALTED:
            raise VMBadPowerState(vm, VmPowerState.HALTED, record.power_state)

    @checks(VM.HVM_boot_params)
    def check_boot_params(
        self, call: Call, vm: Ref[VM], field: Field[Any], value: Mapping[str, str]
    ) -> None:
        if "order" in value and not BOOT_ORDER.fullmatch(value["order"]):
            raise InvalidValue("HVM_boot_params:order", value["order"])

    @checks(VM.xenstore_data)
    def check_xenstore_data(
        self, call: Call, vm: Ref[VM], field: Field[Any], value: Mapping[str, str]
    ) -> None:
        plan_vm_data(value)

    @checks(VM.VCPUs_params)
    def check_vcpus_params(
        self, call: Call, vm: Ref[VM], field: Field[Any], value: Mapping[str, str]
    ) -> None:
        sched_params(value)
        cpu_mask(value)

    @checks(VM.platform)
    def check_platform(
        self, call: Call, vm: Ref[VM], field: Field[Any], value: Mapping[str, str]
    ) -> None:
        check_platform(value)

    @checks(VM.other_config)
    def check_other_config(
        self, call: Call, vm: Ref[VM], field: Field[Any], value: Mapping[str, str]
    ) -> None:
        pci_devices(value, "")
        check_auto_poweron(value.get(AUTO_POWERON, ""))

    @checks(VM.PCI_bus)
    def check_pci_bus(self, call: Call, vm: Ref[VM], field: Field[Any], value: str) -> None:
        pci_devices({}, value)

    @staticmethod
    def check_shadow_multiplier(value: float) -> None:
        if not 1.0 <= value <= MAX_SHADOW_MULTIPLIER:
            raise InvalidValue("HVM_shadow_multiplier", str(value))


def check_memory_order(row: Mapping[str, Any]) -> None:
    """static_min <= dynamic_min <= dynamic_max <= static_max, where zero means not given.

    Raises MEMORY_CONSTRAINT_VIOLATION_ORDER, INVALID_VALUE.
    """
    names = ("memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max")
    for name in (*names, "memory_target"):
        if row[name] < 0:
            raise InvalidValue(name, str(row[name]))
    given = [row[name] for name in names if row[name]]
    if given != sorted(given):
        raise MemoryConstraintViolationOrder()


def check_vcpus(row: Mapping[str, Any]) -> None:
    """1 <= VCPUs_at_startup <= VCPUs_max. Raises INVALID_VALUE."""
    if not 0 <= row["VCPUs_max"] <= MAX_VCPUS:
        raise InvalidValue("VCPUs_max", str(row["VCPUs_max"]))
    if not 0 <= row["VCPUs_at_startup"] <= max(1, row["VCPUs_max"]):
        raise InvalidValue("VCPUs_at_startup", str(row["VCPUs_at_startup"]))


def _create(tx: Transaction, row: Mapping[str, Any], now: datetime) -> Ref[VM]:
    metrics = tx.create(VMMetrics, {"install_time": now})
    return tx.create(VM, {**row, "domid": -1, "metrics": metrics})


def _destroy(tx: Transaction, vm: Ref[VM]) -> None:
    """The record and what the daemon hung on it; anything else that refers to it is an error."""
    record = tx.get(vm)
    for console in record.consoles:
        tx.destroy(console)
    tx.destroy(vm)
    if record.metrics != NULL:
        tx.destroy(record.metrics)
    if record.guest_metrics != NULL:
        tx.destroy(record.guest_metrics)


def _create_twin(
    tx: Transaction,
    record: VM,
    name: str,
    disks: Mapping[Ref[VBD], Ref[VDI]],
    taken: Container[str],
    now: datetime,
) -> Ref[VM]:
    """The copy's records; its interfaces get MACs that are not among `taken`."""
    own: set[str] = set()
    row = {n: v for n, v in record.row.items() if n not in OWN_STATE}
    other_config = {k: v for k, v in record.other_config.items() if k != "default_template"}
    twin = _create(tx, {**row, "name_label": name, "other_config": other_config}, now)
    for ref in record.VBDs:
        vbd = tx.get(ref)
        values = _inherited(vbd, {"VM": twin, "VDI": disks.get(ref, vbd.VDI)})
        tx.create(VBD, values)
    for nic in record.VIFs:
        vif = tx.get(nic)
        # A MAC of its own: two guests with one on a bridge would lose each other's packets.
        while (mac := new_mac(taken)) in own:
            pass
        own.add(mac)
        tx.create(VIF, _inherited(vif, {"VM": twin, "MAC": mac}))
    return twin


def _inherited(device: VBD | VIF, changed: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        f.name: device.row[f.name]
        for f in type(device).fields.values()
        if f.qualifier != "RO/runtime" and f.name not in ("uuid", "currently_attached")
    }
    return {**kept, **changed}
