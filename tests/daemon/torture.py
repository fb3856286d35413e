"""Kills the daemon at random moments under mixed writes and counts what it lost.

Run by `make torture`; a short run is part of the tests. Each writer owns its VMs, so it knows what
every answered call must have left, and which single call was under way when the kill came.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .conftest import Client, Failure, vm_values
from .kills import kill_under, run, victim

WRITERS = 4
ENOUGH = 25


@dataclass
class Writer:
    """What one client wrote: VMs by uuid, each with the value that was acknowledged last.

    pending: the call under way, as (uuid, what it would leave); its outcome is not known.
    """

    number: int
    random: random.Random
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    pending: tuple[str, dict[str, Any] | None] | None = None
    acknowledged: Counter[str] = field(default_factory=Counter)

    def write(self, client: Client) -> None:
        """One call, or what belongs together."""
        actions = [self._create, self._rename, self._annotate, self._clone, self._destroy]
        if not self.known:
            weights = [1, 0, 0, 0, 0]
        elif len(self.known) < ENOUGH:
            weights = [3, 4, 4, 1, 1]
        else:  # reading thousands of records after each kill would only test the reader
            weights = [0, 4, 4, 0, 4]
        self.random.choices(actions, weights)[0](client)
        self.pending = None

    def _create(self, client: Client) -> None:
        name = f"w{self.number}-{self.random.random()}"
        self.pending = (name, {"name": name, "notes": {}})
        ref = client("VM.create", vm_values(name_label=name))
        self._acknowledge("create", client, ref, {"name": name, "notes": {}})

    def _acknowledge(self, what: str, client: Client, ref: str, state: dict[str, Any]) -> None:
        self.known[state["name"]] = {**state, "ref": ref}
        self.acknowledged[what] += 1

    def _pick(self) -> tuple[str, dict[str, Any]]:
        key = self.random.choice(sorted(self.known))
        return key, self.known[key]

    def _rename(self, client: Client) -> None:
        key, state = self._pick()
        label = f"d{self.random.random()}"
        self.pending = (key, {**state, "description": label})
        client("VM.set_name_description", state["ref"], label)
        state["description"] = label
        self.acknowledged["set"] += 1

    def _annotate(self, client: Client) -> None:
        key, state = self._pick()
        note, value = f"k{self.random.randrange(5)}", str(self.random.random())
        without = {k: v for k, v in state["notes"].items() if k != note}
        self.pending = (key, {**state, "notes": without})
        client("VM.remove_from_other_config", state["ref"], note)
        state["notes"] = without
        notes = {**without, note: value}
        self.pending = (key, {**state, "notes": notes})
        client("VM.add_to_other_config", state["ref"], note, value)
        state["notes"] = notes
        self.acknowledged["map"] += 2

    def _clone(self, client: Client) -> None:
        _, state = self._pick()
        name = f"c{self.number}-{self.random.random()}"
        twin = {"name": name, "notes": state["notes"]}
        if "description" in state:
            twin["description"] = state["description"]
        self.pending = (name, twin)
        ref = client("VM.clone", state["ref"], name)
        self._acknowledge("clone", client, ref, twin)

    def _destroy(self, client: Client) -> None:
        if len(self.known) < 5:
            return
        key, state = self._pick()
        self.pending = (key, None)
        try:
            client("VM.destroy", state["ref"])
        except Failure as failure:
            if failure.code != "OTHER_OPERATION_IN_PROGRESS":
                raise
            return
        del self.known[key]
        self.gone.add(key)
        self.acknowledged["destroy"] += 1

    def check(self, found: dict[str, dict[str, Any]]) -> list[str]:
        """Compare with what the daemon has after its restart; takes over what the cut left."""
        faults = []
        pending, self.pending = self.pending, None
        for key, state in list(self.known.items()):
            outcomes: list[dict[str, Any] | None] = [state]
            if pending is not None and pending[0] == key:
                outcomes.append(pending[1])
            record = found.get(key)
            match = [o for o in outcomes if _same(record, o)]
            if not match:
                faults.append(
                    f"{key}: {outcomes} was acknowledged or under way, found {_short(record)}"
                )
            elif match[0] is None:
                del self.known[key]
            else:
                self.known[key] = {**match[0], "ref": state["ref"]}
        if pending is not None and pending[0] not in self.known and pending[0] in found:
            if not _same(found[pending[0]], pending[1]):
                faults.append(f"{pending[0]}: half-applied: {_short(found[pending[0]])}")
            elif pending[1] is not None:
                self.known[pending[0]] = {**pending[1], "ref": found[pending[0]]["ref"]}
        faults += [f"{key}: destroyed, and there again" for key in self.gone & set(found)]
        return faults


def _short(record: dict[str, Any] | None) -> str:
    shown = ("name_description", "other_config")
    return str(record and {name: record[name] for name in shown})


def _same(record: dict[str, Any] | None, state: dict[str, Any] | None) -> bool:
    if record is None or state is None:
        return record is None and state is None
    return (
        record["name_description"] == state.get("description", "")
        and record["other_config"] == state["notes"]
    )


def whole(client: Client) -> list[str]:
    """What no kill may break: every VM has its metrics, and no metrics are without a VM."""
    vms = client("VM.get_all_records")
    metrics = set(client("VM_metrics.get_all"))
    used = {vm["metrics"] for vm in vms.values()}
    return [f"metrics {metrics ^ used} and VMs do not match"] if metrics != used else []


def torture(kills: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Kill the daemon `kills` times; returns the acknowledged writes by kind, and the faults."""
    dice = random.Random(seed)
    writers = [Writer(n, random.Random(dice.random())) for n in range(WRITERS)]

    def check(client: Client) -> list[str]:
        records = client("VM.get_all_records")
        found = {r["name_label"]: {**r, "ref": ref} for ref, r in records.items()}
        return [fault for writer in writers for fault in writer.check(found)] + whole(client)

    with victim("torture") as daemon:
        works = [writer.write for writer in writers]
        faults = kill_under(daemon, works, check, kills, dice, (0.05, 0.6))
    return sum((w.acknowledged for w in writers), Counter()), faults


if __name__ == "__main__":
    sys.exit(run(torture, __doc__, 200, "acknowledged writes lost or calls half applied"))
