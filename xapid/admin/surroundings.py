"""The host as `xapid doctor` sees it: files, programs, processes. It only ever looks."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from ..programs import PATH
from ..xen.xenstore import Xenstore

PATIENCE_S: Final = 10.0
_LONGEST: Final = 1 << 20  # characters of one file

Run = Callable[[Sequence[str]], str | None]


def run_program(arguments: Sequence[str]) -> str | None:
    """What a program writes to stdout; None where it is missing, fails, or does not end."""
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


@dataclass
class Surroundings:
    """root: what stands for / (a test's own tree). run: starts a program to its end."""

    root: Path = Path("/")
    run: Run = run_program
    statvfs: Callable[[Path], os.statvfs_result] = field(default=os.statvfs)

    def path(self, absolute: str | Path) -> Path:
        return self.root / str(absolute).lstrip("/")

    def text(self, absolute: str | Path) -> str | None:
        """A file's text, without white space around it; None when it cannot be read."""
        try:
            with self.path(absolute).open(errors="replace") as file:
                return file.read(_LONGEST).strip()
        except OSError:
            return None

    def exists(self, absolute: str | Path) -> bool:
        return self.path(absolute).exists()

    def names(self, absolute: str | Path) -> list[str]:
        """What is in a directory; [] when there is none."""
        try:
            return sorted(path.name for path in self.path(absolute).iterdir())
        except OSError:
            return []

    def installed(self, program: str) -> bool:
        return any(self.exists(f"{directory}/{program}") for directory in PATH.split(":"))

    @cached_property
    def processes(self) -> frozenset[str]:
        """The names of all processes, as the kernel cuts them: 15 characters."""
        numbers = [name for name in self.names("/proc") if name.isdigit()]
        found = (self.text(f"/proc/{number}/comm") for number in numbers)
        return frozenset(name for name in found if name)

    @cached_property
    def xl_info(self) -> dict[str, str]:
        """What `xl info` tells; {} where there is no xl, or no Xen."""
        lines = (self.run(("xl", "info")) or "").splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name.strip(): value.strip() for name, colon, value in pairs if colon}

    @property
    def is_control_domain(self) -> bool:
        """Whether Xen runs here, and gives its control to this system."""
        return "control_d" in (self.text("/proc/xen/capabilities") or "").replace(",", " ").split()

    def xenstore_value(self, socket_path: Path, node: str) -> str:
        """The value of a node of xenstore. Raises XenstoreError, TimeoutError."""
        return asyncio.run(_read_node(self.path(socket_path), node))

    def answer(self, socket_path: Path, body: str) -> bytes:
        """What xapid answers on its Unix socket. Raises OSError, http.client.HTTPException."""
        connection = _UnixConnection(str(socket_path))
        try:
            connection.request("POST", "/", body, {"Content-Type": "text/xml"})
            return connection.getresponse().read(_LONGEST)
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


async def _read_node(path: Path, node: str) -> str:
    xenstore = Xenstore(path)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await xenstore.start()
            return (await xenstore.read(node)).decode(errors="replace")
    finally:
        await xenstore.close()
