"""iSCSI sessions of this host: made and ended by open-iscsi's iscsiadm, seen in sysfs.

Only exit codes of iscsiadm decide (iscsiadm(8)). Secrets reach it through the record of the target
in its own database, a file that root alone reads; never as an argument, which everybody could see.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .. import programs
from .driver import BackendFailure, StorageTimeout

DEADLINE_S: Final = 90.0
DISKS_S: Final = 30.0
DATABASES: Final = (Path("/etc/iscsi/nodes"), Path("/var/lib/iscsi/nodes"))
SYSFS: Final = Path("/sys")
DEV: Final = Path("/dev")
RUNTIME: Final = Path("/run/xapid/iscsi")

SESSION_EXISTS: Final = 15
NOTHING_FOUND: Final = 21
MEANINGS: Final[Mapping[int, str]] = {
    4: "the target cannot be reached",
    5: "the target refused the login",
    6: "the database of open-iscsi cannot be written",
    8: "the target did not answer in time",
    11: "the target stopped answering",
    12: "the kernel lacks iSCSI over TCP",
    18: "iscsid does not answer",
    19: "the target refused the login for good",
    20: "iscsid does not run",
    21: "the target does not know that name",
    24: "the target refused the name or the secret of the login",
}
"""Of the exit codes in iscsiadm(8), those that say something to an administrator."""

Run = Callable[..., Awaitable[programs.Finished]]


@dataclass(frozen=True)
class Target:
    """Where a target is: an IP address, a TCP port and its name."""

    address: str
    port: int
    iqn: str

    @property
    def portal(self) -> str:
        return portal(self.address, self.port)


@dataclass(frozen=True)
class Chap:
    """Who we are to a target, and who it is to us when `user_in` is given."""

    user: str
    secret: str = field(repr=False)
    user_in: str = ""
    secret_in: str = field(default="", repr=False)


@dataclass(frozen=True)
class Lun:
    """A disk of a session. size: bytes; scsi_id: as udev names it, "" when it does not."""

    number: int
    node: str
    size: int
    scsi_id: str
    in_use: bool


def portal(address: str, port: int) -> str:
    version = ipaddress.ip_address(address).version
    return f"[{address}]:{port}" if version == 6 else f"{address}:{port}"


class Iscsi:
    """The sessions of this host. A session that was there before is used, but never ended."""

    def __init__(
        self,
        run: Run = programs.run,
        databases: Sequence[Path] = DATABASES,
        sysfs: Path = SYSFS,
        dev: Path = DEV,
        runtime: Path = RUNTIME,
    ) -> None:
        self._run = run
        self._databases = databases
        self._sysfs = sysfs
        self._dev = dev
        self._runtime = runtime

    async def discover(self, address: str, port: int) -> list[str]:
        """The names of the targets at an address. Raises BackendFailure, StorageTimeout."""
        where = ("-t", "sendtargets", "-p", portal(address, port))
        finished = await self._iscsiadm("-m", "discovery", *where, "-o", "nonpersistent")
        if finished.status not in (0, NOTHING_FOUND):
            raise BackendFailure(meaning("discovery", finished.status))
        return parse_targets(finished.output)

    async def login(self, target: Target, chap: Chap | None) -> None:
        """Connect to a target unless this host is. Raises BackendFailure, StorageTimeout."""
        number = self.session(target)
        if number is not None:
            await self._iscsiadm("-m", "session", "-r", str(number), "--rescan")
            return
        try:
            if not self._claim(target):
                await self._node(target, "-o", "new")
            self._write_record(target, chap)
            await self._node(target, "--login")
        except BaseException:
            await self._forget(target)
            raise

    async def logout(self, target: Target) -> None:
        """End a session that `login` made, unless one of its disks is in use."""
        number = self.session(target)
        if not self._marker(target).exists():
            return
        if number is not None:
            if any(lun.in_use for lun in self.luns(target)):
                return
            await self._node(target, "--logout")
        await self._forget(target)

    async def wait_for(
        self, target: Target, wanted: Callable[[Lun], bool], deadline_s: float = DISKS_S
    ) -> Lun | None:
        """The first disk of a session that is wanted, as soon as there is one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    for lun in self.luns(target):
                        if wanted(lun):
                            return lun
                    await asyncio.sleep(0.2)
        return None

    def session(self, target: Target) -> int | None:
        """The number of this host's session with a target."""
        for path in sorted(self._sysfs.glob("class/iscsi_session/session*")):
            number = path.name.removeprefix("session")
            connection = self._sysfs / f"class/iscsi_connection/connection{number}:0"
            found = (
                _read(path / "targetname"),
                _read(connection / "persistent_address"),
                _read(connection / "persistent_port"),
            )
            if found == (target.iqn, target.address, str(target.port)):
                return int(number)
        return None

    def luns(self, target: Target) -> list[Lun]:
        """The disks of this host's session with a target that have a node, by number."""
        number = self.session(target)
        session = self._sysfs / f"class/iscsi_session/session{number}"
        found = []
        for block in session.glob("device/target*/*:*:*:*/block/*"):
            node = self._dev / block.name
            if not node.exists():
                continue  # udev has not come to it yet
            found.append(
                Lun(
                    number=int(block.parent.parent.name.rpartition(":")[2]),
                    node=str(node),
                    size=int(_read(block / "size") or 0) * 512,
                    scsi_id=self._scsi_id(str(node)),
                    in_use=any((block / "holders").glob("*")),
                )
            )
        return sorted(found, key=lambda lun: lun.number)

    def _scsi_id(self, node: str) -> str:
        for link in sorted(self._dev.glob("disk/by-id/scsi-*")):
            if os.path.realpath(link) == node:
                return link.name.removeprefix("scsi-")
        return ""

    def _marker(self, target: Target) -> Path:
        """A file that says that a session is ours; it goes with the sessions when the host ends."""
        name = hashlib.sha256(f"{target.portal} {target.iqn}".encode()).hexdigest()[:32]
        return self._runtime / name

    def _claim(self, target: Target) -> bool:
        """Note that the session to come is ours, and the record that was there before, if any."""
        record, marker = self._record(target), self._marker(target)
        if not marker.exists():
            marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(marker, "" if record is None else record.read_text())
        return record is not None

    async def _forget(self, target: Target) -> None:
        """Put back the record that was there before, or none, and give up our claim."""
        record, marker = self._record(target), self._marker(target)
        before = _read(marker)
        if before and record is not None:
            _replace(record, before + "\n")
        else:
            await self._iscsiadm(*_of(target), "-o", "delete")
        marker.unlink(missing_ok=True)

    async def _node(self, target: Target, *arguments: str) -> None:
        finished = await self._iscsiadm(*_of(target), *arguments)
        if finished.status not in (0, SESSION_EXISTS):
            raise BackendFailure(meaning(target.portal, finished.status))

    def _record(self, target: Target) -> Path | None:
        """Where open-iscsi keeps how to log in to a target."""
        for database in self._databases:
            for place in database.glob(f"{target.iqn}/{target.address},{target.port}*"):
                record = place / "default" if place.is_dir() else place
                if record.is_file():
                    return record
        return None

    def _write_record(self, target: Target, chap: Chap | None) -> None:
        """Say in the record how to log in."""
        record = self._record(target)
        if record is None:
            raise BackendFailure("iscsiadm made no record of the target")
        _replace(record, with_settings(record.read_text(), settings(chap)))

    async def _iscsiadm(self, *arguments: str) -> programs.Finished:
        try:
            return await self._run(("iscsiadm", *arguments), deadline_s=DEADLINE_S)
        except programs.ProgramMissing as error:
            raise BackendFailure(f"{error}; iSCSI storage needs open-iscsi") from error
        except programs.ProgramTookTooLong as error:
            raise StorageTimeout(str(error)) from error


