"""The frames that xapid and xapid-xen exchange, and the limits both sides keep.

A frame is a 4-byte big-endian length and that many bytes of one JSON object. The client sends
`{"id", "op", "args", "call"}` and `{"cancel": id}`; the worker answers `{"id", "ok"}` or
`{"id", "error"}`, before that perhaps `{"id", "progress"}`, and at any time sends
`{"event": "domains", "domains", "generation"}`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import orjson

MAX_FRAME = 16 << 20
"""Bytes of one frame's JSON; a list of 6,000 domains is about 2 MiB."""

MAX_REQUESTS = 4096
"""Requests of one client that may be unanswered at the same time."""

CALL_ID = re.compile(r"([0-9a-f]{8})?")
"""The id of the call of a client that a request is part of, which goes into the log; or none."""

LOG_LINES = 20
"""How many of an operation's last libxl log lines go with its error."""

DOMAIN_NAME_PREFIX = "xapid-"
"""What the Xen name of each domain of ours begins with; its uuid follows."""

READY = b"R"
"""What the worker writes to its parent's socket once it accepts a connection."""

EXIT_USAGE = 64
EXIT_NO_XEN = 69
EXIT_BUG = 70
EXIT_STUCK = 75

HOST_OPERATIONS = frozenset(
    {
        "hello",
        "physinfo",
        "cpu_topology",
        "numa_info",
        "version_info",
        "free_memory",
        "scheduler",
        "sample",
        "debug_keys",
        "console_read",
        "need_memory",
    }
)
DOMAIN_OPERATIONS = frozenset(
    {
        "domain_list",
        "domain_create",
        "domain_restore",
        "domain_suspend",
        "domain_resume",
        "domain_pause",
        "domain_unpause",
        "domain_shutdown",
        "domain_reboot",
        "domain_destroy",
        "domain_config",
        "userdata_get",
        "userdata_set",
        "rename",
        "core_dump",
        "send_trigger",
        "send_sysrq",
        "console_tty",
    }
)
TUNING_OPERATIONS = frozenset(
    {
        "set_memory_target",
        "set_max_memory",
        "memory_target",
        "set_paging_memory",
        "set_vcpu_online",
        "set_vcpu_affinity",
        "sched_set",
        "sched_get",
        "vcpu_list",
    }
)
DEVICE_OPERATIONS = frozenset(
    {
        "disk_add",
        "disk_remove",
        "disk_list",
        "cdrom_insert",
        "nic_add",
        "nic_remove",
        "nic_list",
    }
)
MOCK_OPERATIONS = frozenset(
    {
        "mock_set",
        "mock_get",
        "mock_domain",
        "mock_ask",
        "mock_fail",
        "mock_release",
        "mock_hanging",
        "mock_reset",
    }
)
OPERATIONS = (
    HOST_OPERATIONS | DOMAIN_OPERATIONS | TUNING_OPERATIONS | DEVICE_OPERATIONS | MOCK_OPERATIONS
)

_LENGTH = struct.Struct(">I")
HEADER_SIZE = _LENGTH.size


class ProtocolError(Exception):
    """The peer sent what is not a frame of this protocol; the connection cannot go on."""


def encode(message: dict[str, Any]) -> bytes:
    """Make the frame of `message`. Raises ProtocolError when it would be larger than MAX_FRAME."""
    body = orjson.dumps(message)
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(body)} bytes is larger than {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """Read the length of the body that follows `header`. Raises ProtocolError beyond MAX_FRAME."""
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME:
        raise ProtocolError(f"a frame of {length} bytes is larger than {MAX_FRAME}")
    return int(length)


def decode_body(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """Read one frame's body. Raises ProtocolError when it is not a JSON object."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("a frame is not a JSON object")
    return message


class FrameDecoder:
    """Cuts the bytes of one connection into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield each message that `data` completes. Raises ProtocolError; then stop using it."""
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            end = HEADER_SIZE + body_length(bytes(self._buffer[:HEADER_SIZE]))
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEADER_SIZE:end])
            del self._buffer[:end]
            yield decode_body(body)
