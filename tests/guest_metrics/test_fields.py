"""From paths and values to the fields of the record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapid.services.guest_metrics.fields import MAX_OTHER, guest_fields, tells_something

EMPTY: dict[str, Any] = {
    "os_version": {},
    "PV_drivers_version": {},
    "PV_drivers_up_to_date": False,
    "memory": {},
    "disks": {},
    "networks": {},
    "other": {},
}


@pytest.mark.parametrize(
    ("told", "field", "value"),
    [
        ({"data/os_minorver": "4"}, "os_version", {"minor": "4"}),
        ({"attr/os/build": "19045"}, "os_version", {"build": "19045"}),
        ({"drivers/0": "xennet 9"}, "PV_drivers_version", {"0": "xennet 9"}),
        ({"data/meminfo_free": "9"}, "memory", {"free": "9"}),
        (
            {"data/meminfo_free": "x", "data/meminfo_total": "9"},
            "memory",
            {"free": "x", "total": "9"},
        ),
        (
            {"data/meminfo_free": "9", "data/meminfo_total": "5"},
            "memory",
            {"free": "9", "total": "5"},
        ),
        ({"data/volumes/0/name": "/dev/xvda1"}, "disks", {"0/name": "/dev/xvda1"}),
        ({"data/volumes/1/mount_points/0": "/"}, "disks", {"1/mount_points/0": "/"}),
        ({"attr/eth1/ip": "10.0.0.1"}, "networks", {"1/ip": "10.0.0.1"}),
        ({"attr/eth1/ipv6/0/addr": "fe80::1"}, "networks", {"1/ipv6/0": "fe80::1"}),
        ({"attr/vif/2/ipv4/1": "10.0.0.1"}, "networks", {"2/ipv4/1": "10.0.0.1"}),
        (
            {"xenserver/attr/net-sriov-vf/3/ipv4/0": "10.0.0.1"},
            "networks",
            {"3/ipv4/0": "10.0.0.1", "3/ip": "10.0.0.1"},
        ),
        ({"control/feature-suspend": "1"}, "other", {"feature-suspend": "1"}),
        ({"feature/hotplug/vif": "1"}, "other", {"feature-hotplug-vif": "1"}),
        ({"attr/PVAddons/Installed": "1"}, "other", {}),
        ({"control/shutdown": "poweroff", "control/platform-feature-x": "1"}, "other", {}),
    ],
)
def test_each_key_has_its_place(told: dict[str, str], field: str, value: dict[str, str]) -> None:
    assert guest_fields(told) == EMPTY | {field: value}


def test_the_newer_address_wins() -> None:
    told = {"attr/vif/0/ipv4/0": "10.0.0.2", "attr/eth0/ip": "10.0.0.1"}

    assert guest_fields(told)["networks"]["0/ip"] == "10.0.0.2"


def test_nothing_told_is_nothing() -> None:
    assert not tells_something(guest_fields({}))
    assert tells_something(guest_fields({"data/ts": "1"}))


def test_the_rest_has_an_end() -> None:
    assert len(guest_fields({f"data/{n}": "v" for n in range(1000)})["other"]) == MAX_OTHER


names = st.from_regex(r"(attr|data|control|drivers)(/[a-z0-9_-]{1,8}){1,4}", fullmatch=True)


@given(st.dictionaries(names, st.text(min_size=1, max_size=20)))
def test_any_guest_gives_fields_of_the_right_kind(told: dict[str, str]) -> None:
    fields = guest_fields(told)

    assert fields.keys() == EMPTY.keys()
    for name, value in fields.items():
        assert type(value) is type(EMPTY[name])
