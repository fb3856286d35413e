"""Operations on disks and network interfaces of a domain."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .configuration import empty, from_json, to_json
from .jobs import Kind
from .native import LibxlError
from .registry import JSON, Run, operation

_VDEV = re.compile(r"(xvd|hd|sd)[a-z]{1,2}[0-9]{0,3}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")

# Looks one device of a domain up, filling the struct; returns libxl's result.
Lookup = Callable[[Any], int]


@operation(Kind.SLOW)
def disk_add(run: Run, domid: int, disk: dict[str, Any]) -> JSON:
    """Attach a disk. On failure it is not attached."""
    return _add(run, "device_disk", domid, disk, _by_vdev(run, domid, disk.get("vdev")))


@operation(Kind.SLOW)
def disk_remove(run: Run, domid: int, vdev: str, force: bool = False) -> None:
    """Detach a disk: with the guest's consent, or, by force, without asking."""
    function = "libxl_device_disk_destroy" if force else "libxl_device_disk_safe_remove"
    _remove(run, "device_disk", domid, _by_vdev(run, domid, vdev), function)


@operation(Kind.READ)
def disk_list(run: Run, domid: int) -> list[JSON]:
    """List the disks, each with its devid and the xenbus state of its backend (4: connected)."""
    return _list(run, "disk", domid)


@operation(Kind.SLOW)
def cdrom_insert(run: Run, domid: int, disk: dict[str, Any]) -> None:
    """Put another disc, or none, into a CD drive the domain has."""
    with from_json(run, "device_disk", disk) as struct:
        run.start("libxl_cdrom_insert", domid, struct)


@operation(Kind.SLOW)
def nic_add(run: Run, domid: int, nic: dict[str, Any]) -> JSON:
    """Attach a network interface. On failure it is not attached."""
    mac, devid = nic.get("mac"), nic.get("devid")
    if mac is not None:
        lookup = _by_mac(run, domid, mac)
    elif isinstance(devid, int):
        lookup = _by_devid(run, domid, devid)
    else:
        raise run.refusal("a nic needs a mac or a devid")
    return _add(run, "device_nic", domid, nic, lookup)


@operation(Kind.SLOW)
def nic_remove(
    run: Run, domid: int, devid: int | None = None, mac: str | None = None, force: bool = False
) -> None:
    """Detach a network interface: after asking the guest for a while, or at once by force."""
    if devid is not None:
        lookup = _by_devid(run, domid, devid)
    elif mac is not None:
        lookup = _by_mac(run, domid, mac)
    else:
        raise run.refusal("nic_remove needs devid or mac")
    function = "libxl_device_nic_destroy" if force else "libxl_device_nic_remove"
    _remove(run, "device_nic", domid, lookup, function)


@operation(Kind.READ)
def nic_list(run: Run, domid: int) -> list[JSON]:
    """List the network interfaces, each with its devid and its backend's xenbus state."""
    return _list(run, "nic", domid)


def _by_vdev(run: Run, domid: int, vdev: Any) -> Lookup:
    name = _checked(run, "vdev", _VDEV, vdev)
    return lambda struct: int(run.lib.libxl_vdev_to_device_disk(run.ctx, domid, name, struct))


def _by_mac(run: Run, domid: int, mac: Any) -> Lookup:
    address = _checked(run, "mac", _MAC, mac)
    return lambda struct: int(run.lib.libxl_mac_to_device_nic(run.ctx, domid, address, struct))


def _checked(run: Run, name: str, pattern: re.Pattern[str], value: Any) -> bytes:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise run.refusal(f"{value!r} is not a {name}")
    return value.encode()


def _by_devid(run: Run, domid: int, devid: int) -> Lookup:
    return lambda struct: int(run.lib.libxl_devid_to_device_nic(run.ctx, domid, devid, struct))


def _add(run: Run, kind: str, domid: int, wanted: JSON, lookup: Lookup) -> JSON:
    with empty(run, kind) as present:
        if lookup(present) == 0:
            raise LibxlError(run.lib.ERROR_DEVICE_EXISTS, run.job.name, "it is there already")
    with from_json(run, kind, wanted) as struct:
        try:
            run.start(f"libxl_{kind}_add", domid, struct)
        except LibxlError as error:
            if error.rc == run.lib.ERROR_DEVICE_EXISTS:
                raise
            with run.job.unabortable(), empty(run, kind) as left:
                if lookup(left) == 0:
                    getattr(run.lib, f"libxl_{kind}_destroy")(run.ctx, domid, left, run.native.null)
            raise
        return to_json(run, kind, struct)


def _remove(run: Run, kind: str, domid: int, lookup: Lookup, function: str) -> None:
    with empty(run, kind) as struct:
        if lookup(struct):
            raise LibxlError(run.lib.ERROR_NOTFOUND, run.job.name, "the domain has no such device")
        run.start(function, domid, struct)


def _list(run: Run, kind: str, domid: int) -> list[JSON]:
    count = run.ffi.new("int *")
    devices = getattr(run.lib, f"libxl_device_{kind}_list")(run.ctx, domid, count)
    # NULL means both "none" and "failed"; a domain that is not there is the failure that matters.
    if devices == run.native.null:
        with empty(run, "dominfo") as info:
            run.call("libxl_domain_info", info, domid)
        return []
    try:
        return [_describe(run, kind, domid, devices + index) for index in range(count[0])]
    finally:
        getattr(run.lib, f"libxl_device_{kind}_list_free")(devices, count[0])


def _describe(run: Run, kind: str, domid: int, device: Any) -> JSON:
    described: JSON = {kind: to_json(run, f"device_{kind}", device), "state": None, "devid": None}
    with empty(run, f"{kind}info") as info:
        getinfo = getattr(run.lib, f"libxl_device_{kind}_getinfo")
        if getinfo(run.ctx, domid, device, info) == 0:
            described["state"] = info.state
            described["devid"] = info.devid
    return described
