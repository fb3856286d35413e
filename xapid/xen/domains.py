"""What Xen has now: the latest list of domains, and a way to wait until it says something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .plan import domain_name
from .types import Domain

Predicate = Callable[[Domain | None], bool]


def half_made(domain: Domain) -> bool:
    """Whether this is a build of ours that nobody finished: our name or none yet, not our mark.

    Says so of any domain without a name; ask only about one with a VM's uuid.
    """
    return not domain.ours and domain.name in (domain_name(domain.uuid), "", None)


class DomainTable:
    """Domains by uuid, as the worker last reported them.

    The list is level-triggered: each update is the whole truth, so a lost one costs nothing once
    the next has come.
    """

    def __init__(self) -> None:
        self._by_uuid: dict[str, Domain] = {}
        self._waiters: set[tuple[str, Predicate, asyncio.Future[Domain | None]]] = set()

    def update(self, domains: Iterable[Domain]) -> None:
        """Take a new list and wake whoever waited for what it says."""
        # A dying domain keeps its uuid until it is gone, beside the one that takes its place.
        self._by_uuid = {d.uuid: d for d in sorted(domains, key=lambda d: not d.dying)}
        for waiter in tuple(self._waiters):
            uuid, predicate, future = waiter
            domain = self._by_uuid.get(uuid)
            if not future.done() and predicate(domain):
                future.set_result(domain)

    def get(self, uuid: str) -> Domain | None:
        """The domain with this uuid, None when Xen has none."""
        return self._by_uuid.get(uuid)

    def uuids(self) -> set[str]:
        return set(self._by_uuid)

    def all(self) -> tuple[Domain, ...]:
        return tuple(self._by_uuid.values())

    async def wait(self, uuid: str, predicate: Predicate, timeout_s: float) -> Domain | None:
        """The first state of the uuid's domain (None: gone) that the predicate accepts.

        Raises TimeoutError.
        """
        domain = self._by_uuid.get(uuid)
        if predicate(domain):
            return domain
        future: asyncio.Future[Domain | None] = asyncio.get_running_loop().create_future()
        waiter = (uuid, predicate, future)
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        finally:
            self._waiters.discard(waiter)
