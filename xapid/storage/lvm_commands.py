"""LVM's own programs: how they are called on the devices of one SR, and what their reports say.

Every call names the devices it may look at, so that a volume group that a guest made on its disk
is never seen, and passes what of the host's lvm.conf could lead it elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .. import programs
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

Run = Callable[..., Awaitable[programs.Finished]]
Row = dict[str, str]


@dataclass(frozen=True)
class LogicalVolume:
    """A logical volume as LVM reports it. size: bytes."""

    name: str
    size: int
    tags: frozenset[str]
    pool: str
    active: bool
    open: bool
    suspended: bool


@dataclass(frozen=True)
class PoolUse:
    """How full a thin pool is, in bytes; metadata: 0 to 1. failed: it takes no more writes."""

    total: int
    used: int
    metadata: float
    failed: bool = False


VOLUME_FIELDS: Final = (
    "lv_name", "lv_size", "lv_tags", "pool_lv", "lv_active", "lv_device_open", "lv_suspended",
)  # fmt: skip


class Lvm:
    """The programs, restricted to some block devices. A call that has begun is seen to its end."""

    def __init__(self, devices: Sequence[str], run: Run = programs.run) -> None:
        self.devices = tuple(devices)
        self._run = run

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
        """Exactly how full an active thin pool is. Raises BackendFailure."""
        table = await self._call(("dmsetup", "table", "--target", "thin-pool"), REPORT_S)
        block = parse_block_size(pool_line(table, group, pool))
        return parse_pool(pool_line(await self._status("thin-pool"), group, pool), block)

    async def mapped(self, group: str) -> dict[str, int]:
        """The bytes that each active thin volume of a group takes, by its name."""
        return parse_mapped(await self._status("thin"), group)

    def command(self, command: str, *arguments: str) -> tuple[str, ...]:
        """The words of a call."""
        devices = tuple(word for device in self.devices for word in ("--devices", device))
        return (command, "--config", CONFIG, *devices, *arguments)

    async def _status(self, target: str) -> str:
        return await self._call(("dmsetup", "status", "--noflush", "--target", target), REPORT_S)

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
        active=row["lv_active"] == "active",
        open=row["lv_device_open"] == "open",
        suspended=row["lv_suspended"] == "suspended",
    )


def mapped_name(group: str, name: str) -> str:
    """What device-mapper calls a logical volume."""
    return f"{group.replace('-', '--')}-{name.replace('-', '--')}"


POOL: Final = re.compile(
    r"(?:\S+: )?0 \d+ thin-pool (?:(?P<broken>Fail|Error)|"
    r"\d+ (?P<meta>\d+)/(?P<metas>\d+) (?P<used>\d+)/(?P<total>\d+) \S+ (?P<mode>\S+).*)"
)
THIN: Final = re.compile(r"(?P<name>\S+): 0 \d+ thin (?P<sectors>\d+) ")
TABLE: Final = re.compile(r"(?:\S+: )?0 \d+ thin-pool \S+ \S+ (?P<sectors>\d+) ")


def pool_line(output: str, group: str, pool: str) -> str:
    """What dmsetup says of one pool: its layer below the disks, or itself before the first disk.

    Raises BackendFailure when it is not active.
    """
    name = mapped_name(group, pool)
    for line in output.splitlines():
        if line.startswith((f"{name}-tpool: ", f"{name}: ")):
            return line
    raise BackendFailure(f"the thin pool of {group} is not active")


def parse_pool(status: str, block: int) -> PoolUse:
    """A thin pool's line of `dmsetup status`. block: bytes of its blocks."""
    match = next(filter(None, map(POOL.match, status.splitlines())), None)
    if match is None:
        raise BackendFailure("the state of the thin pool cannot be understood")
    if match["broken"]:
        raise BackendFailure("the thin pool has failed; see lvmthin(7) on repairing it")
    metadata = int(match["meta"]) / int(match["metas"])
    used, total = int(match["used"]) * block, int(match["total"]) * block
    return PoolUse(total, used, metadata, failed=match["mode"] != "rw")


def parse_block_size(table: str) -> int:
    """The bytes of a thin pool's blocks, from its line of `dmsetup table`."""
    match = next(filter(None, map(TABLE.match, table.splitlines())), None)
    if match is None:
        raise BackendFailure("the table of the thin pool cannot be understood")
    return int(match["sectors"]) * 512


def parse_mapped(status: str, group: str) -> dict[str, int]:
    """The bytes that thin volumes of a group take, from all lines of `dmsetup status`."""
    prefix = mapped_name(group, "")
    return {
        match["name"].removeprefix(prefix).replace("--", "-"): int(match["sectors"]) * 512
        for match in filter(None, map(THIN.match, status.splitlines()))
        if match["name"].startswith(prefix)
    }
