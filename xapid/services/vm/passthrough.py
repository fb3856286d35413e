"""PCI devices of this host that guests are given: whether each may be handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datamodel.declare import Ref
from ...datamodel.errors import OperationNotAllowed, VMRequiresIOMMU
from ...datamodel.host import Host
from ...datamodel.vm import VM
from ...xen.client import XenClient
from ...xen.keys import PCI_ADDRESS, PciAddress, pci_devices

PCIBACK = "pciback"
BRIDGE_CLASS = "0x0604"


@dataclass
class Passthrough:
    """sys: where the kernel shows its devices, /sys on a real host."""

    xen: XenClient
    host: Ref[Host]
    sys: Path = Path("/sys")

    async def check(self, vm: VM) -> tuple[PciAddress, ...]:
        """The devices that the VM is given; () for most.

        Raises INVALID_VALUE, VM_REQUIRES_IOMMU, and OPERATION_NOT_ALLOWED with what to do.
        """
        devices = pci_devices(vm.other_config, vm.PCI_bus)
        if not devices:
            return ()
        if not (await self.xen.physinfo()).cap_hvm_directio:
            raise VMRequiresIOMMU(self.host)
        reason = await asyncio.to_thread(self._refusal, devices)
        if reason:
            raise OperationNotAllowed(reason)
        return devices

    def _refusal(self, devices: Sequence[PciAddress]) -> str:
        for device in devices:
            if not self._directory(str(device)).is_dir():
                return f"this host has no PCI device {device}"
            for member in (str(device), *self._group(device)):
                if not self._free(member):
                    return (
                        f"PCI device {member} is not set apart for guests: "
                        f"run `xl pci-assignable-add {member}`"
                    )
        return ""

    def _directory(self, address: str) -> Path:
        return self.sys / "bus/pci/devices" / address

    def _group(self, device: PciAddress) -> list[str]:
        """What shares the device's IOMMU group, and so sees all it does; bridges aside."""
        members = self._directory(str(device)) / "iommu_group/devices"
        if not members.is_dir():
            return []  # under Xen the kernel often knows no groups: Xen itself has the last word
        names = sorted(path.name for path in members.iterdir())
        return [name for name in names if PCI_ADDRESS.fullmatch(name) and not self._bridge(name)]

    def _bridge(self, address: str) -> bool:
        try:
            return (self._directory(address) / "class").read_text().startswith(BRIDGE_CLASS)
        except OSError:
            return False

    def _free(self, address: str) -> bool:
        """Whether the device is bound to the driver that keeps devices for guests."""
        driver = self._directory(address) / "driver"
        return driver.exists() and driver.resolve().name == PCIBACK
