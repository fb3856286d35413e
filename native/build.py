"""What the native modules of xapid-xen are made of, and a command that builds them in place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cffi

NATIVE = Path(__file__).resolve().parent
ROOT = NATIVE.parent
# Compilers are run from the top of the checkout: setuptools takes no absolute source paths.
MOCK_SOURCES = [
    "native/glue.c",
    *sorted(f"native/mock/{p.name}" for p in (NATIVE / "mock").glob("*.c")),
]
REAL_SOURCES = ["native/glue.c", "native/real.c"]
HEADERS = [*sorted(NATIVE.glob("*.h")), *sorted((NATIVE / "mock").glob("*.h"))]
CFLAGS = ["-std=gnu11", "-O2", "-g", "-fvisibility=hidden"]
LIBXL_API_VERSION = "0x041400"


def declarations() -> str:
    """The C declarations of both modules, as cffi reads them."""
    text = (NATIVE / "xenlight.cdef.h").read_text()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def has_libxl() -> bool:
    """Whether the C compiler finds the headers of the real libxl."""
    compiler = os.environ.get("CC", "cc").split()
    if not shutil.which(compiler[0]):
        return False
    done = subprocess.run(
        [*compiler, *os.environ.get("CPPFLAGS", "").split(), "-E", "-x", "c", "-"],
        input=f"#define LIBXL_API_VERSION {LIBXL_API_VERSION}\n#include <libxl.h>\n",
        text=True,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def libxl_version() -> str:
    """The version of the installed libxl as pkg-config knows it, or "unknown"."""
    if not shutil.which("pkg-config"):
        return "unknown"
    done = subprocess.run(
        ["pkg-config", "--modversion", "xenlight"], text=True, capture_output=True, check=False
    )
    version = done.stdout.strip()
    return version if done.returncode == 0 and re.fullmatch(r"[0-9.]+", version) else "unknown"


def mock() -> cffi.FFI:
    """xapid.xenworker._libxl_mock: built anywhere."""
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "xapid.xenworker._libxl_mock",
        '#include "glue.h"',
        sources=MOCK_SOURCES,
        depends=[str(header.relative_to(ROOT)) for header in HEADERS],
        include_dirs=["native"],
        define_macros=[("XAPID_MOCK", "1"), ("XAPID_LIBXL_VERSION", '"mock"')],
        extra_compile_args=CFLAGS,
        libraries=["pthread"],
    )
    return ffi


def real() -> cffi.FFI:
    """xapid.xenworker._libxl: built where the headers of Xen are."""
    ffi = cffi.FFI()
    ffi.cdef(declarations())
    ffi.set_source(
        "xapid.xenworker._libxl",
        '#include "glue.h"',
        sources=REAL_SOURCES,
        depends=[str(header.relative_to(ROOT)) for header in HEADERS],
        include_dirs=["native"],
        define_macros=[
            ("LIBXL_API_VERSION", LIBXL_API_VERSION),
            ("XAPID_LIBXL_VERSION", f'"{libxl_version()}"'),
        ],
        extra_compile_args=CFLAGS,
        libraries=["xenlight", "xenctrl", "xentoollog", "pthread"],
    )
    return ffi


def modules() -> list[str]:
    """What setup.py gives to cffi: the modules that can be built here."""
    return ["native/build.py:mock", *(["native/build.py:real"] if has_libxl() else [])]


def main() -> int:
    """Build in place: the .so files land beside xapid/xenworker/*.py."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
