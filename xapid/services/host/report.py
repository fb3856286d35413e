"""What a report on the state of the host contains: what is listed here, and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import orjson

from ...config import Config
from ...datamodel.declare import Class, Field
from ...datamodel.host import Host
from ...datamodel.host_crashdump import HostCrashdump
from ...datamodel.host_patch import HostPatch
from ...datamodel.network import Network
from ...datamodel.pbd import PBD
from ...datamodel.pif import PIF
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...datamodel.task import Task
from ...datamodel.vbd import VBD
from ...datamodel.vdi import VDI
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...db.store import Store
from ...xen.client import XenClient
from .machine import DIAGNOSES, Machine

MAX_OBJECTS: Final = 20_000
"""Objects of each class that a report shows."""

FIELDS: Final[tuple[Field[Any], ...]] = (
    *(Pool.uuid, Pool.name_label, Pool.master, Pool.default_SR, Pool.suspend_image_SR),
    *(Host.uuid, Host.name_label, Host.enabled, Host.software_version, Host.cpu_configuration),
    *(Host.capabilities, Host.sched_policy, Host.memory_overhead, Host.current_operations),
    *(HostPatch.uuid, HostPatch.name_label, HostPatch.version, HostPatch.applied),
    *(HostPatch.timestamp_applied, HostCrashdump.uuid, HostCrashdump.timestamp, HostCrashdump.size),
    *(VM.uuid, VM.name_label, VM.power_state, VM.is_a_template, VM.is_control_domain, VM.domid),
    *(VM.is_foreign_domain, VM.domain_type, VM.HVM_boot_policy, VM.memory_static_max),
    *(VM.memory_dynamic_max, VM.memory_dynamic_min, VM.VCPUs_max, VM.VCPUs_at_startup),
    *(VM.actions_after_shutdown, VM.actions_after_reboot, VM.actions_after_crash),
    *(VM.current_operations, VM.suspend_VDI, VM.VBDs, VM.VIFs),
    *(SR.uuid, SR.name_label, SR.type, SR.content_type, SR.physical_size, SR.shared),
    *(SR.physical_utilisation, SR.virtual_allocation, SR.current_operations),
    *(PBD.uuid, PBD.SR, PBD.currently_attached),
    *(VDI.uuid, VDI.name_label, VDI.SR, VDI.type, VDI.virtual_size, VDI.physical_utilisation),
    *(VDI.read_only, VDI.sharable, VDI.managed, VDI.missing, VDI.current_operations),
    *(VBD.uuid, VBD.VM, VBD.VDI, VBD.userdevice, VBD.mode, VBD.type, VBD.currently_attached),
    *(VIF.uuid, VIF.VM, VIF.network, VIF.device, VIF.MTU, VIF.currently_attached),
    *(Network.uuid, Network.name_label, Network.bridge),
    *(PIF.uuid, PIF.device, PIF.network, PIF.VLAN, PIF.MTU),
    *(Task.uuid, Task.name_label, Task.status, Task.progress, Task.created, Task.finished),
)
"""The fields of the database that a report shows. Maps of clients' own keys, device_config, kernel
command lines, results of tasks and everything about users and sessions are not among them."""

SHOWN: Final[Mapping[type[Class], list[str]]] = {
    owner: [field.name for field in FIELDS if field.owner is owner]
    for owner in dict.fromkeys(field.owner for field in FIELDS)
}

SETTINGS: Final = {
    "": ("state_dir",),
    "listen": ("https", "socket", "body_limit", "tcp_connections", "unix_connections"),
    "xen": ("driver", "socket", "contexts", "builds"),
    "guests": ("kernel_directories", "clean_shutdown_s"),
    "host": ("crash_directory",),
    "sessions": ("idle_s", "per_user", "total"),
    "log": ("level",),
}
"""The settings that a report shows, by section."""


@dataclass(frozen=True)
class Part:
    """One file of a report. contains: for people who decide whether to send it."""

    key: str
    contains: str
    kind: str
    largest: int


PARTS: Final = (
    Part("xen", "versions of Xen, its processors, memory and nodes", "application/json", 1 << 20),
    Part("xen-messages", "the messages of Xen", "text/plain", 1 << 20),
    Part("domains", "the domains that Xen runs", "application/json", 4 << 20),
    Part("database", "objects of the API, without clients' own keys", "application/json", 64 << 20),
    Part("settings", "the settings of xapid that are no secrets", "application/json", 1 << 16),
    *(Part(key, " ".join(command), "text/plain", 4 << 20) for key, command in DIAGNOSES.items()),
)


def capabilities() -> str:
    """The parts as XML, in the form that clients know."""
    parts = "".join(
        f"<capability key={quoteattr(part.key)} description={quoteattr(part.contains)}"
        f' content-type={quoteattr(part.kind)} min-size="0" max-size="{part.largest}"'
        ' min-time="0" max-time="60" pii="maybe" default-checked="yes"/>'
        for part in PARTS
    )
    return f'<?xml version="1.0"?><system_status_capabilities>{parts}</system_status_capabilities>'


@dataclass
class Reporter:
    """Gathers the parts; one that cannot be had says why in its place."""

    store: Store
    xen: XenClient
    machine: Machine
    config: Config

    async def gather(self, progress: Callable[[float], None]) -> list[tuple[str, bytes]]:
        """Name and content of each file, in the order of PARTS."""
        files = []
        for number, part in enumerate(PARTS):
            files.append(await self._part(part))
            progress((number + 1) / len(PARTS))
        return files

    async def _part(self, part: Part) -> tuple[str, bytes]:
        name = part.key + (".json" if part.kind == "application/json" else ".txt")
        try:
            text = await self._sources().get(part.key, lambda: self._diagnosis(part.key))()
        except Exception as error:
            return f"{part.key}.missing.txt", f"{error}\n".encode()
        return name, text[: part.largest]

    def _sources(self) -> Mapping[str, Callable[[], Awaitable[bytes]]]:
        return {
            "xen": self._xen,
            "xen-messages": self._xen_messages,
            "domains": self._domains,
            "database": self._database,
            "settings": self._settings,
        }

    async def _diagnosis(self, key: str) -> bytes:
        return (await self.machine.diagnose(key)).encode()

    async def _xen(self) -> bytes:
        return _json(
            {
                "hello": await self.xen.hello(),
                "physinfo": await self.xen.physinfo(),
                "cpu_topology": await self.xen.cpu_topology(),
                "numa_info": await self.xen.numa_info(),
                "scheduler": await self.xen.scheduler(),
            }
        )

    async def _xen_messages(self) -> bytes:
        return (await self.xen.console_read()).encode()

    async def _domains(self) -> bytes:
        return _json(await self.xen.domain_list())

    async def _database(self) -> bytes:
        records = {cls: self.store.all(cls)[:MAX_OBJECTS] for cls in SHOWN}
        return await asyncio.to_thread(lambda: _json(shown_objects(records)))

    async def _settings(self) -> bytes:
        return _json(shown_settings(self.config))


def shown_objects(records: Mapping[type[Class], Sequence[Class]]) -> dict[str, Any]:
    """Objects as a report shows them: class, then reference, then FIELDS."""
    return {
        cls.wire: {str(one.ref): {name: one.row[name] for name in SHOWN[cls]} for one in found}
        for cls, found in records.items()
    }


def shown_settings(config: Config) -> dict[str, Any]:
    """The settings as a report shows them."""
    sections = {name: getattr(config, name) if name else config for name in SETTINGS}
    return {
        name or "xapid": {key: getattr(sections[name], key) for key in keys}
        for name, keys in SETTINGS.items()
    }


def _json(value: Any) -> bytes:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, default=_plain, option=options)


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum | str):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return str(value)
