"""LVM's own programs: how they are called on the devices of one SR, and what their reports say.

Every call names the devices it may look at, so that a volume group that a guest made on its disk
is never seen, and passes what of the host's lvm.conf could lead it elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from .. import programs
from .blocking import Threads
from .device_mapper import Active, ControlDevice, Mapper
from .driver import BackendFailure, StorageTimeout

CONFIG: Final = " ".join(
    (
        # Logical volumes are guests' disks: never look for volume groups on them.
        "devices{scan_lvs=0}",
        "global{use_lvmlockd=0 use_lvmpolld=0}",
        # Archives of each change would fill /etc; the last state is kept.
        "backup{backup=1 archive=0}",
        "activation{monitoring=0 thin_pool_autoextend_threshold=100}",
        'log{prefix="" indent=0}',
    )
)
REPORT_S: Final = 60.0
CHANGE_S: Final = 180.0
"""A program that is ended in the middle may leave a disk suspended: only a dead one is."""
OUTPUT_KEPT: Final = 32 << 20
NOISE: Final = re.compile(r"WARNING:|File descriptor |(Use|See|Run) ")

P = ParamSpec("P")
T = TypeVar("T")

Run = Callable[..., Awaitable[programs.Finished]]
Row = dict[str, str]


@dataclass(frozen=True)
class LogicalVolume:
    """A logical volume: what LVM's metadata says, and how the kernel has it. size: bytes."""

    name: str
    size: int
    tags: frozenset[str]
    pool: str
    active: bool = False
    open: bool = False
    suspended: bool = False


@dataclass(frozen=True)
class PoolUse:
    """How full a thin pool is, in bytes; metadata: 0 to 1. failed: it takes no more writes."""

    total: int
    used: int
    metadata: float
    failed: bool = False


VOLUME_FIELDS: Final = ("lv_name", "lv_size", "lv_tags", "pool_lv")


