"""One measurement, pairs of them, and what they come to."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .processes import cpu_s

BUILT: Final = Path("build/bench")
MICRO: Final = 1e6


@dataclass(frozen=True)
class Sample:
    """What one side did in one turn; cpu_us: of the server, for each call."""

    value: float
    cpu_us: float = 0.0
    more: dict[str, float] = field(default_factory=dict)


Measure = Callable[[], Sample]


@dataclass(frozen=True)
class Row:
    """Two sides that are measured in turn.

    least, most: the bound of the ratio xapid / peer, whichever there is.
    """

    number: str
    what: str
    against: str
    unit: str
    xapid: Measure
    peer: Measure
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Result:
    """What the pairs of a row came to."""

    row: Row
    pairs: Sequence[tuple[Sample, Sample]]

    @property
    def ratios(self) -> list[float]:
        return [ours.value / theirs.value for ours, theirs in self.pairs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        row = self.row
        enough = row.least is None or self.ratio >= row.least
        return enough and (row.most is None or self.ratio <= row.most)

    def median(
        self, side: int, of: Callable[[Sample], float] = lambda sample: sample.value
    ) -> float:
        return statistics.median(of(pair[side]) for pair in self.pairs)

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it."""
        row = self.row
        return {
            "number": row.number,
            "what": row.what,
            "against": row.against,
            "unit": row.unit,
            "least": row.least,
            "most": row.most,
            "ratio": self.ratio,
            "reached": self.reached,
            "ratios": self.ratios,
            "xapid": [vars(ours) for ours, _ in self.pairs],
            "peer": [vars(theirs) for _, theirs in self.pairs],
        }


def measure(row: Row, rounds: int) -> Result:
    """Measure both sides in turn; a turn of each before that counts for nothing."""
    row.xapid()
    row.peer()
    return Result(row, [(row.xapid(), row.peer()) for _ in range(rounds)])


def script(requests: Iterable[Sequence[bytes]]) -> Path:
    """A file for the load client: the requests of each connection, in order."""
    with tempfile.NamedTemporaryFile(dir=BUILT, suffix=".script", delete=False) as file:
        for number, of_one in enumerate(requests):
            for request in of_one:
                file.write(b"%d %d\n" % (number, len(request)) + request)
    return Path(file.name)


def load(address: str, connections: int, seconds: float, path: Path, pid: int) -> dict[str, float]:
    """Run the load client; a negative number of seconds is a number of rounds of waiting."""
    return _run([str(BUILT / "load"), address, str(connections), str(seconds), str(path)], pid)


def virt(uri: str, mode: str, count: int, seconds: float, pid: int) -> dict[str, float]:
    """Run libvirt's load client."""
    return _run([str(BUILT / "virt"), uri, mode, str(count), str(seconds)], pid)


def _run(command: Sequence[str], pid: int) -> dict[str, float]:
    before = cpu_s(pid)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, float] = json.loads(done.stdout)
    told["server_cpu_us"] = (cpu_s(pid) - before) * MICRO / max(told["calls"], 1)
    return told


def rate(told: dict[str, float], calls_each: int = 1) -> Sample:
    """Calls (or groups of `calls_each` of them) a second."""
    done = told["calls"] / calls_each
    return Sample(done / told["seconds"], told["server_cpu_us"] * calls_each, told)


def median_us(told: dict[str, float]) -> Sample:
    return Sample(told["p50_us"], told["server_cpu_us"], told)


def p99_us(told: dict[str, float]) -> Sample:
    return Sample(told["p99_us"], told["server_cpu_us"], told)
