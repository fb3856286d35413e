"""How soon readers hear of a change: one, and the first and the last of many that wait.

`python bench/events.py [READERS]` starts a daemon on the mock, lets the readers wait in
`event.next`, changes a name again and again, and prints medians. Figures are of this machine only.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROUNDS: Final = 20
READERS: Final = 1_000
VALUE: Final = re.compile(rb"<name>Value</name><value>(.*?)</value>")


class Caller:
    """One connection to the daemon's Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connected(cls, path: Path) -> Caller:
        return cls(*await asyncio.open_unix_connection(path))

    async def __call__(self, method: str, *params: str) -> bytes:
        """The answer's text. `params` are <value> elements' contents."""
        values = "".join(f"<param><value>{value}</value></param>" for value in params)
        body = (
            f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>"
        )
        head = (
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}"
        )
        self._writer.write(f"{head}\r\n\r\n{body}".encode())
        await self._writer.drain()
        answered = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", answered)
        assert length is not None, answered
        answer = await self._reader.readexactly(int(length[1]))
        assert b"<value>Success</value>" in answer, answer
        return answer

    async def value(self, method: str, *params: str) -> str:
        found = VALUE.search(await self(method, *params))
        assert found is not None
        return found[1].decode()

    def close(self) -> None:
        self._writer.close()


async def measure(path: Path, password: str, readers: int) -> tuple[list[float], list[float]]:
    """Seconds from the change's call to the first reader's answer, and to the last one's."""
    changer = await Caller.connected(path)
    session = await changer.value("session.login_with_password", "root", password)
    record = "<struct><member><name>name_label</name><value>x</value></member></struct>"
    network = await changer.value("network.create", session, record)
    waiting = []
    for _ in range(readers):
        caller = await Caller.connected(path)
        own = await caller.value("session.login_with_password", "root", password)
        await caller("event.register", own, "<array><data><value>network</value></data></array>")
        waiting.append((caller, own))
    firsts, lasts = [], []
    for number in range(ROUNDS):

        async def heard(caller: Caller, own: str) -> float:
            await caller("event.next", own)
            return time.perf_counter()

        answers = [asyncio.create_task(heard(*each)) for each in waiting]
        await asyncio.sleep(0.5 + readers / 1_000)  # until all of them wait
        began = time.perf_counter()
        await changer("network.set_name_label", session, network, f"name {number}")
        moments = await asyncio.gather(*answers)
        firsts.append(min(moments) - began)
        lasts.append(max(moments) - began)
    for caller, _ in waiting:
        caller.close()
    changer.close()
    return firsts, lasts


async def main(readers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="xapid-bench-") as directory:
        state = Path(directory)
        settings = state / "xapid.toml"
        settings.write_text(
            "[listen]\nunix_connections = 2000\n[sessions]\nper_user = 2000\ntotal = 2000\n"
        )
        command = [sys.executable, "-m", "xapid", "--config", str(settings), "--xen", "mock"]
        command += ["--state-dir", str(state), "--https", "127.0.0.1:0"]
        daemon = await asyncio.create_subprocess_exec(
            *command,
            *("--socket", str(state / "s")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert daemon.stdout is not None
            assert await daemon.stdout.readline()
            password = (state / "root-password").read_text().strip()
            alone = 0.0
            for count in (1, readers):
                firsts, lasts = await measure(state / "s", password, count)
                alone = alone or statistics.median(lasts)
                print(
                    f"{count} waiting: the first hears after"
                    f" {statistics.median(firsts) * 1000:.1f} ms, the last after"
                    f" {statistics.median(lasts) * 1000:.1f} ms (median of {ROUNDS}),"
                    f" {statistics.median(lasts) / alone:.0f} times as late as one alone"
                )
        finally:
            daemon.terminate()
            await daemon.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else READERS))
