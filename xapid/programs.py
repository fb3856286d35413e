"""Programs of the distribution: fixed arguments, no shell, a deadline, and bounded output."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

OUTPUT_KEPT: Final = 32 << 10  # bytes
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE_S: Final = 5.0
_CUT: Final = "[the beginning was cut]\n"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: its exit status (minus the signal that killed it) and what it wrote.

    errors: what it wrote to stderr, where that was wanted apart.
    """

    status: int
    output: str
    errors: str = ""

    @property
    def succeeded(self) -> bool:
        return self.status == 0


class ProgramMissing(Exception):  # noqa: N818
    """The program is not installed, or cannot be executed."""


class ProgramTookTooLong(Exception):  # noqa: N818
    """The program was ended at its deadline; `output` is what it had written."""

    def __init__(self, name: str, deadline_s: float, output: str) -> None:
        super().__init__(f"{name} did not end within {deadline_s:.0f} s")
        self.output = output


async def run(
    arguments: Sequence[str | Path],
    *,
    deadline_s: float,
    directory: Path = Path("/"),
    environment: Mapping[str, str] | None = None,
    output_kept: int = OUTPUT_KEPT,
    heard: Callable[[bytes], None] | None = None,
    errors_apart: bool = False,
) -> Finished:
    """Run a program to its end; the last `output_kept` bytes of stdout and stderr are kept.

    environment: beside PATH and the C locale; nothing of the daemon's own is handed on.
    heard: told each piece of output as it comes, for programs that say how far they are.
    errors_apart: for programs whose output is read by a machine, keep stderr out of it. The
    program leads a process group of its own, which is ended at the deadline, when the caller is
    cancelled, and when the program leaves processes behind that hold its output open.
    Raises ProgramMissing, ProgramTookTooLong.
    """
    tail, errors = _Tail(output_kept, heard), _Tail(OUTPUT_KEPT, None)
    # Pipes of our own: asyncio's process.wait() also waits for whoever else holds its pipes.
    pipes = [os.pipe(), *([os.pipe()] if errors_apart else [])]
    sources, sinks = [source for source, _ in pipes], [sink for _, sink in pipes]
    reading = (each.read(source) for each, source in zip((tail, errors), sources, strict=False))
    reader = asyncio.gather(*reading)
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, arguments),
            cwd=directory,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sinks[0],
            stderr=sinks[-1],
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramMissing(f"{arguments[0]} cannot be run: {error.strerror}") from error
    finally:
        for sink in sinks:
            os.close(sink)  # what ends the reader when nothing was started
    try:
        async with asyncio.timeout(deadline_s):
            status = await process.wait()
    except TimeoutError as error:
        await _finish(_end(process, reader))
        name = Path(arguments[0]).name
        raise ProgramTookTooLong(name, deadline_s, tail.text()) from error
    except BaseException:
        await _finish(_end(process, reader))
        raise
    await _finish(_drain(process, reader))
    return Finished(status, tail.text(), errors.text())


class _Tail:
    """The last bytes of a stream."""

    def __init__(self, kept: int, heard: Callable[[bytes], None] | None) -> None:
        self._kept = kept
        self._heard = heard
        self._held = bytearray()
        self._cut = False

    async def read(self, source: int) -> None:
        """Read a pipe to its end and close it."""
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), io.FileIO(source)
        )
        try:
            while chunk := await stream.read(1 << 16):
                if self._heard is not None:
                    self._heard(chunk)
                self._held += chunk
                if len(self._held) > self._kept:
                    del self._held[: -self._kept]
                    self._cut = True
        finally:
            transport.close()

    def text(self) -> str:
        kept = self._held.decode(errors="replace")
        return _CUT + kept if self._cut else kept


async def _end(process: asyncio.subprocess.Process, reader: asyncio.Future[list[None]]) -> None:
    """End the whole group: asked first, then forced."""
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        await process.wait()
    await _drain(process, reader)


async def _drain(process: asyncio.subprocess.Process, reader: asyncio.Future[list[None]]) -> None:
    """Read what is left; a child that holds the output open is ended with its group."""
    await asyncio.wait((reader,), timeout=1.0)
    if not reader.done():
        _signal(process, signal.SIGKILL)
        await asyncio.wait((reader,), timeout=1.0)
    reader.cancel()
    await asyncio.wait((reader,))


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """See a clean-up to its end although the caller is cancelled meanwhile."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
