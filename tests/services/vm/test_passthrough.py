"""Whether PCI devices may be handed to a guest, on a played /sys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.errors import OperationNotAllowed, VMRequiresIOMMU
from xapid.datamodel.vm import VM
from xapid.services.vm.passthrough import Passthrough

CARD, NEIGHBOUR, BRIDGE = "0000:04:00.0", "0000:04:00.1", "0000:00:01.0"


@dataclass
class Facts:
    cap_hvm_directio: bool


@dataclass
class Xen:
    """The one thing that is asked of Xen."""

    iommu: bool = True

    async def physinfo(self) -> Facts:
        return Facts(self.iommu)


def vm(pci: str = "") -> VM:
    row: dict[str, Any] = {name: field.default for name, field in VM.fields.items()}
    return VM(Ref("OpaqueRef:vm"), {**row, "other_config": {"pci": pci} if pci else {}})


@pytest.fixture
def device(tmp_path: Path) -> Callable[..., None]:
    def make(address: str, driver: str, group: str = "", kind: str = "0x020000") -> None:
        directory = tmp_path / "bus/pci/devices" / address
        directory.mkdir(parents=True)
        (directory / "class").write_text(f"{kind}\n")
        target = tmp_path / "bus/pci/drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        (directory / "driver").symlink_to(target)
        if group:
            members = tmp_path / "kernel/iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).touch()
            (directory / "iommu_group").symlink_to(members.parent)

    return make


def passthrough(tmp_path: Path, *, iommu: bool = True) -> Passthrough:
    xen: Any = Xen(iommu)
    return Passthrough(xen, Ref("OpaqueRef:host"), tmp_path)


async def test_a_vm_without_devices_needs_nothing(tmp_path: Path) -> None:
    assert await passthrough(tmp_path, iommu=False).check(vm()) == ()


async def test_a_host_without_iommu_says_so(tmp_path: Path) -> None:
    with pytest.raises(VMRequiresIOMMU) as refused:
        await passthrough(tmp_path, iommu=False).check(vm(CARD))

    assert refused.value.wire() == ["VM_REQUIRES_IOMMU", "OpaqueRef:host"]


async def test_a_device_set_apart_is_given(tmp_path: Path, device: Callable[..., None]) -> None:
    device(CARD, "pciback")

    [given] = await passthrough(tmp_path).check(vm(CARD))

    assert str(given) == CARD


async def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperationNotAllowed, match=f"no PCI device {CARD}"):
        await passthrough(tmp_path).check(vm(CARD))


async def test_a_device_the_host_uses_is_refused_with_what_to_do(
    tmp_path: Path, device: Callable[..., None]
) -> None:
    device(CARD, "e1000e")

    with pytest.raises(OperationNotAllowed, match=f"xl pci-assignable-add {CARD}"):
        await passthrough(tmp_path).check(vm(CARD))


async def test_all_of_an_iommu_group_must_be_set_apart_but_bridges(
    tmp_path: Path, device: Callable[..., None]
) -> None:
    device(CARD, "pciback", "7")
    device(BRIDGE, "pcieport", "7", "0x060400")
    assert len(await passthrough(tmp_path).check(vm(CARD))) == 1

    device(NEIGHBOUR, "snd_hda_intel", "7")
    with pytest.raises(OperationNotAllowed, match=NEIGHBOUR):
        await passthrough(tmp_path).check(vm(CARD))
