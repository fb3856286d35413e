"""A file system whose server is dead: a FUSE mount that takes requests and never answers.

Usage: dead_server.py MOUNTPOINT. Prints a line once it is mounted; ending it ends the mount, and
then everything that waits for it fails. Protocol: include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

INIT = 26
IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
INIT_OUT = struct.Struct("<IIIIHHIIHHI7I")


def mount(fd: int, point: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", point.encode(), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    fd = os.open("/dev/fuse", os.O_RDWR)
    mount(fd, sys.argv[1])
    while True:
        request = os.read(fd, 1 << 17)
        _, opcode, unique, *_ = IN_HEADER.unpack_from(request)
        if opcode == INIT:
            body = INIT_OUT.pack(7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0, *[0] * 7)
            os.write(fd, OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body)
            print("mounted", flush=True)


if __name__ == "__main__":
    main()
