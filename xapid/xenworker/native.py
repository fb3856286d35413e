"""The native module: which of the two is loaded, libxl's error codes, and its strings."""

from __future__ import annotations

import importlib
from typing import Any

MODULES = {"libxl": "xapid.xenworker._libxl", "mock": "xapid.xenworker._libxl_mock"}


class NativeMissing(Exception):  # noqa: N818
    """The wanted native module is not built, or does not fit the libraries of this host."""


class LibxlError(Exception):
    """A call failed with one of libxl's codes, or was refused with one before it reached libxl."""

    def __init__(self, rc: int, function: str, detail: str = "") -> None:
        super().__init__(f"{function}: {rc}" + (f": {detail}" if detail else ""))
        self.rc = rc
        self.function = function
        self.detail = detail


class Native:
    """One native module: `lib`, `ffi`, and what depends on nothing but them."""

    def __init__(self, kind: str, lib: Any, ffi: Any) -> None:
        self.kind = kind
        self.lib = lib
        self.ffi = ffi
        self.null = ffi.NULL
        self.error_names: dict[int, str] = {
            getattr(lib, name): name for name in dir(lib) if name.startswith("ERROR_")
        }

    def error_name(self, rc: int) -> str:
        """Name `rc` as libxl's headers do; a code they lack gets the name of its number."""
        return self.error_names.get(rc, f"ERROR_{rc}")

    def check(self, rc: int, function: str) -> int:
        """Return `rc`, or raise LibxlError when it is one of libxl's (negative) codes."""
        if rc < 0:
            raise LibxlError(rc, function)
        return rc

    def refusal(self, function: str, detail: str) -> LibxlError:
        """Make the error for arguments that must not reach libxl."""
        return LibxlError(self.lib.ERROR_INVAL, function, detail)

    def text(self, pointer: Any) -> str:
        """Copy a C string that stays the property of libxl; NULL is the empty string."""
        if pointer == self.null:
            return ""
        return bytes(self.ffi.string(pointer)).decode("utf-8", "replace")

    def taken_text(self, pointer: Any) -> str:
        """Copy a C string that libxl hands over, and free it; NULL is the empty string."""
        try:
            return self.text(pointer)
        finally:
            self.lib.free(pointer)


def load(kind: str) -> Native:
    """Load the native module for `kind` (libxl or mock). Raises NativeMissing."""
    try:
        module = importlib.import_module(MODULES[kind])
    except ImportError as error:
        raise NativeMissing(str(error)) from None
    return Native(kind, module.lib, module.ffi)
