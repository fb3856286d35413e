"""A dispatcher and what it needs, on a database of its own, asked as the HTTP server asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from xapid.datamodel.declare import NULL
from xapid.datamodel.registry import CLASSES, METHODS, Kind
from xapid.db.store import Store
from xapid.prometheus import Registry
from xapid.rpc.accounts import Accounts
from xapid.rpc.answers import Answer
from xapid.rpc.dispatch import Dispatcher
from xapid.rpc.events import Events
from xapid.rpc.figures import CallFigures, show_turns
from xapid.rpc.logins import Logins, Users
from xapid.rpc.sessions import Sessions
from xapid.rpc.tasks import Tasks
from xapid.rpc.turns import Turns
from xapid.rpc.xmlrpc import Request

STORED = {name: cls for name, cls in CLASSES.items() if name != "event"}
MESSAGES = {name for name, method in METHODS.items() if method.kind is Kind.MESSAGE}
PEER = "192.0.2.7"


class Daemon:
    """All that is between the HTTP server and the services, of which there are none."""

    def __init__(self, store: Store, accounts: Accounts, *, wait_s: float) -> None:
        self.store = store
        self.accounts = accounts
        self.sessions = Sessions()
        self.tasks = Tasks(store)
        self.registry = Registry()
        self.turns = Turns()
        show_turns(self.registry, self.turns)
        services = [
            Logins(self.sessions, accounts),
            Users(store, self.sessions, accounts),
            Events(store, self.sessions, wait_s=wait_s),
        ]
        marks = (
            getattr(function, "__dict__", {})
            for service in (*services, self.tasks)
            for function in vars(type(service)).values()
        )
        implemented = {mark["implements"] for mark in marks if "implements" in mark}
        self.dispatcher = Dispatcher(
            store,
            self.sessions,
            self.tasks,
            services,
            not_yet=MESSAGES - implemented,
            turns=self.turns,
            observer=CallFigures(self.registry),
        )

    @classmethod
    @asynccontextmanager
    async def running(cls, directory: Path, *, wait_s: float = 0.0) -> AsyncIterator[Daemon]:
        store = await Store.open(directory / "state.db", STORED)
        accounts = Accounts(
            store, directory, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        await accounts.prepare()
        daemon = cls(store, accounts, wait_s=wait_s)
        try:
            yield daemon
        finally:
            await daemon.dispatcher.stop(0)
            accounts.close()
            await store.close()

    async def call(self, method: str, *params: Any) -> Answer:
        return await self.dispatcher.answer(Request(method, list(params)), PEER)

    def login(self, role: str = "pool-admin", name: str = "root") -> str:
        return str(self.sessions.begin(NULL, name, role=role))
