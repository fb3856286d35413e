"""Disks and network interfaces come and go."""

from __future__ import annotations

from typing import Any

import pytest
from xapid.xenworker._libxl_mock import ffi, lib

NULL = ffi.NULL
DISK = {"vdev": "xvdb", "pdev_path": "/dev/vg/b", "readwrite": 1}


def test_a_disk_is_added_seen_and_removed(host: Any) -> None:
    domid = host.create(run=True, disks=[{"vdev": "xvda", "pdev_path": "/srv/a.img"}])
    disk, info = host.parsed("device_disk", DISK), ffi.new("libxl_diskinfo *")

    assert lib.libxl_device_disk_add(host.ctx, domid, disk, NULL) == 0
    assert lib.libxl_device_disk_add(host.ctx, domid, disk, NULL) == lib.ERROR_DEVICE_EXISTS
    assert lib.libxl_device_disk_getinfo(host.ctx, domid, disk, info) == 0

    assert (info.devid, info.state) == (51728, 4)
    assert ffi.string(info.frontend) == f"/local/domain/{domid}/device/vbd/51728".encode()
    lib.libxl_diskinfo_dispose(info)
    assert [(d["vdev"], d["backend"]) for d in host.listed("disk", domid)] == [
        ("xvda", "qdisk"),
        ("xvdb", "phy"),
    ]

    assert lib.libxl_device_disk_safe_remove(host.ctx, domid, disk, NULL) == 0
    assert [d["vdev"] for d in host.listed("disk", domid)] == ["xvda"]
    assert lib.libxl_device_disk_remove(host.ctx, domid, disk, NULL) == lib.ERROR_NOTFOUND


def test_a_guest_may_refuse_to_let_go(host: Any) -> None:
    host.turn(unplug_timeout_ms=5)
    domid = host.create(run=True, disks=[DISK, {**DISK, "vdev": "xvdc"}])
    lib.xapid_mock_order(domid, b"refuse_unplug", 1)
    disk, other = host.parsed("device_disk", DISK), host.parsed("device_disk", {"vdev": "xvdc"})

    assert lib.libxl_device_disk_safe_remove(host.ctx, domid, disk, NULL) == lib.ERROR_TIMEDOUT
    assert len(host.listed("disk", domid)) == 2
    assert lib.libxl_device_disk_remove(host.ctx, domid, other, NULL) == 0
    assert lib.libxl_device_disk_destroy(host.ctx, domid, disk, NULL) == 0

    assert host.listed("disk", domid) == []


def test_interfaces_get_numbers_and_addresses(host: Any) -> None:
    domid = host.create(
        run=True, nics=[{"bridge": "br0"}, {"mac": "00:16:3e:00:00:07", "bridge": "br1"}]
    )
    added = host.parsed("device_nic", {"bridge": "br2"})

    assert lib.libxl_device_nic_add(host.ctx, domid, added, NULL) == 0
    given = host.written("device_nic", added)
    found = host.listed("nic", domid)

    assert [nic["devid"] for nic in found] == [0, 1, 2]
    assert len({nic["mac"] for nic in found}) == 3
    assert given == found[2]

    by_mac = ffi.new("libxl_device_nic *")
    lib.libxl_device_nic_init(by_mac)
    assert lib.libxl_mac_to_device_nic(host.ctx, domid, b"00:16:3E:00:00:07", by_mac) == 0
    assert lib.libxl_device_nic_remove(host.ctx, domid, by_mac, NULL) == 0
    lib.libxl_device_nic_dispose(by_mac)
    assert [nic["devid"] for nic in host.listed("nic", domid)] == [0, 2]


def test_a_cd_is_changed_in_the_drive_of_an_hvm_guest(host: Any) -> None:
    drive = {"vdev": "hdc", "is_cdrom": 1, "removable": 1, "format": "empty"}
    hvm, pv = host.create(run=True, kind="hvm", disks=[drive]), host.create(run=True)
    disc = host.parsed("device_disk", {**drive, "format": "raw", "pdev_path": "/srv/cd.iso"})

    assert lib.libxl_cdrom_insert(host.ctx, pv, disc, NULL) == lib.ERROR_INVAL
    assert lib.libxl_cdrom_insert(host.ctx, hvm, disc, NULL) == 0
    assert host.listed("disk", hvm)[0]["pdev_path"] == "/srv/cd.iso"

    assert lib.xapid_mock_order(hvm, b"eject", 0) == 0
    assert "pdev_path" not in host.listed("disk", hvm)[0]


@pytest.mark.parametrize(
    ("vdev", "number"),
    [
        ("xvda", 51712),
        ("xvda1", 51713),
        ("xvdp15", 51967),
        ("xvdq", 268439552),
        ("hdc", 5632),
        ("sdb", 2064),
        ("xvdaa", 268442112),
    ],
)
def test_virtual_disks_are_numbered_as_guests_see_them(host: Any, vdev: str, number: int) -> None:
    domid = host.create(disks=[{"vdev": vdev, "pdev_path": "/dev/vg/a"}])
    disk, info = host.parsed("device_disk", {"vdev": vdev}), ffi.new("libxl_diskinfo *")

    assert lib.libxl_device_disk_getinfo(host.ctx, domid, disk, info) == 0

    assert info.devid == number
    lib.libxl_diskinfo_dispose(info)


def test_two_disks_of_one_name_are_refused(host: Any) -> None:
    assert host.try_create(disks=[DISK, DISK]) == lib.ERROR_DEVICE_EXISTS
    assert host.domids() == [0]


def test_consoles_are_where_libxl_says(host: Any) -> None:
    pv, mute = host.create(), host.create(kind="hvm")
    serial = host.create(kind="hvm", branch={"serial": "pty"})
    path = ffi.new("char **")

    for domid in (pv, serial):
        assert lib.libxl_primary_console_get_tty(host.ctx, domid, path) == 0
        assert ffi.string(path[0]).startswith(b"/dev/pts/")
        lib.free(path[0])

    assert lib.libxl_primary_console_get_tty(host.ctx, mute, path) == lib.ERROR_INVAL
