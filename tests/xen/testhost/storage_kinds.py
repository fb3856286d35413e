"""The kinds of storage that the suite tries: what each needs in dom0, and what it keeps there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from testhost.block_storage import (
    drop_loop_device,
    drop_lun,
    iscsi_config,
    loop_device,
    serve_lun,
)
from testhost.extent import QUICK
from testhost.file_storage import (
    EXPORT,
    drop_file_system,
    file_system,
    serve_export,
    stop_export,
)
from testhost.machine import Machine

SR_MIB = 1024
STORE = "/srv/store"

Prepare = Callable[[Machine], Mapping[str, str]]
Drop = Callable[[Machine], None]


@dataclass(frozen=True)
class StorageKind:
    """One way to keep disks. prepare: makes what an SR needs, and tells its device_config.

    things: a shell command that lists what an SR keeps in dom0, by the SR's uuid.
    twin: two, the first does by hand the least that a clone of the disk at a location takes, the
    second takes it back.
    """

    name: str
    type: str
    prepare: Prepare = field(repr=False)
    drop: Drop = field(repr=False)
    things: str
    twin: tuple[str, str] = ("true", "true")

    @property
    def on_volumes(self) -> bool:
        return self.type.startswith("lvm")

    def listed(self, machine: Machine, uuid: str) -> set[str]:
        """What the SR keeps in dom0 now: logical volumes, or files."""
        return set(machine.run(self.things.format(uuid=uuid)).split())

    def seconds_by_hand(self, machine: Machine, uuid: str, location: str) -> float:
        """How long the tools alone take for a clone, on this machine as busy as it is now."""
        make, drop = (each.format(uuid=uuid, location=location) for each in self.twin)
        shell = f"s=$(date +%s%N); {{ {make}; }} >&2; echo $(( $(date +%s%N) - s ))"
        taken = int(machine.run(shell)) / 1e9
        machine.run(drop)
        return taken

    def beside(self, uuid: str, location: str) -> tuple[str, str, str]:
        """How dd gets at the device of an SR: shell words before it, its target, and after it.

        location: a new disk of the SR, which dd may write to where disks are devices.
        """
        if self.on_volumes:
            volume = f"xapid-{uuid}/{location}"
            return f"lvchange -ay {volume}", f"/dev/{volume}", f"lvchange -an {volume}"
        place = f"{STORE}/dd.img"
        return "true", place, f"rm {place}"


QUICK_KINDS = ("lvm", "qcow2")
VOLUMES = "lvs --noheadings -o lv_name xapid-{uuid}"
VOLUME_TWIN = (
    "lvcreate -q -y -an -kn --noudevsync -s -n by-hand xapid-{uuid}/{location}",
    "lvremove -q -y xapid-{uuid}/by-hand",
)
IMAGE_TWIN = (
    "cd /tmp; qemu-img create -q -f qcow2 by-hand.1 100G; "
    "qemu-img create -q -f qcow2 -F qcow2 -b by-hand.1 by-hand.2",
    "rm /tmp/by-hand.?",
)


def _lvm(machine: Machine) -> dict[str, str]:
    return {"device": loop_device(machine, "lvm", SR_MIB)}


def _iscsi(machine: Machine) -> dict[str, str]:
    serve_lun(machine, SR_MIB)
    return iscsi_config()


def _ext(machine: Machine) -> dict[str, str]:
    return {"device": loop_device(machine, "ext", SR_MIB)}


def _files(form: str) -> Prepare:
    def prepare(machine: Machine) -> dict[str, str]:
        file_system(machine, STORE, SR_MIB)
        machine.run(f"mkdir -p {STORE}/{form}")
        return {"location": f"{STORE}/{form}", "format": form}

    return prepare


def _nfs(machine: Machine) -> dict[str, str]:
    file_system(machine, STORE, SR_MIB)
    serve_export(machine)
    return {"server": "127.0.0.1", "serverpath": EXPORT}


def _drop_nfs(machine: Machine) -> None:
    stop_export(machine)
    drop_file_system(machine, STORE)


KINDS = (
    StorageKind("lvm", "lvm", _lvm, lambda m: drop_loop_device(m, "lvm"), VOLUMES, VOLUME_TWIN),
    StorageKind("iscsi", "lvmoiscsi", _iscsi, drop_lun, VOLUMES, VOLUME_TWIN),
    StorageKind(
        "ext", "ext", _ext, lambda m: drop_loop_device(m, "ext"),
        "find /run/xapid/sr/{uuid} -type f", IMAGE_TWIN,
    ),
    StorageKind(
        "raw", "file", _files("raw"), lambda m: drop_file_system(m, STORE),
        f"find {STORE}/raw -type f",
    ),
    StorageKind(
        "qcow2", "file", _files("qcow2"), lambda m: drop_file_system(m, STORE),
        f"find {STORE}/qcow2 -type f", IMAGE_TWIN,
    ),
    StorageKind("nfs", "nfs", _nfs, _drop_nfs, f"find {EXPORT} -type f", IMAGE_TWIN),
)  # fmt: skip


def chosen_kinds() -> list[StorageKind]:
    """The kinds to be tried: those that XAPID_STORAGE_KINDS names, all, or a few for QUICK=1."""
    names = os.environ.get("XAPID_STORAGE_KINDS", "").split() or (QUICK_KINDS if QUICK else ())
    return [kind for kind in KINDS if kind.name in names or not names]


def in_the_kernel(machine: Machine) -> set[str]:
    """What dom0's kernel has of storage: loop devices, device-mapper's devices, mounts."""
    look = "losetup -n -O NAME,BACK-FILE; dmsetup ls | cut -f1; findmnt -rn -o TARGET"
    return set(machine.run(look).splitlines()) - {"No devices found"}
