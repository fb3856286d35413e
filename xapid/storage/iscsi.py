"""The `lvmoiscsi` kind of storage: a volume group on one LUN of an iSCSI target.

The secret of a login is a file that the administrator puts into one directory, for root alone;
device_config, which clients read, only names it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import stat
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from .block_devices import signature
from .blocking import Threads
from .driver import (
    BackendFailure,
    ConfigInvalid,
    ConfigMissing,
    DriverInfo,
    Found,
)
from .iscsiadm import Chap, Iscsi, Lun, Target
from .lvm import CAPABILITIES, attach_group, make_group
from .lvm_commands import Lvm
from .lvm_repository import LvmRepository
from .volume_group import disk_uuid, find_groups

PORT: Final = 3260
SECRETS: Final = Path("/etc/xapid/chap")
FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "port": (r"[1-9][0-9]{0,4}", "a TCP port is needed"),
    "targetIQN": (
        r"(?=.{1,223}$)(iqn\.\d{4}-\d{2}\.[a-z0-9][a-z0-9.-]*(:[a-z0-9._:-]+)?"
        r"|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32})",
        "the name of an iSCSI target is needed",
    ),
    "SCSIid": (r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", "an identifier that a probe told is needed"),
    "LUNid": (r"[0-9]{1,5}", "a number is needed"),
    "chapuser": (r"[!-~]{1,255}", "plain characters without blanks are needed"),
    "incoming_chapuser": (r"[!-~]{1,255}", "plain characters without blanks are needed"),
    "chapsecret": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the name of a file is needed"),
    "incoming_chapsecret": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the name of a file is needed"),
}
OPEN_SECRETS: Final = frozenset({"chappassword", "incoming_chappassword"})
SECRET: Final = re.compile(r"[!-~]{1,255}")

INFO = DriverInfo(
    type="lvmoiscsi",
    name="Logical volumes over iSCSI",
    description="Disks in a thin pool of LVM on one LUN of an iSCSI target.",
    configuration={
        "target": "IP address of the target.",
        "port": f"TCP port of the target; {PORT} where nothing is said.",
        "targetIQN": "Name of the target; a probe without it lists the names.",
        "SCSIid": "Identifier of the LUN; a probe without it lists the LUNs.",
        "LUNid": "Number of the LUN, where SCSIid is not given.",
        "chapuser": "User name for CHAP.",
        "chapsecret": f"Name of the file in {SECRETS} with the secret for CHAP.",
        "incoming_chapuser": "User name that the target has to prove, for mutual CHAP.",
        "incoming_chapsecret": f"Name of the file in {SECRETS} with the secret of the target.",
    },
    required=frozenset({"target", "targetIQN"}),
    capabilities=CAPABILITIES,
)


class LvmOverIscsiDriver:
    """Implements `Driver`. secrets: the directory with the secrets for CHAP."""

    info = INFO

    def __init__(self, iscsi: Iscsi | None = None, secrets: Path = SECRETS) -> None:
        self._iscsi = iscsi or Iscsi()
        self._secrets = secrets
        self._threads = Threads("iSCSI devices")
        self._connecting = asyncio.Lock()
        self._uses: Counter[Target] = Counter()

    def check(self, device_config: Mapping[str, str]) -> None:
        """Which keys are needed depends on what for: a probe finds what a client does not know."""
        if not device_config.get("target"):
            raise ConfigMissing("target")
        try:
            ipaddress.ip_address(device_config["target"])
        except ValueError as error:
            raise ConfigInvalid("target", device_config["target"], "no IP address") from error
        for key, (form, reason) in FORMS.items():
            value = device_config.get(key, "")
            if value and not re.fullmatch(form, value):
                raise ConfigInvalid(key, value, reason)
        if int(device_config.get("port") or PORT) > 65535:
            raise ConfigInvalid("port", device_config["port"], "a TCP port is needed")
        for key in OPEN_SECRETS & device_config.keys():
            name = key.replace("password", "secret")
            reason = f"every client reads this map; put it into a file in {self._secrets} and "
            raise ConfigInvalid(key, "", reason + f"name that with {name}")

    def check_location(self, location: str) -> None:
        disk_uuid(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        self.check(device_config)
        address, port = device_config["target"], int(device_config.get("port") or PORT)
        base = {"target": address, "port": str(port)}
        if not device_config.get("targetIQN"):
            names = await self._iscsi.discover(address, port)
            return [Found("", base | {"targetIQN": name}) for name in names]
        found: list[Found] = []
        async with self._connected(device_config) as target:
            base["targetIQN"] = target.iqn
            await self._iscsi.wait_for(target, _any)
            for lun in self._iscsi.luns(target):
                if _wanted(device_config, lun):
                    found += await self._on_lun(lun, base)
        return found

    async def _on_lun(self, lun: Lun, base: dict[str, str]) -> Sequence[Found]:
        config = base | {"LUNid": str(lun.number)}
        if lun.scsi_id:
            config["SCSIid"] = lun.scsi_id
        groups = await find_groups(Lvm([lun.node]), config)
        if groups or await signature(lun.node):
            return groups
        return [Found("", config, "", lun.size)]

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        async with self._connected(device_config) as target:
            lun = await self._lun(target, device_config)
            await make_group(Lvm([lun.node]), uuid, name, self._threads)

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> LvmRepository:
        target = await self._connect(device_config)

        async def freed(idle: bool) -> None:
            await self._disconnect(target, end=idle)

        try:
            lun = await self._lun(target, device_config)
            return await attach_group(Lvm([lun.node]), uuid, freed)
        except BaseException:
            await self._disconnect(target, end=True)
            raise

    async def close(self) -> None:
        self._threads.close()

    async def _lun(self, target: Target, device_config: Mapping[str, str]) -> Lun:
        if not (device_config.get("SCSIid") or device_config.get("LUNid")):
            raise ConfigMissing("SCSIid")
        found = await self._iscsi.wait_for(target, lambda lun: _wanted(device_config, lun))
        if found is None:
            raise BackendFailure(f"{target.iqn} has no such LUN")
        return found

    @asynccontextmanager
    async def _connected(self, device_config: Mapping[str, str]) -> AsyncIterator[Target]:
        target = await self._connect(device_config)
        try:
            yield target
        finally:
            await self._disconnect(target, end=True)

    async def _connect(self, device_config: Mapping[str, str]) -> Target:
        self.check(device_config)
        if not device_config.get("targetIQN"):
            raise ConfigMissing("targetIQN")
        port = int(device_config.get("port") or PORT)
        address = str(ipaddress.ip_address(device_config["target"]))
        target = Target(address, port, device_config["targetIQN"])
        chap = await self._threads.run(self._chap, device_config)
        async with self._connecting:
            await self._iscsi.login(target, chap)
            self._uses[target] += 1
        return target

    async def _disconnect(self, target: Target, *, end: bool) -> None:
        """Stop using a session; it ends when nobody else uses it and `end` is asked for."""
        async with self._connecting:
            self._uses[target] -= 1
            if self._uses[target] > 0:
                return
            del self._uses[target]
            if end:
                await self._iscsi.logout(target)

    def _chap(self, device_config: Mapping[str, str]) -> Chap | None:
        if not device_config.get("chapuser"):
            return None
        user_in = device_config.get("incoming_chapuser", "")
        return Chap(
            device_config["chapuser"],
            self._secret("chapsecret", device_config),
            user_in,
            self._secret("incoming_chapsecret", device_config) if user_in else "",
        )

    def _secret(self, key: str, device_config: Mapping[str, str]) -> str:
        """The secret in a file that root alone reads. Raises ConfigMissing, ConfigInvalid."""
        name = device_config.get(key, "")
        if not name:
            raise ConfigMissing(key)
        try:
            fd = os.open(self._secrets / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigInvalid(key, name, os.strerror(error.errno or 0)) from error
        with os.fdopen(fd) as file:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
                raise ConfigInvalid(key, name, "only root may be able to read the file")
            secret = file.read(1024).strip()
        if not SECRET.fullmatch(secret):
            raise ConfigInvalid(key, name, "the file does not hold one secret of plain characters")
        return secret


def _any(_lun: Lun) -> bool:
    return True


def _wanted(device_config: Mapping[str, str], lun: Lun) -> bool:
    """Whether the device_config names this LUN, or none in particular."""
    if device_config.get("SCSIid"):
        return lun.scsi_id == device_config["SCSIid"]
    number = device_config.get("LUNid", "")
    return not number or lun.number == int(number)
