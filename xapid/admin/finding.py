"""What a check of `xapid doctor` says: one line, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from ..config import Config
from .surroundings import Surroundings


class Status(StrEnum):
    """How it is. SKIP: it could not be looked at, or has no meaning here."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """One line. name: stable, for programs. advice: what to do, for all but OK."""

    name: str
    status: Status
    found: str
    advice: str = ""

    def line(self) -> str:
        advice = f". Do: {self.advice}" if self.advice else ""
        return f"{self.status:<5} {self.name:<14} {self.found}{advice}"

    def as_json(self) -> dict[str, str]:
        return asdict(self)


Findings = Iterator[Finding]
Check = Callable[[Surroundings, Config], Findings]


def ok(name: str, found: str) -> Finding:
    return Finding(name, Status.OK, found)


def warn(name: str, found: str, advice: str) -> Finding:
    return Finding(name, Status.WARN, found, advice)


def fail(name: str, found: str, advice: str) -> Finding:
    return Finding(name, Status.FAIL, found, advice)


def skip(name: str, found: str, advice: str = "") -> Finding:
    return Finding(name, Status.SKIP, found, advice)
