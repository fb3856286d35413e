"""Device models leave the unit of xapid-xen, shown with a played systemd."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from xapid.xenworker.log import Log
from xapid.xenworker.scopes import Scopes

UNIT = "system.slice/xapid-xen.service"
# Notes what it was asked; refuses the methods whose names stand in the file `refused`.
BUSCTL = """#!/bin/sh
here=$(dirname "$0")
shift 2
echo "$@" >> "$here/asked"
if grep -qx "$5" "$here/refused"; then echo "no $5" >&2; exit 1; fi
"""


@dataclass
class Host:
    """A pretended /proc, a pretended control group, and a busctl that plays systemd."""

    place: Path
    log: list[str] = field(default_factory=list)

    @property
    def members(self) -> Path:
        return self.place / "groups" / UNIT / "cgroup.procs"

    def run(self, pid: int, *arguments: str) -> None:
        """Let a process run in the unit."""
        directory = self.place / "proc" / str(pid)
        directory.mkdir()
        (directory / "cmdline").write_bytes(b"".join(a.encode() + b"\0" for a in arguments))
        self.members.write_text(self.members.read_text() + f"{pid}\n")

    def refuse(self, *methods: str) -> None:
        (self.place / "refused").write_text("".join(f"{method}\n" for method in methods))

    def asked(self) -> list[list[str]]:
        """Each call since the last look: the method and its arguments."""
        asked = self.place / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        asked.unlink(missing_ok=True)
        return [line.split()[4:] for line in lines]

    def sweep(self, times: int = 1) -> str:
        """What a look, or several of the same process, wrote into the log."""
        reader, writer = os.pipe()
        log = Log(writer)
        scopes = Scopes(log, self.place / "proc", self.place / "groups", str(self.place / "busctl"))
        for _ in range(times):
            scopes.sweep()
        log.close()
        os.close(writer)
        with os.fdopen(reader) as lines:
            return lines.read()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.members.parent.mkdir(parents=True)
    made.members.write_text("")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"0::/{UNIT}\n")
    busctl = tmp_path / "busctl"
    busctl.write_text(BUSCTL)
    busctl.chmod(0o755)
    made.refuse()
    return made


def test_a_device_model_gets_a_scope_of_its_domain(host: Host) -> None:
    host.run(100, "/usr/bin/python3", "-m", "xapid.xenworker")
    host.run(200, "/usr/bin/qemu-system-i386", "-xen-domid", "7", "-name", "a b", "-nographic")

    log = host.sweep()

    [[method, signature, scope, mode, *properties]] = host.asked()
    assert [method, signature, scope, mode] == [
        *("StartTransientUnit", "ssa(sv)a(sa(sv))", "xapid-guest-7-200.scope", "fail")
    ]
    told = " ".join(properties)
    assert told.startswith("5 ")
    assert " Slice s xapid-guests.slice " in told
    assert " PIDs au 1 200 " in told
    assert " Before as 1 xapid-guests.service " in told
    assert told.endswith(" 0")
    assert log == "info the device model of domain 7 is in xapid-guest-7-200.scope\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["xapid-xen", "--socket", "/run/xapid/xen.sock"],
        ["/etc/xen/scripts/vif-bridge", "online"],
        ["qemu-system-i386", "-xen-domid"],
        ["qemu-system-i386", "-xen-domid", "seven"],
        [],
    ],
)
def test_no_other_process_is_moved(host: Host, arguments: list[str]) -> None:
    host.run(100, *arguments)

    host.sweep()

    assert host.asked() == []


def test_a_process_that_has_just_ended_is_no_mistake(host: Host) -> None:
    host.members.write_text("999\n")

    assert host.sweep() == ""


def test_a_device_model_on_its_way_is_not_asked_for_twice(host: Host) -> None:
    host.run(200, "qemu", "-xen-domid", "7")

    host.sweep(times=2)

    assert len(host.asked()) == 1


def test_what_systemd_refuses_is_tried_again_and_told_once(host: Host) -> None:
    host.run(200, "qemu", "-xen-domid", "7")
    host.refuse("StartTransientUnit")

    log = host.sweep(times=2)

    assert len(host.asked()) == 2
    assert log == "warning the device model of domain 7 stays here: no StartTransientUnit\n"


@pytest.mark.parametrize("group", ["0::/user.slice/session-1.scope", "1:name=systemd:/", ""])
def test_outside_a_service_nothing_is_moved(host: Host, group: str) -> None:
    host.run(200, "qemu", "-xen-domid", "7")
    (host.place / "proc/self/cgroup").write_text(group)

    host.sweep()

    assert host.asked() == []