def meaning(what: str, status: int) -> str:
    """What an exit code of iscsiadm says."""
    return f"iSCSI, {what}: {MEANINGS.get(status, f'iscsiadm ended with {status}')}"


def settings(chap: Chap | None) -> dict[str, str]:
    """What a record of a target is to say, beside iscsiadm's defaults.

    A host must not log in by itself when it boots: that is for whoever plugs the SR.
    """
    auth = "node.session.auth."
    found = {"node.startup": "manual", f"{auth}authmethod": "None" if chap is None else "CHAP"}
    if chap is not None:
        found |= {f"{auth}username": chap.user, f"{auth}password": chap.secret}
        if chap.user_in:
            found |= {f"{auth}username_in": chap.user_in, f"{auth}password_in": chap.secret_in}
    return found


def with_settings(record: str, wanted: Mapping[str, str]) -> str:
    """A record of open-iscsi's database with some settings in the place of what it said."""
    kept = [
        line
        for line in record.splitlines()
        if line.partition("=")[0].strip() not in wanted and not line.startswith("# END RECORD")
    ]
    added = [f"{key} = {value}" for key, value in wanted.items()]
    return "\n".join((*kept, *added, "# END RECORD")) + "\n"


def parse_targets(output: str) -> list[str]:
    """The names in iscsiadm's list of portals and targets, each once."""
    found = re.findall(r"^\S+,\d+ (\S+)$", output, re.MULTILINE)
    return list(dict.fromkeys(found))


def _of(target: Target) -> tuple[str, ...]:
    return ("-m", "node", "-T", target.iqn, "-p", target.portal)


def _replace(path: Path, text: str) -> None:
    """Write a private file in one step."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
