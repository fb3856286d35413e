"""Feeds the targets, each its share of all messages, and tells what went wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from tests.rpc.world import Daemon

from .targets import CallTarget, ConfigTarget, HttpTarget, SocketTarget, XmlTarget, fast_directory

SHARES = {"xml": 0.50, "config": 0.15, "calls": 0.05, "http": 0.28, "sockets": 0.02}
AT_ONCE = 32
PATIENCE_S = 30.0


@dataclass
class Outcome:
    """What became of one target's messages; good: those that were read or answered as calls."""

    name: str
    inputs: int = 0
    good: int = 0
    seconds: float = 0.0
    wrong: list[tuple[int, str, bytes]] = field(default_factory=list)


class Watch:
    """Hears every complaint of the daemon's own: none may come of a client's message."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __enter__(self) -> Watch:
        structlog.configure(processors=[self._log], cache_logger_on_first_use=False)
        self._handler = logging.Handler(logging.ERROR)
        self._handler.emit = lambda record: self.heard.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger().addHandler(self._handler)
        asyncio.get_running_loop().set_exception_handler(self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        structlog.reset_defaults()
        asyncio.get_running_loop().set_exception_handler(None)

    def _log(self, logger: object, method: str, event: Any) -> str:
        if method in ("error", "exception", "critical") or event.get("exc_info"):
            self.heard.append(repr(event))
        raise structlog.DropEvent

    def _loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.heard.append(repr(context))

    def taken(self) -> list[str]:
        heard, self.heard = self.heard, []
        return heard


async def run(
    inputs: int, seed: int, tell: Callable[[str], None] = lambda line: None
) -> list[Outcome]:
    """Feed so many messages in all; gives what became of them."""
    with fast_directory() as directory, Watch() as watch:
        async with (
            Daemon.running(directory) as daemon,
            HttpTarget.made(seed, daemon) as http,
            SocketTarget.made(seed, daemon, directory) as sockets,
        ):
            targets = [
                XmlTarget(seed),
                ConfigTarget(seed, directory),
                CallTarget(seed, daemon),
                http,
                sockets,
            ]
            outcomes = []
            for target in targets:
                count = max(round(inputs * SHARES[target.name]), 1)
                outcomes.append(await _feed(target, count, watch, tell))
            return outcomes


async def _feed(target: Any, count: int, watch: Watch, tell: Callable[[str], None]) -> Outcome:
    outcome, began = Outcome(target.name), time.monotonic()
    places = asyncio.Semaphore(AT_ONCE if target.name == "sockets" else 1)

    async def one(number: int, message: bytes) -> None:
        async with places:
            await _try(target, number, message, watch, outcome)

    pending: set[asyncio.Task[None]] = set()
    for number in range(count):
        message = target.mutator.message(number)
        if target.name != "sockets":
            await _try(target, number, message, watch, outcome)
        else:
            pending.add(asyncio.create_task(one(number, message)))
            if len(pending) >= AT_ONCE:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if number and number % 50_000 == 0:
            tell(f"{target.name}: {number} of {count}")
    if pending:
        await asyncio.wait(pending)
    gc.collect()  # what tasks failed with is told when they are thrown away
    if late := watch.taken():
        outcome.wrong.append((count, "; ".join(late)[:1000], b""))
    outcome.inputs, outcome.good = count, target.read
    outcome.seconds = time.monotonic() - began
    return outcome


async def _try(target: Any, number: int, message: bytes, watch: Watch, outcome: Outcome) -> None:
    complaints: list[str] = []
    try:
        fed = target.feed(message)
        if fed is not None:
            async with asyncio.timeout(PATIENCE_S):
                await fed
    except Exception as error:
        complaints.append(repr(error))
    complaints += watch.taken()
    if complaints and len(outcome.wrong) < 100:
        outcome.wrong.append((number, "; ".join(complaints)[:1000], message))


def keep(outcomes: list[Outcome], directory: Path) -> None:
    """Write down the messages that went wrong, each beside what was said."""
    for outcome in outcomes:
        for number, complaint, message in outcome.wrong:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{outcome.name}-{number}").write_bytes(message)
            (directory / f"{outcome.name}-{number}.txt").write_text(complaint + "\n")
