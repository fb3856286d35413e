"""Operations on disks and network interfaces of a domain."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .configuration import empty, from_json, to_json
from .jobs import Kind
from .native import LibxlError
from .registry import JSON, Run, operation

_VDEV = re.compile(r"(xvd|hd|sd)[a-z]{1,2}[0-9]{0,3}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


@dataclass(frozen=True)
class _Kind:
    """One kind of device: what libxl calls it, and the member that tells two of them apart."""

    name: str
    key: str


_DISK = _Kind("disk", "vdev")
_NIC_BY_MAC = _Kind("nic", "mac")
_NIC_BY_DEVID = _Kind("nic", "devid")


@operation(Kind.SLOW)
def disk_add(run: Run, domid: int, disk: dict[str, Any]) -> JSON:
    """Attach a disk. On failure it is not attached."""
    return _add(run, _DISK, domid, disk, _check_vdev(run, disk.get("vdev")))


@operation(Kind.SLOW)
def disk_remove(run: Run, domid: int, vdev: str, force: bool = False) -> None:
    """Detach a disk: with the guest's consent, or, by force, without asking."""
    function = "libxl_device_disk_destroy" if force else "libxl_device_disk_safe_remove"
    _remove(run, _DISK, domid, _check_vdev(run, vdev), function)


@operation(Kind.READ)
def disk_list(run: Run, domid: int) -> list[JSON]:
    """List the disks, each with its devid and the xenbus state of its backend (4: connected)."""
    with _listed(run, _DISK, domid) as disks:
        return [_describe(run, _DISK, domid, disk) for disk in disks]


@operation(Kind.SLOW)
def cdrom_insert(run: Run, domid: int, disk: dict[str, Any]) -> None:
    """Put another disc, or none, into a CD drive the domain has."""
    with from_json(run, "device_disk", disk) as struct:
        run.start("libxl_cdrom_insert", domid, struct)


@operation(Kind.SLOW)
def nic_add(run: Run, domid: int, nic: dict[str, Any]) -> JSON:
    """Attach a network interface. On failure it is not attached."""
    return _add(run, _NIC_BY_MAC, domid, nic, _check_mac(run, nic.get("mac")))


@operation(Kind.SLOW)
def nic_remove(
    run: Run, domid: int, devid: int | None = None, mac: str | None = None, force: bool = False
) -> None:
    """Detach a network interface: after asking the guest for a while, or at once by force."""
    function = "libxl_device_nic_destroy" if force else "libxl_device_nic_remove"
    if devid is not None:
        _remove(run, _NIC_BY_DEVID, domid, devid, function)
    else:
        _remove(run, _NIC_BY_MAC, domid, _check_mac(run, mac), function)


@operation(Kind.READ)
def nic_list(run: Run, domid: int) -> list[JSON]:
    """List the network interfaces, each with its devid and its backend's xenbus state."""
    with _listed(run, _NIC_BY_MAC, domid) as nics:
        return [_describe(run, _NIC_BY_MAC, domid, nic) for nic in nics]


def _check_vdev(run: Run, vdev: Any) -> str:
    if not isinstance(vdev, str) or not _VDEV.fullmatch(vdev):
        raise run.refusal(f"{vdev!r} is not a vdev")
    return vdev


def _check_mac(run: Run, mac: Any) -> str:
    if not isinstance(mac, str) or not _MAC.fullmatch(mac):
        raise run.refusal(f"{mac!r} is not a mac")
    return mac.lower()


def _add(run: Run, kind: _Kind, domid: int, wanted: JSON, key: str) -> JSON:
    struct_name = f"device_{kind.name}"
    with _found(run, kind, domid, key) as present:
        if present is not None:
            raise LibxlError(run.lib.ERROR_DEVICE_EXISTS, run.job.name, "it is there already")
    with from_json(run, struct_name, wanted) as struct:
        try:
            run.start(f"libxl_{struct_name}_add", domid, struct)
        except LibxlError as error:
            if error.rc != run.lib.ERROR_DEVICE_EXISTS:
                with run.job.unabortable():
                    _destroy_leftover(run, kind, domid, key)
            raise
        return to_json(run, struct_name, struct)


def _destroy_leftover(run: Run, kind: _Kind, domid: int, key: str) -> None:
    with contextlib.suppress(LibxlError), _found(run, kind, domid, key) as left:
        if left is not None:
            run.start(f"libxl_device_{kind.name}_destroy", domid, left)


def _remove(run: Run, kind: _Kind, domid: int, key: Any, function: str) -> None:
    with _found(run, kind, domid, key) as device:
        if device is None:
            raise LibxlError(run.lib.ERROR_NOTFOUND, run.job.name, "the domain has no such device")
        run.start(function, domid, device)


@contextlib.contextmanager
def _found(run: Run, kind: _Kind, domid: int, key: Any) -> Iterator[Any]:
    """Yield the domain's device with that key, or None.

    libxl's own look-up by key reports a device that is not there as an error in its log.
    """
    with _listed(run, kind, domid) as devices:
        for device in devices:
            value = to_json(run, f"device_{kind.name}", device).get(kind.key)
            if value == key:
                yield device
                return
        yield None


@contextlib.contextmanager
def _listed(run: Run, kind: _Kind, domid: int) -> Iterator[list[Any]]:
    """Yield pointers to the domain's devices of that kind."""
    count = run.ffi.new("int *")
    devices = getattr(run.lib, f"libxl_device_{kind.name}_list")(run.ctx, domid, count)
    # NULL means both "none" and "failed"; a domain that is not there is the failure that matters.
    if devices == run.native.null:
        with empty(run, "dominfo") as info:
            run.call("libxl_domain_info", info, domid)
        yield []
        return
    try:
        yield [devices + index for index in range(count[0])]
    finally:
        getattr(run.lib, f"libxl_device_{kind.name}_list_free")(devices, count[0])


def _describe(run: Run, kind: _Kind, domid: int, device: Any) -> JSON:
    device_json = to_json(run, f"device_{kind.name}", device)
    described: JSON = {kind.name: device_json, "state": None, "devid": None}
    with empty(run, f"{kind.name}info") as info:
        getinfo = getattr(run.lib, f"libxl_device_{kind.name}_getinfo")
        if getinfo(run.ctx, domid, device, info) == 0:
            described["state"] = info.state
            described["devid"] = info.devid
    return described
