"""The keys of `platform` and `other_config`: what each makes of a domain, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xapid.datamodel.enums import DomainType
from xapid.datamodel.errors import InvalidValue, ValueNotSupported
from xapid.xen.keys import PLATFORM, REFUSED, check_platform, pci_devices, plan_platform
from xapid.xen.plan import BootPaths, plan_boot, plan_domain

from .test_plan import vm

PAGE = Path(__file__).parents[2] / "docs" / "vm-keys.md"


def hvm(**platform: str) -> Any:
    return vm(domain_type=DomainType.HVM, platform=platform)


def test_the_page_lists_every_key() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    text = "\n".join(lines)

    for name, key in PLATFORM.items():
        assert f"| `{name}` | {key.values} | {key.meaning} |" in lines
    assert all(f"`{name}`" in text for name in REFUSED)


def test_what_libxl_has_a_place_for_is_planned() -> None:
    record = hvm(acpi="false", nx="1", vga="std", videoram="32", timeoffset="-3600")

    build = plan_domain(record, plan_boot(record), BootPaths(), [], [])["b_info"]

    assert build["type.hvm"]["acpi"] == "False"
    assert build["type.hvm"]["nx"] == "True"
    assert build["type.hvm"]["vga"] == {"kind": "std"}
    assert build["type.hvm"]["boot"] == "cd"
    assert build["video_memkb"] == 32 * 1024
    assert build["rtc_timeoffset"] == 2**32 - 3600


@pytest.mark.parametrize(("card", "least"), [("std", 16), ("cirrus", 8)])
def test_video_memory_is_raised_to_what_libxl_accepts(card: str, least: int) -> None:
    assert plan_platform(hvm(videoram="4", vga=card), DomainType.HVM)["video_memkb"] == least * 1024


def test_a_pv_guest_takes_no_virtual_hardware() -> None:
    record = vm(platform={"acpi": "true", "vga": "std", "timeoffset": "5"})

    assert plan_platform(record, DomainType.PV) == {"rtc_timeoffset": 5}


def test_unknown_keys_mean_nothing() -> None:
    assert plan_platform(hvm(device_id="0002", secureboot="auto"), DomainType.HVM) == {}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_key_that_would_reach_the_device_model_is_refused(name: str) -> None:
    with pytest.raises(ValueNotSupported):
        check_platform({name: "/etc/passwd"})


@pytest.mark.parametrize("name", sorted(PLATFORM))
@pytest.mark.parametrize("value", ["", "-", "yes,serial=file:/x", "9999999999", "\uff11", "true\n"])
def test_a_value_in_no_known_form_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidValue):
        check_platform({name: value})


def test_pci_devices_are_read_in_the_form_that_clients_use() -> None:
    devices = pci_devices({"pci": "0/0000:04:00.0,1/0000:0A:1f.7"}, "")

    assert [str(device) for device in devices] == ["0000:04:00.0", "0000:0a:1f.7"]
    assert devices[1].plan() == {"domain": 0, "bus": 10, "dev": 31, "func": 7}
    assert pci_devices({}, "0000:04:00.0") == devices[:1]
    assert pci_devices({"pci": ""}, "") == ()


@pytest.mark.parametrize(
    "value",
    ["x", "04:00.0", "0000:04:20.0", "0000:04:00.8", "0000:04:00.0,", "0000:04:00.0;rm",
     "0000:04:00.0,0000:04:00.0", "0000:04:00.0\n",
     ",".join(f"0000:{n:02x}:00.0" for n in range(33))],
)  # fmt: skip
def test_what_is_no_list_of_pci_devices_is_refused(value: str) -> None:
    with pytest.raises(InvalidValue):
        pci_devices({"pci": value}, "")


def test_pci_devices_are_planned() -> None:
    record = vm()
    config = plan_domain(
        record, plan_boot(record), BootPaths(), [], [], pci=pci_devices({"pci": "0000:04:00.0"}, "")
    )

    assert config["pcidevs"] == [{"domain": 0, "bus": 4, "dev": 0, "func": 0}]
