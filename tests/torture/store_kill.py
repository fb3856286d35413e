"""Kill a process that writes through the store, again and again, and look at what is left.

python -m tests.torture.store_kill [--kills N] [--seed S]

The child acknowledges a write on a pipe after its transaction returned. After each SIGKILL the
database is opened again: every acknowledged write must be there, no transaction by half, and
event ids must go on rising.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from xapid.datamodel.declare import NULL, RW, Class, Int, RefTo, ROins, ROrun, SetOf, String
from xapid.db.store import Store

WRITERS = 8
PARTS = 5
ROOT = Path(__file__).parents[2]


class Ledger(Class):
    uuid = ROins(String, "Identity.")
    name_label = RW(String, "Whose it is.")
    number = RW(Int, "How many rounds were made.")
    pages = ROrun(SetOf(RefTo("Page")), "One a round, the newest few.", inverse="ledger")


class Page(Class):
    uuid = ROins(String, "Identity.")
    ledger = ROins(RefTo("Ledger"), "Where it belongs.", inverse="pages")
    round = RW(Int, "The round it was made in.")
    part = RW(Int, "Its place in the round.")
    text = RW(String, "Ballast.")


CLASSES = {cls.wire: cls for cls in (Ledger, Page)}


# The child


async def write_for_ever(store: Store, name: str, acknowledge: int, chance: random.Random) -> None:
    """Turn page after page: each round replaces all pages of the ledger in one transaction."""
    found = store.by_name_label(Ledger, name)
    ledger = found[0] if found else None
    while True:
        async with store.transaction() as tx:
            if ledger is None:
                ledger = tx.create(Ledger, {Ledger.name_label: name})
            number = tx.get(ledger).number + 1
            for page in tx.get(ledger).pages:
                if chance.random() < 0.5:
                    tx.set(page, Page.ledger, NULL)
                tx.destroy(page)
            tx.set(ledger, Ledger.number, number)
            for part in range(PARTS):
                text = "x" * chance.choice((0, 10, 1000, 20_000))
                values = {Page.ledger: ledger, Page.round: number, Page.part: part}
                tx.create(Page, {**values, Page.text: text})
        os.write(acknowledge, f"{name} {number} {store.feed.current_id}\n".encode())


async def child(path: Path, acknowledge: int, seed: int) -> None:
    store = await Store.open(path, CLASSES)
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                chance = random.Random(f"{seed}.{number}")
                group.create_task(write_for_ever(store, f"w{number}", acknowledge, chance))
    finally:
        await store.close()


# The parent


@dataclass
class Tally:
    """What was promised so far."""

    kills: int = 0
    acknowledged: int = 0
    rounds: dict[str, int] = field(default_factory=dict)
    event_id: int = 0
    wrongs: list[str] = field(default_factory=list)

    def take(self, lines: bytes) -> None:
        for line in lines.splitlines():
            name, number, event_id = line.split()
            self.rounds[name.decode()] = int(number)
            self.event_id = max(self.event_id, int(event_id))
            self.acknowledged += 1

    def expect(self, holds: bool, wrong: str) -> None:
        if not holds:
            self.wrongs.append(f"after kill {self.kills}: {wrong}")


def run_and_kill(path: Path, tally: Tally, chance: random.Random) -> None:
    """Let a child write for a random while, kill it, and take its acknowledgements."""
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "tests.torture.store_kill", "--child", path, str(writer)]
    process = subprocess.Popen(
        [*command, str(chance.random())], pass_fds=[writer], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    os.close(writer)
    if chance.random() < 0.1:
        time.sleep(chance.uniform(0, 0.5))  # dies on the way up: that is no event to wait for
    else:
        select.select([reader], [], [], 30)
        lines = read_for(reader, chance.uniform(0, 0.15))
        tally.take(lines)
    process.send_signal(signal.SIGKILL)
    status = process.wait()
    with os.fdopen(reader, "rb") as rest:
        tally.take(rest.read())
    tally.kills += 1
    tally.expect(status == -signal.SIGKILL, f"the child ended by itself with {status}")


def read_for(reader: int, duration_s: float) -> bytes:
    """All lines that come within the time, up to the last whole one."""
    end = time.monotonic() + duration_s
    lines = b""
    while (left := end - time.monotonic()) > 0 or (lines and not lines.endswith(b"\n")):
        ready, _, _ = select.select([reader], [], [], max(left, 0.001))
        if ready:
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            lines += chunk
    return lines


async def check(path: Path, tally: Tally) -> None:
    """Open what the killed child left and compare it with what it had promised."""
    store = await Store.open(path, CLASSES)
    try:
        tally.expect(store.feed.current_id > tally.event_id, "event ids fell back")
        tally.event_id = store.feed.current_id
        ledgers = {record.name_label: record for record in store.all(Ledger)}
        for name, number in tally.rounds.items():
            found = ledgers[name].number if name in ledgers else 0
            tally.expect(found >= number, f"{name} stands at {found}, {number} was acknowledged")
        for wrong in torn(store, list(ledgers.values())):
            tally.expect(False, wrong)
    finally:
        await store.close()
    with closing(sqlite3.connect(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    tally.expect(verdict == "ok", f"the file is damaged: {verdict}")


def torn(store: Store, ledgers: list[Ledger]) -> Iterator[str]:
    """What only a transaction by half could have left."""
    if store.count(Page) != PARTS * len(ledgers):
        yield f"{store.count(Page)} pages in {len(ledgers)} ledgers"
    for ledger in ledgers:
        pages = [store.get(page) for page in ledger.pages]
        if sorted(page.part for page in pages) != list(range(PARTS)):
            yield f"{ledger.name_label} has the parts {[page.part for page in pages]}"
        if {page.round for page in pages} != {ledger.number}:
            yield f"{ledger.name_label} is at {ledger.number} with pages of others"


def torture(kills: int, seed: int, path: Path) -> Tally:
    tally, chance = Tally(), random.Random(seed)
    while tally.kills < kills and not tally.wrongs:
        run_and_kill(path, tally, chance)
        asyncio.run(check(path, tally))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the store while it writes.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--child", nargs=3, metavar=("PATH", "PIPE", "SEED"))
    arguments = parser.parse_args()
    if arguments.child:
        path, pipe, seed = arguments.child
        asyncio.run(child(Path(path), int(pipe), int(float(seed) * 1_000_000)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        tally = torture(arguments.kills, arguments.seed, Path(directory) / "state.db")
    report = f"seed {arguments.seed}: {tally.kills} kills, {tally.acknowledged} acknowledged writes"
    sys.stdout.write(f"{report}, {len(tally.wrongs)} wrong\n")
    sys.stdout.writelines(f"  {wrong}\n" for wrong in tally.wrongs)
    return 1 if tally.wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
