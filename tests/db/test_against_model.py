"""The store against a plain model of it, through random changes, failures and restarts."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from xapid.datamodel.declare import NULL
from xapid.datamodel.errors import HandleInvalid, OperationNotAllowed
from xapid.db.failures import StorageFailure
from xapid.db.store import Store
from xapid.db.transaction import Transaction
from xapid.rpc.answers import member_of

from .conftest import failing_writes
from .model import CLASSES, SR, VDI, VM, Host, Task

T = TypeVar("T")
LINKS = {SR: (), VDI: ("SR", "parent"), VM: ("resident_on",), Host: (), Task: ("host",)}
DERIVED = [(SR, "VDIs", VDI, "SR"), (Host, "resident_VMs", VM, "resident_on")]
VOLATILE = {"resident_on": NULL, "domid": -1}

names = st.sampled_from(["", "a", "b", "é"])


class StoreMachine(RuleBasedStateMachine):
    objects = Bundle("objects")
    gone = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.cleanup = ExitStack()
        self.runner = self.cleanup.enter_context(asyncio.Runner())
        directory = self.cleanup.enter_context(tempfile.TemporaryDirectory())
        self.path = Path(directory) / "state.db"
        self.broken = ExitStack()
        self.cleanup.push(self.broken)
        self.model: dict[str, tuple[type, dict[str, Any]]] = {}
        self.last_event = 0

    def teardown(self) -> None:
        self.broken.close()
        self.run(self.store.close())
        self.cleanup.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def attempt(self, durable: bool, body: Callable[[Transaction], T]) -> T | None:
        """Run a transaction; None if the disk failed it, as it must when it is broken."""
        try:
            result = self.run(self.store.transact(body))
        except StorageFailure:
            assert durable and self.is_broken
            return None
        assert not (durable and self.is_broken)
        return result

    @property
    def is_broken(self) -> bool:
        with closing(sqlite3.connect(self.path)) as other:
            query = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"
            return bool(other.execute(query).fetchone()[0])

    @initialize(watched=st.booleans())
    def start(self, watched: bool) -> None:
        self.watched = watched
        self.store = self.run(Store.open(self.path, CLASSES))

    @rule(target=objects, cls=st.sampled_from(list(LINKS)), name=names)
    def create(self, cls: type, name: str) -> Any:
        ref = self.attempt(cls is not Task, lambda tx: tx.create(cls, {"name_label": name}))
        if ref is None:
            return multiple()
        self.model[ref] = (cls, {"name_label": name} | dict.fromkeys(LINKS[cls], NULL))
        return ref

    @rule(ref=objects, name=names)
    def rename(self, ref: Any, name: str) -> None:
        cls, row = self.known(ref)
        if row is None:
            return
        durable = cls is not Task and row["name_label"] != name
        done = self.attempt(durable, lambda tx: (tx.update(ref, {"name_label": name}), True))
        if done:
            row["name_label"] = name

    @rule(ref=objects, other=st.none() | objects, number=st.integers(0, 1))
    def link(self, ref: Any, other: Any, number: int) -> None:
        cls, row = self.known(ref)
        if row is None or number >= len(LINKS[cls]):
            return
        name = LINKS[cls][number]
        value = other or NULL
        wanted = {"SR": SR, "parent": VDI, "resident_on": Host, "host": Host}[name]
        try:
            durable = name in ("SR", "parent") and row[name] != value
            fits = value == NULL or self.known(value)[0] is wanted
            done = self.attempt(durable and fits, lambda tx: (tx.update(ref, {name: value}), True))
        except HandleInvalid:
            assert not fits
            return
        assert fits or row[name] == value
        if done:
            row[name] = value

    @rule(target=gone, ref=consumes(objects))
    def destroy(self, ref: Any) -> Any:
        cls, row = self.known(ref)
        if row is None:
            return multiple()
        used = any(r != ref and ref in self.links_of(r) for r in self.model)
        try:
            done = self.attempt(cls is not Task and not used, lambda tx: (tx.destroy(ref), True))
        except OperationNotAllowed:
            assert used
            return multiple()
        assert not used
        if not done:
            return multiple()
        del self.model[ref]
        return ref

    @rule(refs=st.lists(objects, max_size=4), name=names)
    def give_up_halfway(self, refs: list[Any], name: str) -> None:
        def body(tx: Transaction) -> None:
            sr = tx.create(SR, {SR.name_label: name})
            for ref in refs:
                if tx.exists(ref):
                    tx.update(ref, {"name_label": name})
                    if self.store.class_of(ref) is VDI:
                        tx.set(ref, VDI.SR, sr)
                    else:
                        tx.destroy(ref)
            raise ZeroDivisionError

        try:
            self.run(self.store.transact(body))
        except ZeroDivisionError:
            return
        raise AssertionError("the transaction took no notice of the error")

    @rule(ref=gone)
    def look_for_what_is_gone(self, ref: Any) -> None:
        assert self.store.class_of(ref) is None

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.run(Store.open(self.path, CLASSES))
        self.model = {r: (c, row) for r, (c, row) in self.model.items() if c is not Task}
        for _, row in self.model.values():
            row.update({name: NULL for name in row if name in VOLATILE})

    @rule()
    def break_or_mend_the_disk(self) -> None:
        if self.is_broken:
            self.broken.close()
        else:
            self.broken.enter_context(failing_writes(self.path))

    def known(self, ref: Any) -> tuple[type, dict[str, Any] | None]:
        return self.model.get(ref, (type(None), None))

    def links_of(self, ref: str) -> list[str]:
        cls, row = self.model[ref]
        return [row[name] for name in LINKS[cls]]

    @invariant()
    def agrees(self) -> None:
        for cls in LINKS:
            expected = {r: row for r, (c, row) in self.model.items() if c is cls}
            found = {record.ref: record.row for record in self.store.all(cls)}
            assert set(found) == set(expected)
            for ref, row in expected.items():
                assert {name: found[ref][name] for name in row} == row
                assert self.store.by_uuid(cls, found[ref]["uuid"]) == ref
                referrers = {r for r in self.model if ref in self.links_of(r)}
                assert {r for r, _ in self.store.referrers(ref)} == referrers
            for name in ("", "a", "b", "é"):
                named = {r for r, row in expected.items() if row["name_label"] == name}
                assert set(self.store.by_name_label(cls, name)) == named
                assert set(self.store.having(cls.fields["name_label"], name)) == named

    @rule(ref=objects)
    def read(self, ref: Any) -> None:
        """What is encoded for a client is kept, and what follows is made of it."""
        if ref in self.model:
            member_of(self.store.get(ref))

    @invariant()
    def what_is_kept_encoded_is_true(self) -> None:
        for cls in LINKS:
            for record in self.store.all(cls):
                if self.watched or record.encoded is not None:
                    assert member_of(record) == member_of(cls(record.ref, record.row))

    @invariant()
    def bound_sets_agree(self) -> None:
        for cls, name, source, field in DERIVED:
            for record in self.store.all(cls):
                members = [
                    r
                    for r, (c, row) in self.model.items()
                    if c is source and row[field] == record.ref
                ]
                assert sorted(record.row[name]) == sorted(members)

    @invariant()
    def event_ids_rise(self) -> None:
        assert self.store.feed.current_id >= self.last_event
        self.last_event = self.store.feed.current_id


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStoreAgainstModel = StoreMachine.TestCase
