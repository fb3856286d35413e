"""The one table from what a handler may raise to what the client is told."""

from __future__ import annotations

import secrets

import structlog

from ..datamodel.errors import ApiError, InternalError
from ..db.failures import StorageFailure

log = structlog.get_logger(__name__)

RESTARTED = (
    "xapid ended while this task ran; look at the object it worked on, and call again if needed"
)
STOPPING = "xapid was told to stop while this ran; what it had done was undone"


def api_error(error: BaseException) -> ApiError:
    """The error a client is told; anything unforeseen is logged with its traceback."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StorageFailure):
        log.error("a change could not be written", reason=str(error))
        return InternalError(f"the database cannot be written, so nothing was changed: {error}")
    reference = secrets.token_hex(4)
    log.error("a call failed", reference=reference, exc_info=error)
    return InternalError(f"the daemon failed; its log says more under reference {reference}")
