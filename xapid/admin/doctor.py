"""`xapid doctor`: every check in turn, each answer one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from ..config import Config
from . import host_checks, own_checks, xen_checks
from .finding import Check, Finding, Status, fail, warn
from .surroundings import Surroundings

CHECKS: Final[tuple[Check, ...]] = (
    *xen_checks.CHECKS,
    *host_checks.CHECKS,
    *own_checks.CHECKS,
)


def examine(
    host: Surroundings, config: Config, checks: tuple[Check, ...] = CHECKS
) -> Iterator[Finding]:
    """All findings, in an order that puts first what others depend on."""
    if os.geteuid() != 0:
        yield warn("root", "this is not root: some things cannot be seen", "sudo xapid doctor")
    for check in checks:
        try:
            yield from check(host, config)
        except Exception as error:  # one check that breaks must not hide what others found
            name = check.__name__.replace("_", "-")
            yield fail(name, f"could not be looked at: {error!r}", "tell the makers of xapid")


def summary(findings: list[Finding]) -> str:
    """The last line."""
    fails, warns = (
        sum(f.status is status for f in findings) for status in (Status.FAIL, Status.WARN)
    )
    if not fails and not warns:
        return "all is well"
    return f"{fails} to mend, {warns} to look at"
