"""The Debian releases a test host can be made of, and where built hosts are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Suite:
    """One Debian release: its Xen, its Python, and the package with its DHCP client."""

    name: str
    xen: str
    python: str
    dhcp_client: str

    @property
    def directory(self) -> Path:
        """Where everything built for this release is kept, outside the checkout."""
        chosen = os.environ.get("XAPID_XENHOST_DIR")
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return (Path(chosen) if chosen else Path(cache) / "xapid-xenhost") / self.name


SUITES = {
    suite.name: suite
    for suite in (
        Suite("bookworm", "4.17", "3.11", "isc-dhcp-client"),
        Suite("trixie", "4.20", "3.13", "dhcpcd-base"),
    )
}


def chosen_suite(name: str | None = None) -> Suite:
    """The release called name, else the one that the environment variable SUITE names."""
    wanted = name or os.environ.get("SUITE") or "bookworm"
    if wanted not in SUITES:
        raise SystemExit(
            f"no recipe for the Debian release {wanted!r}: choose one of {', '.join(SUITES)}"
        )
    return SUITES[wanted]
