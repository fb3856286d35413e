"""What kills of the daemon and a dead NFS server do to disks of every kind of storage.

XAPID_STORAGE_KILLS is the number of kills; those of all kinds of storage take a minute each.
XAPID_STORAGE_SEED begins another sequence of calls.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from xmlrpc.client import Error

import pytest
from testhost.api import Api, ApiError, PlainApi
from testhost.file_storage import start_server, stop_server
from testhost.machine import Machine
from testhost.shelf import Shelf
from testhost.storage_kinds import chosen_kinds, in_the_kernel
from testhost.table import Table
from testhost.workbench import MIB, Workbench, wait_until

pytestmark = pytest.mark.xen

KILLS = int(os.environ.get("XAPID_STORAGE_KILLS") or 5)
SEED = int(os.environ.get("XAPID_STORAGE_SEED") or 20261124)
OUTAGE_S = 60
ANSWERS_S = 45
"""When a call on storage that does not answer must have failed."""
ORIGINAL = 8 * MIB
ENOUGH = 16
CUT_OFF = (OSError, EOFError, HTTPException, Error)


@pytest.fixture(scope="module")
def shelves(workbench: Workbench) -> Iterator[list[Shelf]]:
    """An SR of each kind, empty."""
    made = []
    for kind in chosen_kinds():
        made.append(Shelf(workbench, kind, dict(kind.prepare(workbench.machine))))
        made[-1].create()
        made[-1].empty = made[-1].used()
    yield made
    for each in made:
        each.destroy()
    for each in reversed(made):
        each.kind.drop(workbench.machine)


@pytest.fixture
def client(workbench: Workbench) -> Iterator[Api]:
    """A session for a second thread."""
    made = PlainApi(workbench.machine.https_port, workbench.daemon.root_password())
    yield made
    made.close()


@dataclass
class Work:
    """Random calls on disks that all hold the same, and what was answered."""

    srs: list[str]
    dice: random.Random
    known: set[str] = field(default_factory=set)
    going: str = ""
    done: Counter[str] = field(default_factory=Counter)

    def until_cut_off(self, api: Api) -> None:
        with suppress(*CUT_OFF):
            while True:
                self._step(api)

    def _step(self, api: Api) -> None:
        vdi = self.dice.choice(sorted(self.known))
        many = len(self.known) >= ENOUGH
        weights = [0, 0, 0, 1, 6] if many else [3, 3, 3, 1, 2 if len(self.known) > 6 else 0]
        steps = ["clone", "snapshot", "copy", "resize", "destroy"]
        step = self.dice.choices(steps, weights)[0]
        try:
            self._call(api, step, vdi)
        except ApiError as error:
            if error.code not in ("VDI_IN_USE", "VDI_READONLY", "OTHER_OPERATION_IN_PROGRESS"):
                raise
        else:
            self.done[step] += 1

    def _call(self, api: Api, step: str, vdi: str) -> None:
        if step == "destroy":
            self.going = vdi
            api.call("VDI.destroy", vdi)
            self.known.discard(vdi)
            self.going = ""
        elif step == "resize":
            size = int(api.call("VDI.get_virtual_size", vdi)) + 4 * MIB
            api.call("VDI.resize", vdi, str(size))
        elif step == "copy":
            self.known.add(str(api.call("VDI.copy", vdi, self.dice.choice(self.srs))))
        else:
            self.known.add(str(api.call(f"VDI.{step}", vdi, {})))

    def check(self, api: Api) -> None:
        """Nothing acknowledged is lost; of what was under way there may be one disk more."""
        records: dict[str, Any] = api.call("VDI.get_all_records")
        there = {ref for ref, record in records.items() if record["SR"] in self.srs}
        assert not {ref for ref in there if records[ref]["missing"]}
        assert self.known - there <= {self.going}
        assert len(there - self.known) <= 1
        self.known, self.going = there, ""


def useless(shelf: Shelf) -> set[str]:
    """What the SR keeps beside its disks; bases of images may be needed and are not told."""
    locations = shelf.locations()
    uuids = {location.partition(".")[0] for location in locations}
    wanted = locations | {f"{uuid}.json" for uuid in uuids} | {"xapid-sr.json", "pool"}
    found = {thing.rpartition("/")[2] for thing in shelf.things()}
    return {name for name in found - wanted if not name.endswith(".base")}


def test_no_kill_loses_a_disk_or_leaves_anything(
    workbench: Workbench, shelves: list[Shelf], table: Table
) -> None:
    machine, dice = workbench.machine, random.Random(SEED)
    original = workbench.vdi("original", ORIGINAL)
    path = workbench.vdi_path(original)
    machine.run(f"dd if=/dev/urandom of={path} bs=1M count=8 conv=notrunc,fsync status=none")
    md5 = workbench.sum(original)
    before = lasting(machine)
    work = Work([shelf.sr for shelf in shelves], dice)
    work.known = {str(shelf.call("VDI.copy", original, shelf.sr)) for shelf in shelves}

    for kill in range(KILLS):
        api = PlainApi(machine.https_port, workbench.daemon.root_password())
        worker = threading.Thread(target=work.until_cut_off, args=(api,))
        worker.start()
        worker.join(dice.uniform(0.2, 6.0))
        workbench.daemon.kill9("xapid")
        workbench.daemon.wait_dead()
        worker.join()
        with table.step("all", "start after kill -9, SRs of all kinds"):
            workbench.daemon.start()
        workbench.log_in_again()
        work.check(workbench.api)
        for shelf in shelves:
            assert useless(shelf) == set(), f"{shelf.kind.name} after kill {kill + 1}"
        assert lasting(machine) == before
    print(f"{KILLS} kills in {sum(work.done.values())} calls: {dict(work.done)}")

    for vdi in sorted(work.known):
        copy = workbench.api.call("VDI.copy", vdi, workbench.sr)
        first = machine.run(f"head -c {ORIGINAL} {workbench.vdi_path(copy)} | md5sum").split()[0]
        assert first == md5
        workbench.api.call("VDI.destroy", copy)
        workbench.api.call("VDI.destroy", vdi)
    for shelf in shelves:
        wait_until("only the SR is left", lambda shelf=shelf: not leftovers(shelf), 120)
        assert shelf.used() <= shelf.empty + MIB
    workbench.api.call("VDI.destroy", original)


def lasting(machine: Machine) -> set[str]:
    """What dom0's kernel has of storage, but for the layers that LVM makes of a pool as needed."""
    found = in_the_kernel(machine)
    return {each for each in found if not re.search(r"-pool(-tpool|_tmeta|_tdata)?$", each)}


