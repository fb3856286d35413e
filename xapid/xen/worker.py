"""The xapid-xen process as a child: started, its log passed on, its end noticed and asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

import xapid

from .errors import XenUnavailable
from .protocol import EXIT_NO_XEN

log = structlog.get_logger("xapid-xen")

_LINE = re.compile(rb"(debug|info|warning|error)(?:\[([0-9a-f]{8})\])? (.*)")
_READ_SIZE = 1 << 16
_LONGEST_LINE = 1 << 13
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How to start xapid-xen. Times in seconds."""

    socket_path: Path
    lock_path: Path
    xen: str
    contexts: int = 16
    builds: int = 4
    poll_s: float = 2.0
    stop_within_s: float = 60.0
    environment: tuple[tuple[str, str], ...] = ()
    log_level: str = "debug"

    def arguments(self, parent_fd: int | None) -> list[str]:
        """Return the whole command line; parent_fd: None for a worker that runs by itself."""
        # -P: never import from the directory that xapid happens to run in.
        return [
            *(sys.executable, "-P", "-m", "xapid.xenworker"),
            *("--socket", str(self.socket_path), "--lock", str(self.lock_path)),
            *("--xen", self.xen),
            *(("--parent-fd", str(parent_fd)) if parent_fd is not None else ()),
            *("--contexts", str(self.contexts), "--builds", str(self.builds)),
            *("--poll-ms", str(round(self.poll_s * 1000))),
            *("--stop-ms", str(round(self.stop_within_s * 1000))),
            *("--log-level", self.log_level),
        ]


class WorkerProcess:
    """One run of the worker."""

    def __init__(self, process: asyncio.subprocess.Process, lifeline: socket.socket) -> None:
        self.process = process
        self._lifeline = lifeline
        self._pump: _LogPump | None = None
        self.last_error = ""
        """The last error it logged, which tells why it ended."""

    @classmethod
    async def spawn(cls, command: WorkerCommand) -> WorkerProcess:
        """Start it. It ends itself when this process does. Raises OSError."""
        lifeline, theirs = socket.socketpair()
        lifeline.setblocking(False)
        # Not asyncio's own pipe: qemu inherits its end and would keep wait() waiting.
        log_in, log_out = os.pipe()
        os.set_blocking(log_in, False)
        package = str(Path(xapid.__file__).parent.parent)
        try:
            process = await asyncio.create_subprocess_exec(
                *command.arguments(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log_out,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **dict(command.environment), "PYTHONPATH": package},
                # Signals from a terminal are for xapid, not for the worker and the guests' qemus.
                start_new_session=True,
            )
        except BaseException:
            lifeline.close()
            os.close(log_in)
            raise
        finally:
            theirs.close()
            os.close(log_out)
        worker = cls(process, lifeline)
        worker._pump = _LogPump(log_in, worker)
        return worker

    async def wait_ready(self) -> None:
        """Return when it accepts connections. Raises XenUnavailable when it ends instead."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            if await loop.sock_recv(self._lifeline, 1):
                return
        code = await self.process.wait()
        self._hear_out()
        raise XenUnavailable(self.describe_end(code))

    def describe_end(self, code: int) -> str:
        """Say in one sentence why it ended."""
        if code == EXIT_NO_XEN and self.last_error:
            return self.last_error
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"xapid-xen {how}" + (f": {self.last_error}" if self.last_error else "")

    async def stop(self, within_s: float) -> None:
        """Tell it to end, wait for its clean-up, and kill it when that takes too long."""
        self._lifeline.close()
        try:
            async with asyncio.timeout(within_s + _GRACE_S):
                await self.process.wait()
        except TimeoutError:
            log.error("xapid-xen does not end and is killed", pid=self.process.pid)
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self._hear_out()

    def _hear_out(self) -> None:
        """Pass on its last words; what its children may still write is nobody's concern."""
        if self._pump is not None:
            self._pump.close()
            self._pump = None


class _LogPump:
    """Passes the worker's log lines on without ever blocking."""

    def __init__(self, fd: int, worker: WorkerProcess) -> None:
        self._fd = fd
        self._worker = worker
        self._partial = b""
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def close(self) -> None:
        """Pass on what is there and stop."""
        while self._read():
            pass
        if not self._closed:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> bool:
        """Pass on what there is. Returns False when there is no more for now."""
        if self._closed:
            return False
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial[:_LONGEST_LINE]
        for line in lines:
            self._pass_on(line)
        return True

    def _pass_on(self, line: bytes) -> None:
        match = _LINE.fullmatch(line)
        level = match[1].decode() if match else "warning"
        text = (match[3] if match else line).decode("utf-8", "replace")
        about = {"call": match[2].decode()} if match and match[2] else {}
        if level == "error":
            self._worker.last_error = text
        getattr(log, level)(text, pid=self._worker.process.pid, **about)
