"""Virtual network interfaces: of VMs, plugged into running guests and out of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...datamodel.declare import NULL, Field, Ref
from ...datamodel.errors import (
    BridgeNotAvailable,
    CannotPlugVIF,
    DeviceAlreadyAttached,
    DeviceAlreadyExists,
    InvalidDevice,
    InvalidValue,
    MACStillExists,
    ValueNotSupported,
)
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...db.store import Store
from ...db.transaction import Transaction
from ...network.mac import new_mac
from ...undo import Undo
from ...xen.client import XenClient
from ...xen.devices import attaching, check_destroyable, check_domain, check_vm, detach
from ...xen.plan import RATE_LIMIT, domain_type, plan_nic, rate_limit
from ..ports import Call, Guests, Operations, Wires, checks, implements, overrides
from .names import AUTODETECT, MAX_VIFS, check_device, check_mac, check_mtu

WITHDRAW_WITHIN_S = 30.0
CREATED_WITH = (
    VIF.VM,
    VIF.network,
    VIF.other_config,
    VIF.qos_algorithm_type,
    VIF.qos_algorithm_params,
)


@dataclass
class VIFService:
    store: Store
    operations: Operations
    wires: Wires
    guests: Guests
    xen: XenClient

    async def reconcile(self, vm: VM) -> None:
        """Record which of a VM's devices its domain really has, and hold them. Raises XenError."""
        macs = {nic.devid: nic.nic.get("mac") for nic in await self.xen.nic_list(vm.domid)}
        for record in map(self.store.get, vm.VIFs):
            there = macs.get(int(record.device)) == record.MAC
            if record.currently_attached and not there:
                await self.store.set(record.ref, VIF.currently_attached, False)
                await self.wires.detach(record.ref)
            elif there and not record.currently_attached:
                await self.wires.attach(record.ref)
                await self.store.set(record.ref, VIF.currently_attached, True)

    @overrides("VIF.create")
    async def create(self, call: Call, values: Mapping[str, Any]) -> Ref[VIF]:
        """An interface of a VM; a running one does not see it before it is plugged.

        Raises INVALID_DEVICE, DEVICE_ALREADY_EXISTS, MAC_INVALID, MAC_STILL_EXISTS, INVALID_VALUE.
        """
        planned: dict[Field[Any], Any] = {
            field: values.get(field.name, field.default) for field in CREATED_WITH
        }
        _check_qos(values.get("qos_algorithm_type", ""))
        _check_rate(values.get("qos_algorithm_params", {}))
        planned[VIF.qos_supported_algorithms] = (RATE_LIMIT,)
        planned[VIF.MTU] = check_mtu(values.get("MTU", 0))
        async with self.store.transaction() as tx:
            vm = tx.get(planned[VIF.VM])
            check_vm(vm)
            planned[VIF.device] = _free_device(tx, vm, values.get("device", ""))
            planned[VIF.MAC] = self._mac(values)
            return tx.create(VIF, planned)

    def _mac(self, values: Mapping[str, Any]) -> str:
        if not values.get("MAC"):
            return new_mac(self.store.values(VIF.MAC))
        mac = check_mac(values["MAC"])
        others = map(self.store.get, self.store.having(VIF.MAC, mac))
        if any(vif.network == values["network"] for vif in others):
            raise MACStillExists(mac)
        return mac

    @overrides("VIF.destroy")
    async def destroy(self, call: Call, vif: Ref[VIF]) -> None:
        async with self.store.transaction() as tx:
            record = tx.get(vif)
            check_destroyable(record, tx.get(record.VM))
            tx.destroy(vif)
            if record.metrics != NULL:
                tx.destroy(record.metrics)

    @implements(VIF.plug)
    async def plug(self, call: Call, vif: Ref[VIF]) -> None:
        """Give a running guest the interface."""
        async with self.operations.claim(call, vif, VIF.plug) as record, Undo() as undo:
            domid = self.guests.domid(record.VM)
            try:
                bridge = await self.wires.attach(vif)
            except BridgeNotAvailable as error:
                raise CannotPlugVIF(vif) from error
            undo.add(self.wires.detach, vif)
            try:
                await self._add(record, domid, bridge)
            except DeviceAlreadyAttached:
                raise  # the interface of that number is somebody else's
            except BaseException:
                undo.add(self._withdraw, vif, domid)  # it may be there although no answer came
                raise
            undo.add(self._withdraw, vif, domid)
            async with self.store.transaction() as tx:
                check_domain(tx.get(record.VM), domid)
                tx.set(vif, VIF.currently_attached, True)
            undo.commit()

    async def _add(self, record: VIF, domid: int, bridge: str) -> None:
        kind = domain_type(self.store.get(record.VM))
        with attaching(record):
            await self.xen.nic_add(domid, plan_nic(record, bridge, kind, running=True))

    @implements(VIF.unplug)
    async def unplug(self, call: Call, vif: Ref[VIF]) -> None:
        """Take the interface from a running guest."""
        async with self.operations.claim(call, vif, VIF.unplug) as record:
            await self._remove(vif, self.guests.domid(record.VM), force=False)
            await self.store.set(vif, VIF.currently_attached, False)
            await self.wires.detach(vif)

    async def _remove(self, vif: Ref[VIF], domid: int, *, force: bool) -> None:
        """Raises DEVICE_DETACH_TIMEOUT, DEVICE_DETACH_REJECTED."""
        record = self.store.get(vif)
        devid = int(record.device)

        async def is_there() -> bool:
            return any(nic.devid == devid for nic in await self.xen.nic_list(domid))

        await detach(record, self.xen.nic_remove(domid, devid=devid, force=force), is_there)

    async def _withdraw(self, vif: Ref[VIF], domid: int) -> None:
        """Take back a plug."""
        async with asyncio.timeout(WITHDRAW_WITHIN_S):
            await self.xen.wait_available()
            await self._remove(vif, domid, force=True)

    @checks(VIF.qos_algorithm_type)
    def check_qos(self, call: Call, vif: Ref[VIF], field: Field[str], value: str) -> None:
        _check_qos(value)

    @checks(VIF.qos_algorithm_params)
    def check_rate(
        self, call: Call, vif: Ref[VIF], field: Field[Any], value: Mapping[str, str]
    ) -> None:
        _check_rate(value)


def _check_qos(algorithm: str) -> None:
    if algorithm not in ("", RATE_LIMIT):
        raise ValueNotSupported("qos_algorithm_type", algorithm, f"only {RATE_LIMIT} is there")


def _check_rate(params: Mapping[str, str]) -> None:
    if "kbps" in params and not rate_limit(params):
        raise InvalidValue("qos_algorithm_params", params["kbps"][:64])


def _free_device(tx: Transaction, vm: VM, wanted: str) -> str:
    taken = {tx.get(vif).device for vif in vm.VIFs}
    if wanted not in AUTODETECT:
        if check_device(wanted) in taken:
            raise DeviceAlreadyExists(wanted)
        return wanted
    for number in range(MAX_VIFS):
        if str(number) not in taken:
            return str(number)
    raise InvalidDevice(wanted)
