"""Which Xen is to be driven, and xapid-xen as a service of its own: it needs little else loaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, Literal

import structlog

from ..config import Config, XenChoice
from .worker import WorkerCommand

XEN_CAPABILITIES: Final = Path("/proc/xen/capabilities")

log = structlog.get_logger(__name__)


def find_xen(wanted: XenChoice, capabilities: Path = XEN_CAPABILITIES) -> Literal["libxl", "mock"]:
    """Which libxl to use: the real one on a control domain, unless the administrator chose."""
    if wanted != "auto":
        return wanted
    try:
        found = capabilities.read_text()
    except OSError:
        return "mock"
    return "libxl" if "control_d" in found.replace(",", " ").split() else "mock"


def worker_environment(kind: Literal["libxl", "mock"], state: Path) -> dict[str, str]:
    """What xapid-xen finds in its environment; state: the daemon's directory."""
    return {"XAPID_MOCK_STATE": str(state / "mock-xen")} if kind == "mock" else {}


def become_worker(config: Config) -> int:
    """Turn this process into the xapid-xen that an xapid with these settings connects to."""
    if config.xen.socket is None:
        log.error("xapid-xen runs by itself only where xen.socket says on which path")
        return os.EX_CONFIG
    os.umask(0o077)
    kind, state = find_xen(config.xen.driver), config.state_dir
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = WorkerCommand(
        config.xen.socket,
        state / "xen.lock",
        kind,
        config.xen.contexts,
        config.xen.builds,
        log_level=config.log.level,
    )
    package = str(Path(__file__).parent.parent.parent)
    environment = {**os.environ, **worker_environment(kind, state), "PYTHONPATH": package}
    os.execve(sys.executable, command.arguments(None), environment)  # noqa: S606
