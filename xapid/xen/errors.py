"""What goes wrong on Xen, as exceptions, and the table that makes them from libxl's codes."""

from __future__ import annotations

from collections.abc import Sequence


class XenError(Exception):
    """libxl could not do what was asked, for a reason that has no class of its own."""

    def __init__(self, function: str, rc: int = 0, name: str = "", log: Sequence[str] = ()) -> None:
        """function: what failed. rc, name: libxl's code. log: its last log lines, oldest first."""
        self.function = function
        self.rc = rc
        self.name = name
        self.log = tuple(log)
        super().__init__(f"{function}: {name or rc}" + (f": {self.log[-1]}" if self.log else ""))


class XenUnavailable(XenError):  # noqa: N818
    """xapid-xen is not there, or ended while it worked on this; what it did is not known."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.args = (reason,)


class XenAborted(XenError):  # noqa: N818
    """The operation was cancelled."""


class XenInvalid(XenError):  # noqa: N818
    """An argument or a configuration makes no sense to libxl."""


class XenNoMemory(XenError):  # noqa: N818
    """The host has not enough free memory."""


class XenTimedOut(XenError):  # noqa: N818
    """The guest, a device or a script did not answer in time."""


class XenNoPVDrivers(XenError):  # noqa: N818
    """The guest has no drivers through which it could be asked."""


class XenDomainNotFound(XenError):  # noqa: N818
    """There is no such domain, or no longer."""


class XenNotFound(XenError):  # noqa: N818
    """The domain has no such device, or the thing asked for does not exist."""


class XenDeviceExists(XenError):  # noqa: N818
    """The domain has such a device already."""


class XenNotReady(XenError):  # noqa: N818
    """What was asked for is not there yet, or held by another."""


class XenNotSupported(XenError):  # noqa: N818
    """This Xen cannot do that."""


class XenDeviceModelError(XenError):
    """The guest's device model (qemu) refused."""


LIBXL_ERRORS: dict[str, tuple[int, type[XenError]]] = {
    "ERROR_NONSPECIFIC": (-1, XenError),
    "ERROR_VERSION": (-2, XenNotSupported),
    "ERROR_FAIL": (-3, XenError),
    "ERROR_NI": (-4, XenNotSupported),
    "ERROR_NOMEM": (-5, XenNoMemory),
    "ERROR_INVAL": (-6, XenInvalid),
    "ERROR_BADFAIL": (-7, XenError),
    "ERROR_GUEST_TIMEDOUT": (-8, XenTimedOut),
    "ERROR_TIMEDOUT": (-9, XenTimedOut),
    "ERROR_NOPARAVIRT": (-10, XenNoPVDrivers),
    "ERROR_NOT_READY": (-11, XenNotReady),
    "ERROR_OSEVENT_REG_FAIL": (-12, XenError),
    "ERROR_BUFFERFULL": (-13, XenError),
    "ERROR_UNKNOWN_CHILD": (-14, XenError),
    "ERROR_LOCK_FAIL": (-15, XenNotReady),
    "ERROR_JSON_CONFIG_EMPTY": (-16, XenNotReady),
    "ERROR_DEVICE_EXISTS": (-17, XenDeviceExists),
    "ERROR_CHECKPOINT_DEVOPS_DOES_NOT_MATCH": (-18, XenError),
    "ERROR_CHECKPOINT_DEVICE_NOT_SUPPORTED": (-19, XenNotSupported),
    "ERROR_VNUMA_CONFIG_INVALID": (-20, XenInvalid),
    "ERROR_DOMAIN_NOTFOUND": (-21, XenDomainNotFound),
    "ERROR_ABORTED": (-22, XenAborted),
    "ERROR_NOTFOUND": (-23, XenNotFound),
    "ERROR_DOMAIN_DESTROYED": (-24, XenDomainNotFound),
    "ERROR_FEATURE_REMOVED": (-25, XenNotSupported),
    "ERROR_PROTOCOL_ERROR_QMP": (-26, XenDeviceModelError),
    "ERROR_UNKNOWN_QMP_ERROR": (-27, XenDeviceModelError),
    "ERROR_QMP_GENERIC_ERROR": (-28, XenDeviceModelError),
    "ERROR_QMP_COMMAND_NOT_FOUND": (-29, XenDeviceModelError),
    "ERROR_QMP_DEVICE_NOT_ACTIVE": (-30, XenDeviceModelError),
    "ERROR_QMP_DEVICE_NOT_FOUND": (-31, XenDeviceModelError),
    "ERROR_QEMU_API": (-32, XenDeviceModelError),
}
"""libxl's codes by name, each with its number and what it becomes."""


def error_for(function: str, rc: int, name: str, log: Sequence[str] = ()) -> XenError:
    """Make the exception for one of libxl's codes; a code not in the table is a plain XenError."""
    _, kind = LIBXL_ERRORS.get(name, (rc, XenError))
    return kind(function, rc, name, log)
