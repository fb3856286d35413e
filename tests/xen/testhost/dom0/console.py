"""Runs in dom0: gives one command to the agent on a guest's console and writes what it answers.

Usage: console.py TTY TIMEOUT_S COMMAND. The exit status is the command's, or 254 when the guest
does not answer in time.
"""

import os
import secrets
import select
import sys
import termios
import time
import tty

NO_ANSWER = 254
# A guest that still boots loses what is typed; the agent runs what it gets twice only once.
REPEAT_S = 4.0


def main() -> int:
    path, timeout_s, command = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    console = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(console)
    termios.tcflush(console, termios.TCIFLUSH)
    name = secrets.token_hex(4)
    begin, end = f"\n@@{name}<\n".encode(), f"\n@@{name}>".encode()
    deadline = time.monotonic() + timeout_s
    repeat_at = 0.0
    seen = b""
    while time.monotonic() < deadline:
        started = begin in seen
        if not started and time.monotonic() >= repeat_at:
            write(console, f"\n{name} {command}\n".encode())
            repeat_at = time.monotonic() + REPEAT_S
        if started and end in seen:
            output, _, status = seen.split(begin, 1)[1].partition(end)
            if b"\n" in status:
                sys.stdout.buffer.write(output)
                return int(status.split(b"\n", 1)[0])
        seen += read(console)
    sys.stderr.write(f"no answer on {path} within {timeout_s:.0f} s; the console's last words:\n")
    sys.stderr.write(seen[-2000:].decode(errors="replace") + "\n")
    return NO_ANSWER


def read(console: int) -> bytes:
    """What the console has within a short while, without carriage returns."""
    if not select.select([console], [], [], 0.5)[0]:
        return b""
    try:
        return os.read(console, 65536).replace(b"\r", b"")
    except (BlockingIOError, InterruptedError):
        return b""


def write(console: int, data: bytes) -> None:
    while data and select.select([], [console], [], 5)[1]:
        data = data[os.write(console, data) :]


if __name__ == "__main__":
    sys.exit(main())
