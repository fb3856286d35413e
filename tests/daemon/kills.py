"""Kills a daemon again and again under its clients: what the tortures have in common."""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .conftest import Client, Daemon

Torture = Callable[[int, int], tuple[Counter[str], list[str]]]
"""Of a number of kills and a seed: the acknowledged calls by kind, and the faults."""


@contextmanager
def victim(name: str) -> Iterator[Daemon]:
    """A daemon with nothing in it yet, started."""
    with tempfile.TemporaryDirectory(prefix=f"xapid-{name}-") as directory:
        daemon = Daemon(Path(directory))
        daemon.start()
        yield daemon
        daemon.stop()


def kill_under(
    daemon: Daemon,
    works: Sequence[Callable[[Client], None]],
    check: Callable[[Client], list[str]],
    kills: int,
    dice: random.Random,
    within_s: tuple[float, float],
) -> list[str]:
    """Kill the daemon under threads that repeat each of `works`, and check what it then has.

    Ends early with the first faults, which would only cause others.
    """
    for _ in range(kills):
        threads = [
            threading.Thread(target=_until_cut_off, args=(work, daemon.client())) for work in works
        ]
        for thread in threads:
            thread.start()
        threads[0].join(dice.uniform(*within_s))
        daemon.signal(signal.SIGKILL)
        for thread in threads:  # only then may their connections be closed for them
            thread.join()
        daemon.kill()
        daemon.start()
        if faults := check(daemon.client()):
            return faults
    return []


def _until_cut_off(work: Callable[[Client], None], client: Client) -> None:
    try:
        while True:
            work(client)
    except (OSError, EOFError):
        return
    except Exception as error:  # xmlrpc.client wraps some cuts in errors of its own
        if type(error).__module__.partition(".")[0] not in ("xmlrpc", "http"):
            raise


def run(torture: Torture, about: str | None, kills: int, broken: str) -> int:
    """A torture as a command: prints what came of it. broken: what is counted."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    chosen = parser.parse_args()
    acknowledged, faults = torture(chosen.kills, chosen.seed)
    for fault in faults:
        print(fault)
    print(f"seed {chosen.seed}: {chosen.kills} kills, acknowledged {dict(acknowledged)}")
    print(f"{len(faults)} {broken}")
    return 1 if faults else 0