def leftovers(shelf: Shelf) -> set[str]:
    """What an SR without disks keeps that has no business there."""
    found = {thing.rpartition("/")[2] for thing in shelf.things()}
    return {name for name in found if re.search(r"vdi-|\.raw|\.qcow2|\.base|staged|retired", name)}


def test_other_storage_answers_while_an_nfs_server_does_not(
    shelves: list[Shelf], client: Api, xenhost: Machine, table: Table
) -> None:
    dead = next(shelf for shelf in shelves if shelf.kind.type == "nfs")
    others = [shelf for shelf in shelves if shelf.kind.type != "nfs"]
    normal = max(seconds_of_a_round(shelf) for shelf in others)
    outcome: list[float] = []

    def ask_the_dead() -> None:
        begun = time.monotonic()
        with suppress(ApiError):
            client.call("SR.scan", dead.sr)
        outcome.append(time.monotonic() - begun)

    stop_server(xenhost)
    asking = threading.Thread(target=ask_the_dead)
    try:
        asking.start()
        worst, end = 0.0, time.monotonic() + OUTAGE_S
        while time.monotonic() < end:
            worst = max(worst, *(seconds_of_a_round(shelf) for shelf in others))
    finally:
        start_server(xenhost)
    asking.join(ANSWERS_S)

    table.put("normal", "create, scan, destroy", normal)
    table.put("no NFS", "create, scan, destroy", worst)
    assert worst < 2 * normal + 3
    assert outcome
    assert outcome[0] < ANSWERS_S
    wait_until("the server is back", lambda: answers(dead), 120)


def seconds_of_a_round(shelf: Shelf) -> float:
    begun = time.monotonic()
    vdi = shelf.workbench.vdi("round", 8 * MIB, shelf.sr)
    shelf.call("SR.scan", shelf.sr)
    shelf.call("VDI.destroy", vdi)
    return time.monotonic() - begun


def answers(shelf: Shelf) -> bool:
    try:
        shelf.call("SR.scan", shelf.sr)
    except ApiError:
        return False
    return True
