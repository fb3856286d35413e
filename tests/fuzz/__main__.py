"""`python -m tests.fuzz --inputs N`: the parsers and the front under that many bad messages."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from .run import keep, run

FAILED = Path("build/fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    outcomes = asyncio.run(run(chosen.inputs, chosen.seed, lambda line: print(line, flush=True)))
    wrong = 0
    for each in outcomes:
        wrong += len(each.wrong)
        print(
            f"{each.name}: {each.inputs} inputs, {each.good} of them good, {each.seconds:.0f} s,"
            f" {len(each.wrong)} went wrong"
        )
        for number, complaint, _ in each.wrong[:5]:
            print(f"  input {number}: {complaint[:300]}")
    total = sum(each.inputs for each in outcomes)
    print(f"{total} inputs, seed {chosen.seed}: {wrong} went wrong")
    keep(outcomes, FAILED)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
