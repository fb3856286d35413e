"""The program that libxl runs for each interface of a guest, on the kernel's network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.plan import VIF_SCRIPT

from .namespace import in_namespace, need

BACKEND = "backend/vif/1/0"
READ = """#!/bin/sh
for key; do cat "{store}/${{key##*/}}" || exit 1; done
"""
WRITE = """#!/bin/sh
while [ $# -gt 0 ]; do printf %s "$2" >"{store}/${{1##*/}}"; shift 2; done
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A directory with a file for each key of the device in xenstore."""
    keys = tmp_path / "keys"
    keys.mkdir()
    for name, text in (("xenstore-read", READ), ("xenstore-write", WRITE)):
        program = tmp_path / name
        program.write_text(text.format(store=keys))
        program.chmod(0o755)
    (keys / "bridge").write_text("xapi0\n")
    return keys


def hotplug(store: Path, *words: str) -> int:
    """Run the script as libxl does: its exit status."""
    environment = os.environ | {
        "PATH": f"{store.parent}:{os.environ['PATH']}",
        "XENBUS_PATH": BACKEND,
        "vif": "vif1.0",
        "INTERFACE": "vif1.0-emu",
    }
    return subprocess.run([VIF_SCRIPT, *words], env=environment).returncode


def play(store: Path, words: tuple[str, str], interface: str) -> tuple[int, str]:
    """Plug the interface of a guest, on a host with one bridge: the exit status and its bridge."""
    ended: list[tuple[int, str]] = []

    async def scenario() -> None:
        from pyroute2 import AsyncIPRoute

        async with AsyncIPRoute() as netlink:
            await need(netlink, "bridge")
            await netlink.link("add", ifname="xapi0", kind="bridge", mtu=1400)
            await netlink.link("add", ifname=interface, kind="veth", peer="frontend")
            status = hotplug(store, *words)
            link: Any = (await netlink.link("get", ifname=interface))[0]
            master = link.get_attr("IFLA_MASTER")
            bridge = (await netlink.link("get", ifname="xapi0"))[0]["index"]
            is_up = bool(link["flags"] & 1) and link.get_attr("IFLA_MTU") == 1400
            ended.append((status, "xapi0" if master == bridge and is_up else ""))

    in_namespace(scenario)
    return ended[0]


def test_an_interface_is_plugged_and_the_kernel_told(store: Path) -> None:
    assert play(store, ("online", "type_if=vif"), "vif1.0") == (0, "xapi0")

    assert (store / "hotplug-status").read_text() == "connected"
    assert (store / "mtu").read_text() == "1400", "what the guest is told"


def test_an_emulated_card_is_plugged_but_says_nothing_of_the_other(store: Path) -> None:
    assert play(store, ("add", "type_if=tap"), "vif1.0-emu") == (0, "xapi0")

    assert not (store / "hotplug-status").exists()


def test_what_ends_needs_nothing(store: Path) -> None:
    for words in (("offline", "type_if=vif"), ("remove", "type_if=tap"), ("online", "type_if=tap")):
        assert hotplug(store, *words) == 0

    assert sorted(file.name for file in store.iterdir()) == ["bridge"]


@pytest.mark.parametrize(
    ("missing", "complaint"), [("bridge", "no bridge is given"), ("", "there is no bridge xapi9")]
)
def test_what_cannot_be_plugged_says_why(store: Path, missing: str, complaint: str) -> None:
    (store / "bridge").write_text("xapi9\n")
    if missing:
        (store / missing).unlink()

    status, bridge = play(store, ("online", "type_if=vif"), "vif1.0")

    assert status != 0 and not bridge
    assert (store / "hotplug-status").read_text() == "error"
    assert complaint in (store / "hotplug-error").read_text()
