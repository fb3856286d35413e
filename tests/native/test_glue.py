"""The logger and the rest of the glue, in both modules where both are built."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
build = runpy.run_path(str(ROOT / "native" / "build.py"))
MODULES = ["_libxl_mock", *(["_libxl"] if build["has_libxl"]() else [])]


@pytest.fixture(params=MODULES)
def native(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(f"xapid.xenworker.{request.param}")


@pytest.fixture
def ends() -> Any:
    ours, libxls = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    yield ours, libxls
    ours.close()
    libxls.close()


def test_a_message_is_one_datagram_of_level_context_and_text(native: Any, ends: Any) -> None:
    ours, libxls = ends
    logger = native.lib.xapid_logger_new(libxls.fileno(), native.lib.XTL_INFO)

    native.lib.xapid_logger_emit(logger, native.lib.XTL_ERROR, b"xc", "a\tb\n\x1b[1mé\n".encode())
    native.lib.xapid_logger_emit(logger, native.lib.XTL_DEBUG, b"xc", b"too low")
    native.lib.xapid_logger_emit(logger, native.lib.XTL_WARN, native.ffi.NULL, b"")

    assert ours.recv(4096) == f"{native.lib.XTL_ERROR}\0xc\0a b  [1mé".encode()
    assert ours.recv(4096) == f"{native.lib.XTL_WARN}\0\0".encode()
    with pytest.raises(BlockingIOError):
        ours.recv(4096)
    native.lib.xapid_logger_free(logger)


def test_a_long_message_is_cut_between_characters(native: Any, ends: Any) -> None:
    ours, libxls = ends
    logger = native.lib.xapid_logger_new(libxls.fileno(), native.lib.XTL_INFO)
    for shift in range(4):
        native.lib.xapid_logger_emit(
            logger, 8, b"x" * 500, b"y" * shift + "\U0001f600".encode() * 1000
        )

        datagram = ours.recv(65536)

        assert len(datagram) <= native.lib.XAPID_LOG_MAX
        level, context, text = datagram.decode().split("\0")
        assert (level, len(context)) == ("8", 64)
        assert len(text) > 200
    native.lib.xapid_logger_free(logger)


def test_what_does_not_fit_is_dropped_and_counted(native: Any, ends: Any) -> None:
    ours, libxls = ends
    logger = native.lib.xapid_logger_new(libxls.fileno(), native.lib.XTL_INFO)
    for _ in range(5000):
        native.lib.xapid_logger_emit(logger, 8, b"c", b"message")

    received = 0
    while True:
        try:
            ours.recv(4096)
        except BlockingIOError:
            break
        received += 1

    dropped = native.lib.xapid_logger_dropped(logger)
    assert dropped > 0
    assert received + dropped == 5000
    ours.close()
    native.lib.xapid_logger_emit(logger, 8, b"c", b"nobody listens")
    assert native.lib.xapid_logger_dropped(logger) == dropped + 1
    native.lib.xapid_logger_free(logger)


def test_a_forked_child_is_silent() -> None:
    # A process of its own: forking a test runner with threads is not for this test.
    code = (
        "import os, socket, sys, importlib\n"
        "m = importlib.import_module('xapid.xenworker._libxl_mock')\n"
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "a.setblocking(False)\n"
        "lg = m.lib.xapid_logger_new(b.fileno(), 0)\n"
        "pid = os.fork()\n"
        "m.lib.xapid_logger_emit(lg, 8, b'c', b'child' if pid == 0 else b'parent')\n"
        "if pid == 0: os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print(a.recv(100)[4:])\n"
        "try: print(a.recv(100))\n"
        "except BlockingIOError: print('one')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "b'parent'\none\n"


def test_libxls_own_lines_and_progress_come_through_the_logger(
    host: Any, ends: Any, tmp_path: Path
) -> None:
    ours, libxls = ends
    logger = host.lib.xapid_logger_new(libxls.fileno(), host.lib.XTL_PROGRESS)
    context = host.another(logger)
    domid = context.create(run=True)
    with (tmp_path / "stream").open("wb") as stream:
        assert (
            host.lib.libxl_domain_suspend(context.ctx, domid, stream.fileno(), 0, host.ffi.NULL)
            == 0
        )

    lines = [ours.recv(4096).decode().split("\0") for _ in range(16)]

    assert {line[0] for line in lines} == {str(host.lib.XTL_PROGRESS)}
    assert lines[3] == [str(host.lib.XTL_PROGRESS), "libxl-save-helper", "25% Memory 4/16"]
    context.create(name="twice")
    assert context.try_create(name="twice") == host.lib.ERROR_INVAL
    assert re.search(r"already exists", ours.recv(4096).decode())


def test_the_real_library_without_xen_refuses_cleanly() -> None:
    if "_libxl" not in MODULES or Path("/dev/xen/privcmd").exists():
        pytest.skip("needs libxl and no Xen")
    real = importlib.import_module("xapid.xenworker._libxl")
    context = real.ffi.new("libxl_ctx **")

    assert real.lib.xapid_ctx_alloc(context, real.ffi.NULL) < 0

    assert context[0] == real.ffi.NULL
    assert real.lib.xapid_mock_reset() == real.lib.ERROR_NI
    assert (real.lib.xapid_is_mock(), real.ffi.string(real.lib.xapid_libxl_version())[:2]) == (
        0,
        b"4.",
    )


def test_a_stolen_sigchld_is_noticed(host: Any) -> None:
    assert host.lib.xapid_sigchld_is_ours() == 1
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        assert host.lib.xapid_sigchld_is_ours() == 0
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert host.lib.xapid_sigchld_is_ours() == 1


@pytest.mark.parametrize("source", sorted([*build["MOCK_SOURCES"], "native/real.c"]))
def test_our_c_compiles_without_a_warning(source: str, tmp_path: Path) -> None:
    mock = source != "native/real.c"
    if not mock and "_libxl" not in MODULES:
        pytest.skip("libxl's headers are not installed")
    defines = ["-DXAPID_MOCK=1"] if mock else ["-DLIBXL_API_VERSION=0x041400"]

    done = subprocess.run(
        [
            "cc",
            "-std=gnu11",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            *defines,
            '-DXAPID_LIBXL_VERSION="x"',
            "-c",
            str(ROOT / source),
            "-o",
            str(tmp_path / "out.o"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
