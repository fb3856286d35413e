"""Kills the daemon at random moments of work on disks, and counts what is lost or left over.

A short run is part of the tests, `make torture` a long one. Each disk holds numbers at a few
places, written by QEMU's own tool, that tell which disk it is a clone, snapshot or copy of; they
are read again after each kill.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .conftest import MIB, Client, Daemon, Failure, disk, eventually
from .kills import kill_under, run, victim

PLACES = 4
SIZE = 64 * MIB
STEP = SIZE // PLACES
ENOUGH = 10
SRS = ("qcow2", "raw")

Content = dict[int, int]
"""The number at each place of a disk; 0 where nothing was written."""


def qemu_io(image: Path, *commands: str) -> subprocess.CompletedProcess[str]:
    words = [word for command in commands for word in ("-c", command)]
    form = "qcow2" if image.suffix == ".qcow2" else "raw"
    return subprocess.run(
        ["qemu-io", "-f", form, *words, image], capture_output=True, text=True, check=False
    )


@dataclass
class Disks:
    """What a client knows of the disks of a daemon."""

    daemon: Daemon
    random: random.Random
    srs: dict[str, str] = field(default_factory=dict)
    known: dict[str, Content] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    expected: list[Content] = field(default_factory=list)
    going: set[str] = field(default_factory=set)
    acknowledged: Counter[str] = field(default_factory=Counter)
    numbers: int = 0

    def prepare(self, client: Client) -> None:
        host = client("host.get_all")[0]
        for name in SRS:
            config = {"location": str(self.daemon.state / name), "format": name}
            self.srs[name] = client("SR.create", host, config, "0", name, "", "file", "", False, {})

    def path(self, client: Client, vdi: str) -> Path:
        sr = client("SR.get_name_label", client("VDI.get_SR", vdi))
        return self.daemon.state / sr / str(client("VDI.get_location", vdi))

    def work(self, client: Client) -> None:
        """One call, and what a guest writes after it."""
        steps = [self._create, self._clone, self._copy, self._cancel, self._resize, self._destroy]
        weights = [2, 4, 2, 1, 1, 3] if len(self.known) < ENOUGH else [0, 0, 0, 1, 1, 6]
        if not self.known:
            weights = [1, 0, 0, 0, 0, 0]
        step = self.random.choices(steps, weights)[0]
        step(client)
        self.expected.clear()
        self.going.clear()
        self.acknowledged[step.__name__.strip("_")] += 1

    def _pick(self) -> str:
        return self.random.choice(sorted(self.known))

    def _write(self, client: Client, vdi: str) -> None:
        """Write a number that no disk has yet to a disk that nothing but its owner uses."""
        self.numbers = self.numbers % 250 + 1
        place, image = self.random.randrange(PLACES), self.path(client, vdi)
        content = {**self.known[vdi], place: self.numbers}
        size = self.random.choice((1, 2, 8)) * MIB
        done = qemu_io(image, f"write -P {self.numbers} {place * STEP} {size}", "flush")
        if done.returncode == 0:
            self.known[vdi] = content
        elif "lock" not in done.stderr:  # its base is being merged just now
            raise AssertionError(done.stderr)

    def _create(self, client: Client) -> None:
        self.expected = [dict.fromkeys(range(PLACES), 0)]
        sr = self.srs[self.random.choice(SRS)]
        vdi = disk(client, sr, SIZE)
        self.known[vdi] = self.expected[0]
        self._write(client, vdi)

    def _clone(self, client: Client) -> None:
        vdi = self._pick()
        self.expected = [self.known[vdi]]
        method = self.random.choice(("VDI.clone", "VDI.snapshot"))
        twin = client(method, vdi, {})
        self.known[twin] = dict(self.known[vdi])
        if method == "VDI.clone":
            self._write(client, twin)
        self._write(client, vdi)

    def _copy(self, client: Client) -> None:
        vdi = self._pick()
        self.expected = [self.known[vdi]]
        twin = client("VDI.copy", vdi, self.srs[self.random.choice(SRS)])
        self.known[twin] = dict(self.known[vdi])

    def _cancel(self, client: Client) -> None:
        vdi = self._pick()
        self.expected = [self.known[vdi]]
        task = client("Async.VDI.copy", vdi, self.srs[self.random.choice(SRS)])
        with contextlib.suppress(Failure):  # it has ended already
            client("task.cancel", task)
        record = client.wait_for_task(task)
        if record["status"] == "success":
            twin = re.sub(r"</?value>", "", record["result"])
            self.known[twin] = dict(self.known[vdi])

    def _resize(self, client: Client) -> None:
        vdi = self._pick()
        if not client("VDI.get_read_only", vdi):
            size = int(client("VDI.get_virtual_size", vdi)) + MIB
            client("VDI.resize", vdi, str(size))

    def _destroy(self, client: Client) -> None:
        vdi = self._pick()
        self.going = {vdi}
        client("VDI.destroy", vdi)
        del self.known[vdi]

    # After a kill

    def check_all(self, client: Client) -> list[str]:
        """`check`, and whether files are left over once the daemon has cleaned up."""
        faults = self.check(client)
        try:
            eventually(lambda: not self.useless(client))
        except AssertionError:
            faults.append(f"left over: {self.useless(client)}")
        return faults

    def check(self, client: Client) -> list[str]:
        """Compare with what there is; takes over what the call under way has left."""
        records: dict[str, dict[str, Any]] = client("VDI.get_all_records")
        faults = [f"{ref} is lost" for ref in self.known if ref not in {*records, *self.going}]
        for ref in self.going - set(records):
            del self.known[ref]
        for ref, record in records.items():
            if record["missing"]:
                faults.append(f"{ref} is missing")
                continue
            content = self._read(self.path(client, ref))
            if ref in self.known:
                if content != self.known[ref] and not self._torn(ref, content):
                    faults.append(f"{ref} holds {content}, not {self.known[ref]}")
                self.known[ref] = content
            elif content in self.expected:
                self.known[ref] = content
                self.expected.clear()
            else:
                faults.append(f"{ref} was invented, with {content}")
        self.expected.clear()
        self.going.clear()
        return faults

    def _torn(self, ref: str, content: Content) -> bool:
        """Whether only the number being written when the kill came is new."""
        changed = [p for p in content if content[p] != self.known[ref][p]]
        return len(changed) == 1 and content[changed[0]] == self.numbers

    def _read(self, image: Path) -> Content:
        reads = [f"read -v {place * STEP} 512" for place in range(PLACES)]

        def read() -> subprocess.CompletedProcess[str] | None:
            done = qemu_io(image, *reads)
            return None if "lock" in done.stderr else done  # a merge has it for a moment

        done = eventually(read)
        shown = re.findall(r"^([0-9a-f]{8}):  ([0-9a-f]{2}) ", done.stdout, re.MULTILINE)
        first = {int(at, 16): int(value, 16) for at, value in shown}
        return {place: first.get(place * STEP, -1) for place in range(PLACES)}

    def useless(self, client: Client) -> set[str]:
        """The files that no disk needs."""
        locations = {record["location"] for record in client("VDI.get_all_records").values()}
        uuids = {location.partition(".")[0] for location in locations}
        wanted = locations | {f"{uuid}.json" for uuid in uuids} | {"xapid-sr.json"}
        leaning: Counter[str] = Counter()
        files = [path for name in SRS for path in (self.daemon.state / name).iterdir()]
        for path in files:
            if path.suffix in (".qcow2", ".base"):
                leaning[_backing(path)] += 1
        wanted |= {name for name, count in leaning.items() if name and count > 1}
        return {path.name for path in files} - wanted


def _backing(image: Path) -> str:
    try:
        first = image.read_bytes()[:4096]
    except FileNotFoundError:
        return ""
    at, size = int.from_bytes(first[8:16], "big"), int.from_bytes(first[16:20], "big")
    return first[at : at + size].decode() if at else ""


def torture(kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kill the daemon `kills` times; returns the acknowledged calls by kind, and the faults."""
    dice = random.Random(seed)
    with victim("storage-torture") as daemon:
        disks = Disks(daemon, random.Random(dice.random()))
        disks.prepare(daemon.client())
        faults = kill_under(daemon, [disks.work], disks.check_all, kills, dice, (0.1, 2.0))
    return disks.acknowledged, faults


if __name__ == "__main__":
    if shutil.which("qemu-io") is None:
        sys.exit("qemu-io is not installed (Debian: qemu-utils)")
    sys.exit(run(torture, __doc__, 100, "disks lost, changed or invented, or files left over"))
