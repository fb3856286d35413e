"""One storage repository under test: its disks, the guests that use them, and what it leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from testhost.api import ApiError
from testhost.machine import Machine
from testhost.storage_kinds import StorageKind
from testhost.workbench import DIRECT, Guest, Workbench, wait_until

PATTERN_MIB = 4
BUSY = "VDI_IN_USE|SR_OPERATION_NOT_SUPPORTED"
"""How a kind of storage says that it cannot do that beside a guest."""


def start_guest(workbench: Workbench, name: str) -> Guest:
    """A PV guest without disks that runs: of all types it slows an emulated dom0 least."""
    vm = workbench.vm(name, {"domain_type": "pv", **DIRECT})
    guest = Guest(workbench, "pv", vm, "", 120, "", "")
    guest.call("start", False, False)
    guest.wait_booted()
    # It wakes each half second, which takes a good part of an emulated processor.
    guest.inside("killall -STOP counter")
    return guest


@dataclass
class Shelf:
    """An SR of some kind and what the tests made in it so far."""

    workbench: Workbench
    kind: StorageKind
    config: dict[str, str]
    sr: str = ""
    empty: int = 0
    vdis: dict[str, str] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    plugged: dict[str, str] = field(default_factory=dict)

    @property
    def machine(self) -> Machine:
        return self.workbench.machine

    @property
    def uuid(self) -> str:
        return str(self.call("SR.get_uuid", self.sr))

    def call(self, method: str, *arguments: Any) -> Any:
        return self.workbench.api.call(method, *arguments)

    def create(self) -> None:
        """Make the SR."""
        arguments = (self.config, "0", self.kind.name, "", self.kind.type, "", False, {})
        self.sr = str(self.call("SR.create", self.workbench.host, *arguments))

    def destroy(self) -> None:
        """Take the SR away, which holds no disks any more."""
        (pbd,) = self.call("SR.get_PBDs", self.sr)
        self.call("PBD.unplug", pbd)
        self.call("SR.destroy", self.sr)

    def locations(self) -> set[str]:
        """Where the disks are that the API knows."""
        disks = self.call("SR.get_VDIs", self.sr)
        return {str(self.call("VDI.get_location", disk)) for disk in disks}

    def used(self) -> int:
        """The bytes that the SR says nobody can use any more."""
        self.call("SR.scan", self.sr)
        return int(self.call("SR.get_physical_utilisation", self.sr))

    def things(self) -> set[str]:
        return self.kind.listed(self.machine, self.uuid)

    def disk(self, name: str, size: int) -> str:
        self.vdis[name] = self.workbench.vdi(name, size, self.sr)
        return self.vdis[name]

    # Guests

    def plug(self, guest: Guest, name: str, mode: str = "RW") -> None:
        """Give a running guest one of the disks as its only one, /dev/xvda."""
        vbd = self.workbench.vbd(guest.vm, self.vdis[name], "0", mode=mode)
        self.call("VBD.plug", vbd)
        self.plugged[name] = vbd
        guest.inside("until test -b /dev/xvda; do sleep 0.1; done", 30)

    def unplug(self, name: str) -> None:
        vbd = self.plugged.pop(name)
        self.call("VBD.unplug", vbd)
        self.call("VBD.destroy", vbd)

    @contextmanager
    def beside(self, guest: Guest, name: str, operation: str) -> Iterator[None]:
        """A block that does something to a disk that a guest has.

        Where the API does not allow that, it is refused, and done without the guest.
        """
        if operation in self.call("VDI.get_allowed_operations", self.vdis[name]):
            yield
            return
        more = ({},) if operation == "snapshot" else (str(1 << 30),)
        with pytest.raises(ApiError, match=BUSY):
            self.call(f"VDI.{operation}", self.vdis[name], *more)
        self.unplug(name)
        yield
        self.plug(guest, name)

    # Long calls

    def task_ends(self, task: str, seconds: float = 300) -> tuple[str, set[float]]:
        """The final status of a task, and the progress that was seen on its way."""
        seen: set[float] = set()

        def ended() -> str:
            record = self.call("task.get_record", task)
            seen.add(record["progress"])
            return "" if record["status"] in ("pending", "cancelling") else str(record["status"])

        return str(wait_until("the task ends", ended, seconds)), seen

    def made_by(self, task: str) -> str:
        """The disk that a task made."""
        found = re.search(r"OpaqueRef:[^<]+", str(self.call("task.get_result", task)))
        assert found
        return found[0]


def write_pattern(guest: Guest) -> str:
    """Write new random bytes to the beginning of the guest's disk; their MD5 sum."""
    new = f"dd if=/dev/urandom of=/tmp/p bs=1M count={PATTERN_MIB} 2>/dev/null"
    write = "dd if=/tmp/p of=/dev/xvda bs=1M conv=fsync 2>/dev/null"
    return guest.inside(f"{new} && {write} && md5sum </tmp/p; rm /tmp/p", 120).split()[0]


def read_pattern(guest: Guest) -> str:
    """The MD5 sum of what the guest's disk begins with."""
    fresh = "echo 3 >/proc/sys/vm/drop_caches"
    read = f"dd if=/dev/xvda bs=1M count={PATTERN_MIB} 2>/dev/null | md5sum"
    return guest.inside(f"{fresh}; {read}", 120).split()[0]
