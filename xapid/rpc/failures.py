"""The one table from what a handler may raise to what the client is told."""

from __future__ import annotations

import secrets

import structlog

from ..datamodel.errors import ApiError, DomainBuilderError, InternalError, OperationNotAllowed
from ..db.failures import StorageFailure
from ..db.text import clean_text
from ..xen.errors import XenDomainNotFound, XenError, XenNotSupported, XenUnavailable

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
    if isinstance(error, XenError):
        return _xen_error(error)
    reference = secrets.token_hex(4)
    log.error("a call failed", reference=reference, exc_info=error)
    return InternalError(f"the daemon failed; its log says more under reference {reference}")


def _xen_error(error: XenError) -> ApiError:
    """What libxl could not do and no service had a better word for."""
    log.error("Xen could not do it", reason=str(error), libxl=error.log)
    if isinstance(error, XenUnavailable):
        why = "xapid-xen was not there or ended meanwhile; look at the VM, and call again"
        return DomainBuilderError(error.function, "XEN_UNAVAILABLE", why)
    if isinstance(error, XenNotSupported):
        return OperationNotAllowed(f"this Xen cannot do that: {error.function}")
    if isinstance(error, XenDomainNotFound):
        return OperationNotAllowed("the domain is gone; its record follows in a moment")
    last = clean_text(error.log[-1]) if error.log else "see the log of xapid"
    return DomainBuilderError(error.function, error.name or str(error.rc), last)
