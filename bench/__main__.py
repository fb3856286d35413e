"""`python -m bench`: measure xapid beside its peers, print a table and keep it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from .rows import SUBJECTS, world
from .samples import BUILT, Result, measure


def line(result: Result) -> str:
    """One row of the table, in Markdown."""
    row = result.row
    goal = f"≥ {row.least:.2f}" if row.least is not None else f"≤ {row.most or 0:.3g}"
    ratios = result.ratios
    cpu = [result.median(side, lambda sample: sample.cpu_us) for side in (0, 1)]
    shown_cpu = " / ".join(f"{each:.0f}" if each else "-" for each in cpu)
    cells = [
        row.number,
        row.what,
        row.against,
        f"{figure(result.median(0))} {row.unit}",
        f"{figure(result.median(1))} {row.unit}",
        f"{result.ratio:.3g} ({min(ratios):.3g} to {max(ratios):.3g})",
        goal + (" reached" if result.reached else " **missed**"),
        shown_cpu,
    ]
    return "| " + " | ".join(cells) + " |"


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


HEAD = (
    "| # | what | against | xapid | peer | ratio, median (least to most) | goal | CPU µs a call |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of each row")
    parser.add_argument("--seconds", type=float, default=1.5, help="of load in each turn")
    parser.add_argument("--only", default="", help="numbers of rows, with commas between")
    arguments = parser.parse_args()
    wanted = set(filter(None, arguments.only.split(",")))
    began, results = time.monotonic(), []
    print(HEAD)
    with (
        tempfile.TemporaryDirectory(prefix="xapid-bench-") as directory,
        world(_reachable(Path(directory)), arguments.seconds) as servers,
    ):
        for subject in SUBJECTS:
            if wanted and not wanted & set(NUMBERS[subject.__name__]):
                continue
            for row in subject(servers):
                if wanted and row.number.split()[0] not in wanted:
                    continue
                results.append(measure(row, arguments.rounds))
                print(line(results[-1]), flush=True)
    saved = save(results, arguments.rounds, arguments.seconds)
    print(f"\n{time.monotonic() - began:.0f} s; saved in {saved}")
    return 0


NUMBERS = {
    "getters": ("1", "2"),
    "records": ("3", "4", "5"),
    "writes": ("6", "7"),
    "events": ("8",),
    "under_load": ("9",),
    "lifecycle": ("10",),
    "starting": ("11",),
    "memory": ("12",),
    "size": ("15",),
}
"""Which rows each subject gives, so that the others need not be prepared."""


def _reachable(directory: Path) -> Path:
    """The directory, opened to the other users as whom the peers run."""
    directory.chmod(0o755)
    return directory


def save(results: list[Result], rounds: int, seconds: float) -> Path:
    """Keep everything that was measured."""
    now = datetime.now(UTC)
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    path = BUILT / f"{now:%Y%m%dT%H%M%S}-{commit or 'unknown'}.json"
    measured = {
        "at": now.isoformat(),
        "commit": commit,
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} CPUs, {platform.platform()}",
        "load_average": os.getloadavg(),
        "rounds": rounds,
        "seconds": seconds,
        "rows": [result.plain() for result in results],
    }
    path.write_text(json.dumps(measured, indent=1))
    return path


if __name__ == "__main__":
    sys.exit(main())
