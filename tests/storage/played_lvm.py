"""LVM's programs, played: volume groups in memory, answers in the form that the real ones give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from xapid.programs import Finished
from xapid.storage.device_mapper import Active

EXTENT = 4 << 20
BLOCK = 256 << 10


@dataclass(frozen=True)
class Disk:
    """A logical volume. open: whether a backend has it open."""

    size: int
    tags: frozenset[str] = frozenset()
    pool: str = ""
    active: bool = False
    open: bool = False
    suspended: bool = False
    mapped: int = 0


@dataclass
class Group:
    size: int
    tags: frozenset[str] = frozenset()
    disks: dict[str, Disk] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.size - sum(disk.size for disk in self.disks.values() if not disk.pool)


class Killed(Exception):  # noqa: N818
    """The daemon died before this program began."""


class PlayedLvm:
    """Takes the place of `programs.run`, and of device-mapper beneath LVM.

    fail: how the next call of a program is to fail.

    kill_at: the number of the change before which the daemon dies.
    """

    def __init__(self, size: int = 1 << 30) -> None:
        self.size = size
        self.groups: dict[str, Group] = {}
        self.calls: list[tuple[str, ...]] = []
        self.fail: dict[str, str] = {}
        self.kill_at = -1
        self.used_elsewhere = 0
        self.metadata = (10, 1000)

    async def __call__(self, words: Sequence[str], **_: Any) -> Finished:
        command, *rest = map(str, words)
        self.calls.append((command, *rest))
        if command in self.fail:
            return Finished(5, "", self.fail.pop(command))
        options, names = _parsed(rest)
        if "reportformat" not in options:
            if self.kill_at == 0:
                raise Killed
            self.kill_at -= 1
        answer = getattr(self, f"_{command}")(options, names)
        return answer if isinstance(answer, Finished) else Finished(0, answer or "")

    def changes(self) -> list[tuple[str, ...]]:
        """The calls that could change something, without what all of them have."""
        return [call for call in self.calls if "--yes" in call]

    @property
    def group(self) -> Group:
        (group,) = self.groups.values()
        return group

    def disk(self, name: str) -> Disk:
        return self.group.disks[name]

    def change(self, disk: str, **values: Any) -> None:
        self.group.disks[disk] = replace(self.disk(disk), **values)

    def used(self) -> int:
        return self.used_elsewhere + sum(disk.mapped for disk in self.group.disks.values())

    # What is asked

    def _report(self, kind: str, fields: str, rows: list[dict[str, str]]) -> str:
        chosen = [{name: row[name] for name in fields.split(",")} for row in rows]
        return json.dumps({"report": [{kind: chosen}]}, indent=2)

    def _vgs(self, options: dict[str, list[str]], names: list[str]) -> str:
        rows = [
            {
                "vg_name": name,
                "vg_tags": ",".join(sorted(group.tags)),
                "vg_size": str(group.size),
                "vg_free": str(group.free),
                "lv_count": str(len(group.disks)),
            }
            for name, group in self.groups.items()
        ]
        return self._report("vg", options["options"][0], rows)

    def _pvs(self, options: dict[str, list[str]], names: list[str]) -> str:
        row = {"dev_size": self.size, "pe_start": 5 * EXTENT, "pv_size": self.group.size}
        row["vg_free"] = self.group.free
        return self._report("pv", options["options"][0], [{k: str(v) for k, v in row.items()}])

    def _lvs(self, options: dict[str, list[str]], names: list[str]) -> str | Finished:
        if names[0].endswith("/pool"):
            return self._report("lv", options["options"][0], [{"chunk_size": str(BLOCK)}])
        if names[0] not in self.groups:
            return Finished(5, "", f'  Volume group "{names[0]}" not found\n')
        rows = [
            {
                "lv_name": name,
                "lv_size": str(disk.size),
                "lv_tags": ",".join(sorted(disk.tags)),
                "pool_lv": disk.pool,
            }
            for name, disk in self.groups[names[0]].disks.items()
        ]
        return self._report("lv", options["options"][0], rows)

    # What device-mapper is asked

    def active(self, prefix: str) -> dict[str, Active]:
        found = {"other-disk": Active(open=True, suspended=False)}
        found |= {
            f"{self._prefix}{name.replace('-', '--')}": Active(disk.open, disk.suspended)
            for name, disk in self.group.disks.items()
            if disk.active
        }
        return {name: each for name, each in found.items() if name.startswith(prefix)}

    def status(self, name: str) -> str | None:
        if name == f"{self._prefix}pool-tpool":
            used, (meta, metas) = self.used() // BLOCK, self.metadata
            blocks = f"{used}/{self.disk('pool').size // BLOCK}"
            return f"5 {meta}/{metas} {blocks} - rw discard_passdown"
        disk = self.group.disks.get(name.removeprefix(self._prefix).replace("--", "-"))
        return f"{disk.mapped // 512} 7" if disk is not None and disk.active else None

    def table(self, name: str) -> str | None:
        if name == f"{self._prefix}pool-tpool":
            return f"253:0 253:1 {BLOCK // 512} 0 1 error_if_no_space "
        return None

    @property
    def _prefix(self) -> str:
        return next(iter(self.groups)).replace("-", "--") + "-"

    # What is changed

    def _vgcreate(self, options: dict[str, list[str]], names: list[str]) -> None:
        size = self.size // EXTENT * EXTENT - 5 * EXTENT
        self.groups[names[0]] = Group(size, frozenset(options.get("addtag", ())))

    def _vgremove(self, options: dict[str, list[str]], names: list[str]) -> None:
        del self.groups[names[0]]

    def _pvresize(self, options: dict[str, list[str]], names: list[str]) -> None:
        self.group.size = self.size // EXTENT * EXTENT - 5 * EXTENT

    def _pvremove(self, options: dict[str, list[str]], names: list[str]) -> None:
        """Nothing of the groups is in what it removes."""

    def _vgchange(self, options: dict[str, list[str]], names: list[str]) -> None:
        group = self.groups[names[0]]
        group.tags = (group.tags | set(options.get("addtag", ()))) - set(options.get("deltag", ()))
        if options.get("activate") == ["n"]:
            group.disks = {name: replace(d, active=False) for name, d in group.disks.items()}

    def _lvcreate(self, options: dict[str, list[str]], names: list[str]) -> Finished | None:
        (name,) = options["name"]
        group, _, origin = names[0].partition("/")
        disks, tags = self.groups[group].disks, frozenset(options.get("addtag", ()))
        if name in disks:
            return Finished(5, "", f'  Logical Volume "{name}" already exists in "{group}"\n')
        if origin:
            disks[name] = replace(disks[origin], tags=tags, active=False, open=False)
        elif "virtualsize" in options:
            disks[name] = Disk(_bytes(options["virtualsize"]), tags, "pool")
        else:
            disks[name] = Disk(_bytes(options["size"]), tags)
        return None

    def _lvchange(self, options: dict[str, list[str]], names: list[str]) -> Finished | None:
        for group, _, name in (each.partition("/") for each in names):
            disk = self.groups[group].disks[name]
            if options.get("activate") == ["n"] and disk.open:
                return Finished(5, "", f"  Logical volume {group}/{name} in use.\n")
            tags = (disk.tags | set(options.get("addtag", ()))) - set(options.get("deltag", ()))
            active = options.get("activate", ["y" if disk.active else "n"]) == ["y"]
            awake = disk.suspended and "refresh" not in options
            self.groups[group].disks[name] = replace(
                disk, tags=tags, active=active, suspended=awake
            )
        return None

    def _lvextend(self, options: dict[str, list[str]], names: list[str]) -> None:
        group, _, name = names[0].partition("/")
        disks = self.groups[group].disks
        if "size" in options:
            (word,) = options["size"]
            before = disks[name].size if word.startswith("+") else 0
            disks[name] = replace(disks[name], size=before + _bytes([word.removeprefix("+")]))

    def _lvremove(self, options: dict[str, list[str]], names: list[str]) -> None:
        for group, _, name in (each.partition("/") for each in names):
            del self.groups[group].disks[name]


FLAGS = frozenset(
    {"--yes", "--quiet", "--force", "--snapshot", "--refresh", "--nosuffix", "--noudevsync"}
)


def _parsed(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    options: dict[str, list[str]] = {}
    names: list[str] = []
    ahead = iter(words)
    for word in ahead:
        if word in FLAGS:
            options[word[2:]] = []
        elif word.startswith("--"):
            options.setdefault(word[2:], []).append(next(ahead))
        else:
            names.append(word)
    return options, names


def _bytes(words: list[str]) -> int:
    (word,) = words
    return int(word.removesuffix("b"))
