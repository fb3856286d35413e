"""Which of the host's own addresses a call came in on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

ARRIVED_AT: Final[ContextVar[str]] = ContextVar("arrived_at", default="")
"""The local address of the connection, LOCAL for the Unix socket, "" for the daemon's own work."""
