"""xenstore from inside a guest, as its agent sees it: over the guest's own /dev/xen/xenbus."""

from __future__ import annotations

import string
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from testhost.guest_console import GuestConsole
from testhost.machine import HostError

HEADER = struct.Struct("<IIII")  # type, request, transaction, length
READ, WRITE, ERROR = 2, 11, 16
PREPARE = (
    "exec 3<>/dev/xen/xenbus; "
    "a() { dd bs=4112 count=1 <&3 2>/dev/null | hexdump -v -e '1/1 \"%02x\"'; echo; }"
)
LONGEST = 3000  # a console takes lines of at most 4095 characters


@dataclass(frozen=True)
class GuestXenstore:
    """Paths are relative to the guest's own directory."""

    console: GuestConsole

    def read(self, path: str) -> bytes:
        """The value of a node. Raises HostError with xenstored's word for what is wrong."""
        (value,) = self._ask([(READ, path.encode() + b"\0")])
        return value

    def write(self, values: Mapping[str, str | bytes]) -> None:
        """Write nodes, one after the other. Raises HostError as read does."""
        asked = []
        for path, value in values.items():
            content = value.encode() if isinstance(value, str) else value
            asked.append((WRITE, path.encode() + b"\0" + content))
        self._ask(asked)

    def _ask(self, asked: list[tuple[int, bytes]]) -> list[bytes]:
        answers: list[bytes] = []
        waiting: list[str] = []
        for number, (kind, payload) in enumerate(asked):
            message = HEADER.pack(kind, number, 0, len(payload)) + payload
            step = f"printf '{_escaped(message)}' >&3; a"
            if waiting and sum(map(len, [*waiting, step])) > LONGEST:
                answers += self._run(waiting)
                waiting = []
            waiting.append(step)
        answers += self._run(waiting)
        if len(answers) != len(asked):
            raise HostError(f"{len(answers)} answers to {len(asked)} requests")
        return [_body(answer) for answer in answers]

    def _run(self, steps: list[str]) -> list[bytes]:
        words = self.console.command("; ".join([PREPARE, *steps])).split()
        return [bytes.fromhex(word) for word in words]


def _escaped(message: bytes) -> str:
    """The message as the shell's printf takes it."""
    plain = b"/._- " + string.ascii_letters.encode()
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in message)


def _body(answer: bytes) -> bytes:
    kind, _, _, length = HEADER.unpack_from(answer)
    body = answer[HEADER.size :][:length]
    if kind == ERROR:
        word = body.rstrip(b"\0").decode()
        raise HostError(f"xenstored refuses: {word}")
    return body
