"""The kinds of storage that the suite tries: what each needs in dom0, and what it keeps there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from testhost.block_storage import (
    drop_loop_device,
    drop_lun,
    iscsi_config,
    loop_device,
    serve_lun,
)
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
    """

    name: str
    type: str
    prepare: Prepare = field(repr=False)
    drop: Drop = field(repr=False)
    things: str

    @property
    def on_volumes(self) -> bool:
        return self.type.startswith("lvm")

    def listed(self, machine: Machine, uuid: str) -> set[str]:
        """What the SR keeps in dom0 now: logical volumes, or files."""
        return set(machine.run(self.things.format(uuid=uuid)).split())

    def beside(self, uuid: str, location: str) -> tuple[str, str, str]:
        """How dd gets at the device of an SR: shell words before it, its target, and after it.

        location: a new disk of the SR, which dd may write to where disks are devices.
        """
        if self.on_volumes:
            volume = f"xapid-{uuid}/{location}"
            return f"lvchange -ay {volume}", f"/dev/{volume}", f"lvchange -an {volume}"
        place = f"{STORE}/dd.img"
        return "true", place, f"rm {place}"


VOLUMES = "lvs --noheadings -o lv_name xapid-{uuid}"


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
    StorageKind("lvm", "lvm", _lvm, lambda m: drop_loop_device(m, "lvm"), VOLUMES),
    StorageKind("iscsi", "lvmoiscsi", _iscsi, drop_lun, VOLUMES),
    StorageKind(
        "ext", "ext", _ext, lambda m: drop_loop_device(m, "ext"),
        "find /run/xapid/sr/{uuid} -type f",
    ),
    StorageKind(
        "raw", "file", _files("raw"), lambda m: drop_file_system(m, STORE),
        f"find {STORE}/raw -type f",
    ),
    StorageKind(
        "qcow2", "file", _files("qcow2"), lambda m: drop_file_system(m, STORE),
        f"find {STORE}/qcow2 -type f",
    ),
    StorageKind("nfs", "nfs", _nfs, _drop_nfs, f"find {EXPORT} -type f"),
)  # fmt: skip