class Lvm:
    """The programs, restricted to some block devices. A call that has begun is seen to its end.

    What only the kernel knows is asked of device-mapper itself.
    """

    def __init__(
        self, devices: Sequence[str], run: Run = programs.run, mapper: Mapper | None = None
    ) -> None:
        self.devices = tuple(devices)
        self._run = run
        self._mapper = mapper or ControlDevice()
        self._threads = Threads("device-mapper", count=2)

    def close(self) -> None:
        """End the threads that `pool_use`, `mapped` and `active` started."""
        self._threads.close()

    async def change(self, command: str, *arguments: str) -> None:
        """Run a program that changes something. Raises BackendFailure, StorageTimeout."""
        await self._call(self.command(command, "--yes", "--quiet", *arguments), CHANGE_S)

    async def report(self, command: str, fields: Sequence[str], *arguments: str) -> list[Row]:
        """What lvs, vgs or pvs says, one row an object; sizes in bytes."""
        form = ("--reportformat", "json", "--units", "b", "--nosuffix")
        words = self.command(command, *form, "--options", ",".join(fields), *arguments)
        output = await self._call(words, REPORT_S)
        return parse_report(output, fields)

    async def pool_use(self, group: str, pool: str) -> PoolUse:
        """Exactly how full an active thin pool is. Raises BackendFailure, StorageTimeout."""
        return await self._ask(self._pool_use, mapped_name(group, pool))

    def _pool_use(self, name: str) -> PoolUse:
        # The layer below the disks, or the pool itself before the first disk.
        for layer in (f"{name}-tpool", name):
            table, status = self._mapper.table(layer), self._mapper.status(layer)
            if table is not None and status is not None:
                return parse_pool(status, parse_block_size(table))
        raise BackendFailure(f"the thin pool {name} is not active")

    async def mapped(self, group: str, volumes: Iterable[str]) -> dict[str, int]:
        """The bytes that active thin volumes of a group take, by name; others are left out."""
        return await self._ask(self._mapped, group, tuple(volumes))

    def _mapped(self, group: str, volumes: Sequence[str]) -> dict[str, int]:
        status = ((name, self._mapper.status(mapped_name(group, name))) for name in volumes)
        return {name: parse_mapped(text) for name, text in status if text is not None}

    async def active(self, group: str) -> dict[str, Active]:
        """The active volumes of a group, LVM's own layers among them, by name."""
        prefix = mapped_name(group, "")
        found = await self._ask(self._mapper.active, prefix)
        return {name.removeprefix(prefix).replace("--", "-"): each for name, each in found.items()}

    async def _ask(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await self._threads.run(work, *arguments, **named)
        except OSError as error:
            raise BackendFailure(f"device-mapper: {error.strerror}") from error

    def command(self, command: str, *arguments: str) -> tuple[str, ...]:
        """The words of a call."""
        devices = tuple(word for device in self.devices for word in ("--devices", device))
        return (command, "--config", CONFIG, *devices, *arguments)

    async def _call(self, words: Sequence[str], deadline_s: float) -> str:
        work = asyncio.ensure_future(self._finished(words, deadline_s))
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait((work,))
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            work.exception()
            raise cancelled
        return work.result()

    async def _finished(self, words: Sequence[str], deadline_s: float) -> str:
        try:
            finished = await self._run(
                words,
                deadline_s=deadline_s,
                output_kept=OUTPUT_KEPT,
                errors_apart=True,
                environment={"LVM_SUPPRESS_FD_WARNINGS": "1"},
            )
        except programs.ProgramMissing as error:
            raise BackendFailure(f"{error}; LVM storage needs it") from error
        except programs.ProgramTookTooLong as error:
            raise StorageTimeout(str(error)) from error
        if not finished.succeeded:
            raise BackendFailure(f"{words[0]}: {complaint(finished)}")
        return finished.output


def complaint(finished: programs.Finished) -> str:
    """What a program that failed said last: the cause, and what followed from it."""
    lines = (line.strip() for line in finished.errors.splitlines())
    said = [line for line in lines if line and not NOISE.match(line)]
    return "; ".join(said[-3:])[:400] if said else f"it ended with status {finished.status}"


def parse_report(output: str, fields: Sequence[str]) -> list[Row]:
    """The rows of a JSON report.

    Raises BackendFailure when it is no report, or one without the fields asked for.
    """
    try:
        report: Any = json.loads(output)
        (kinds,) = report["report"]
        (rows,) = kinds.values()
        return [{field: str(row[field]) for field in fields} for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendFailure("LVM's report cannot be understood") from error


def volume(row: Row) -> LogicalVolume:
    """A logical volume from a row with VOLUME_FIELDS."""
    return LogicalVolume(
        name=row["lv_name"],
        size=int(row["lv_size"]),
        tags=frozenset(filter(None, row["lv_tags"].split(","))),
        pool=row["pool_lv"],
    )


def mapped_name(group: str, name: str) -> str:
    """What device-mapper calls a logical volume."""
    return f"{group.replace('-', '--')}-{name.replace('-', '--')}"


# Documentation/admin-guide/device-mapper/thin-provisioning.rst of the kernel has these words.
POOL: Final = re.compile(
    r"(?P<broken>Fail|Error)|"
    r"\d+ (?P<meta>\d+)/(?P<metas>\d+) (?P<used>\d+)/(?P<total>\d+) \S+ (?P<mode>\S+).*"
)
THIN: Final = re.compile(r"(?P<sectors>\d+) (?:\d+|-)")
TABLE: Final = re.compile(r"\S+ \S+ (?P<sectors>\d+) ")


def parse_pool(status: str, block: int) -> PoolUse:
    """The status of a thin pool. block: bytes of its blocks. Raises BackendFailure."""
    match = POOL.match(status)
    if match is None:
        raise BackendFailure("the state of the thin pool cannot be understood")
    if match["broken"]:
        raise BackendFailure("the thin pool has failed; see lvmthin(7) on repairing it")
    metadata = int(match["meta"]) / int(match["metas"])
    used, total = int(match["used"]) * block, int(match["total"]) * block
    return PoolUse(total, used, metadata, failed=match["mode"] != "rw")


def parse_block_size(table: str) -> int:
    """The bytes of a thin pool's blocks, from its table. Raises BackendFailure."""
    match = TABLE.match(table)
    if match is None:
        raise BackendFailure("the table of the thin pool cannot be understood")
    return int(match["sectors"]) * 512


def parse_mapped(status: str) -> int:
    """The bytes that a thin volume takes, from its status. Raises BackendFailure."""
    match = THIN.match(status)
    if match is None:
        raise BackendFailure("the state of a disk in the thin pool cannot be understood")
    return int(match["sectors"]) * 512
