"""The command xapid-xen: arguments, environment, the lock, and then the server."""

from __future__ import annotations

import argparse
import faulthandler
import fcntl
import os
import selectors
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from xapid.journal import PRIORITIES
from xapid.xen.protocol import EXIT_BUG, EXIT_NO_XEN, EXIT_USAGE

from .log import Log
from .native import MODULES, LibxlError, NativeMissing, load
from .server import Server, Settings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"error {message}\n")


class _Version(argparse.Action):
    """Say which native modules are here, and what libxl they were built for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for kind in MODULES:
            try:
                native = load(kind)
            except NativeMissing:
                continue
            print(kind, native.text(native.lib.xapid_libxl_version()))  # noqa: T201 - asked for
        parser.exit()


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with 64 when it makes no sense."""
    parser = _Parser(prog="xapid-xen", description="Serve libxl to xapid on a Unix socket.")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--xen", choices=("libxl", "mock"), required=True)
    parser.add_argument("--lock", type=Path, required=True, help="held by the one that serves")
    parser.add_argument("--parent-fd", type=int, help="end when this descriptor does")
    parser.add_argument("--contexts", type=int, default=16, help="operations at the same time")
    parser.add_argument("--builds", type=int, default=4, help="domain builds at the same time")
    parser.add_argument("--poll-ms", type=int, default=2000, help="look at the domains so often")
    parser.add_argument(
        "--stop-ms", type=int, default=60_000, help="how long to wait for operations at the end"
    )
    parser.add_argument(
        "--log-level", choices=tuple(PRIORITIES), default="debug", help="the least to log"
    )
    parser.add_argument("--version", action=_Version, nargs=0)
    args = parser.parse_args(argv)
    if args.builds < 1 or args.contexts < args.builds + 2:
        parser.error("--contexts must be at least --builds + 2")
    if args.poll_ms < 10:
        parser.error("--poll-ms must be at least 10")
    return args


def prepare_environment() -> None:
    """Set what libxl and its children read from the environment. Before any thread begins."""
    # xapid runs bootloaders itself. Should libxl ever run one: as root that has been a way out of
    # the guest.
    os.environ["LIBXL_BOOTLOADER_RESTRICT"] = "1"
    # Meant for this process alone, not for the Python scripts among its children.
    os.environ.pop("PYTHONPATH", None)
    # An ignored signal stays ignored in qemu and in scripts; one with a handler does not.
    signal.signal(signal.SIGXFSZ, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: None)
    # On SIGUSR1 each thread's stack goes to the log.
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def wait_for_lock(path: Path, parent_fd: int | None, log: Log) -> bool:
    """Take the lock; returns False when the parent ended meanwhile.

    A POSIX lock: forked children do not share it, so it ends with the process that took it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        log.info("waiting for an older xapid-xen to end")
    else:
        return True
    done_in, done_out = os.pipe()

    def wait() -> None:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        os.write(done_out, b"d")

    threading.Thread(target=wait, name="lock", daemon=True).start()
    with selectors.DefaultSelector() as selector:
        selector.register(done_in, selectors.EVENT_READ)
        if parent_fd is not None:
            selector.register(parent_fd, selectors.EVENT_READ)
        ready = {key.fd for key, _ in selector.select()}
    return done_in in ready


def main(argv: list[str] | None = None) -> NoReturn:
    """Run xapid-xen; exits with 0 (ended), 64 (usage), 69 (no Xen), 70 (gave up) or 75 (stuck)."""
    args = parse_arguments(argv)
    prepare_environment()
    if args.parent_fd is not None:
        os.set_inheritable(args.parent_fd, False)
    log = Log(least=args.log_level)
    code = _serve(args, log)
    log.close()
    # Threads may still be inside libxl; nothing of theirs is worth waiting for.
    os._exit(code)


def _serve(args: argparse.Namespace, log: Log) -> int:
    try:
        native = load(args.xen)
    except NativeMissing as error:
        log.error(f"Xen is not available: {error}")
        return EXIT_NO_XEN
    settings = Settings(
        args.socket,
        args.contexts,
        args.builds,
        args.poll_ms / 1000,
        args.stop_ms / 1000,
        args.parent_fd,
    )
    try:
        if not wait_for_lock(args.lock, args.parent_fd, log):
            return 0
        return Server(settings, native, log).run()
    except LibxlError as error:
        log.error(f"Xen is not available: {error.detail or native.error_name(error.rc)}")
        return EXIT_NO_XEN
    except Exception as error:
        log.error(f"xapid-xen ends: {error!r}")
        return EXIT_BUG


if __name__ == "__main__":
    sys.exit(main())
