"""The kernel's files, as the counters are read from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from xapid.xen.device_counters import Moved, disk_number, read_counters

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
  eth0:   18644     188    0    0    0     0          0         0    43614     172    0    0
vif2.0:     100       1    0    0    0     0          0         0     2000      23    0    0
vif2.0-emu:  10       1    0    0    0     0          0         0      500       2    0    0
vif13.1:12345678901       1    0    0    0     0          0         0     7      23    0    0
vif7:         1       1    0    0    0     0          0         0     7      23    0    0
"""


def disk(sys: Path, name: str, read: str, written: str) -> None:
    statistics = sys / "bus/xen-backend/devices" / name / "statistics"
    statistics.mkdir(parents=True)
    (statistics / "rd_sect").write_text(read)
    (statistics / "wr_sect").write_text(written)


def test_disks_are_counted_in_bytes(tmp_path: Path) -> None:
    disk(tmp_path, "vbd-2-51712", "3\n", "5\n")
    disk(tmp_path, "vbd-12-768", "0\n", "1\n")

    counters = read_counters(tmp_path, tmp_path)

    assert counters.disks == {(2, 51712): Moved(1536, 2560), (12, 768): Moved(0, 512)}


def test_what_is_no_disk_or_has_no_counters_is_left_out(tmp_path: Path) -> None:
    disk(tmp_path, "vbd-2-51712", "broken", "5\n")
    for name in ("console-2-0", "vif-2-0", "vbd-3-51712", "vbd-x-1"):
        (tmp_path / "bus/xen-backend/devices" / name).mkdir(parents=True)

    assert read_counters(tmp_path, tmp_path).disks == {}


def test_interfaces_are_counted_as_the_guest_sees_them(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/dev").write_text(NET_DEV)

    counters = read_counters(tmp_path, tmp_path)

    assert counters.nics == {(2, 0): Moved(2500, 110), (13, 1): Moved(7, 12345678901)}


def test_a_host_without_backends_has_no_counters(tmp_path: Path) -> None:
    counters = read_counters(tmp_path, tmp_path)

    assert (counters.disks, counters.nics) == ({}, {})


@pytest.mark.parametrize(
    ("device", "number"),
    [
        ("xvda", 51712),
        ("xvdp", 51952),
        ("xvdq", (1 << 28) + (16 << 8)),
        ("xvdaa", (1 << 28) + (26 << 8)),
        ("hda", 768),
        ("hdb", 832),
        ("hdc", 5632),
        ("hdd", 5696),
        ("hde", None),
        ("sda", 2048),
        ("sdb", 2064),
        ("", None),
        ("autodetect", None),
    ],
)
def test_disks_are_numbered_as_xen_does(device: str, number: int | None) -> None:
    assert disk_number(device) == number
