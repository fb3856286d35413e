"""Guests whose disk a qemu serves: a real one without Xen, and one that is played.

Both keep to what libxl's qemus do as far as storage notices: the image is opened without locks,
a QMP socket of the guest's number is there, and xenstore tells which image it was given.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from xapid.storage.branches import FLOCK
from xapid.storage.qcow2 import read_header
from xapid.xen.qmp import converse
from xapid.xen.xenstore_wire import XenstoreNotFound

from .images import fill, info, shows

MIB = 1 << 20
QEMU = "qemu-system-x86_64"
HAS_QEMU = shutil.which(QEMU) is not None
BACKENDS = "/local/domain/0/backend/qdisk"
SIZE_AT = 24
"""Where the header of a qcow2 image has its size."""


class Guest(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def write(self, value: int, at: int = 0) -> None: ...

    async def shows(self, value: int, at: int = 0) -> bool: ...

    async def size(self) -> int: ...


class Backends:
    """As much of xenstore as says which guest was given which image."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self._params = {f"{BACKENDS}/{device}/params": text for device, text in params.items()}

    async def directory(self, path: str) -> list[str]:
        below = [p[len(path) + 1 :] for p in self._params if p.startswith(f"{path}/")]
        if not below:
            raise XenstoreNotFound(path)
        return sorted({p.partition("/")[0] for p in below})

    async def read(self, path: str) -> bytes:
        return self._params[path].encode()


class RealQemu:
    """A qemu whose emulated disk is the image; its own NBD server writes for its guest."""

    def __init__(self, image: Path, socket: Path) -> None:
        self._image = image
        self._socket = socket
        self._own = socket.with_name("own")
        self._nbd = socket.with_name("nbd")
        self._pidfile = socket.with_name("pid")

    async def start(self) -> None:
        file = {"driver": "file", "filename": str(self._image), "locking": "off"}
        node = {"driver": "qcow2", "node-name": "xvda-qcow2", "file": file}
        device = "scsi-hd,drive=xvda-qcow2,share-rw=on,id=xvda"
        command = [
            *(QEMU, "-machine", "pc,accel=tcg", "-nodefaults", "-display", "none", "-m", "16"),
            *("-S", "-daemonize", "-pidfile", self._pidfile, "-device", "virtio-scsi-pci"),
            *("-blockdev", json.dumps(node), "-device", device),
            *("-qmp", f"unix:{self._socket},server=on,wait=off"),
            *("-qmp", f"unix:{self._own},server=on,wait=off"),
        ]
        started = await asyncio.create_subprocess_exec(*command)
        assert await started.wait() == 0
        async with converse(self._own) as qmp:
            address = {"type": "unix", "data": {"path": str(self._nbd)}}
            await qmp.execute("nbd-server-start", {"addr": address})

    async def stop(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            pid = int(self._pidfile.read_text())
            with contextlib.suppress(ProcessLookupError):
                gone = os.pidfd_open(pid)
                os.kill(pid, signal.SIGTERM)
                ended = asyncio.Event()
                asyncio.get_running_loop().add_reader(gone, ended.set)
                await ended.wait()
                asyncio.get_running_loop().remove_reader(gone)
                os.close(gone)

    async def _block(self) -> dict[str, Any]:
        async with converse(self._own) as qmp:
            [device] = await qmp.execute("query-block")
            inserted: dict[str, Any] = device["inserted"]
        return inserted

    async def _io(self, command: str) -> str:
        node = (await self._block())["node-name"]
        disk = f"nbd+unix:///guest?socket={self._nbd}"
        export = {"type": "nbd", "id": "guest", "name": "guest", "node-name": node}
        async with converse(self._own) as qmp:
            await qmp.execute("block-export-add", export | {"writable": True})
            shown = await ran(["qemu-io", "-f", "raw", "-c", command, disk])
            await qmp.execute("block-export-del", {"id": "guest", "mode": "hard"})
        return shown

    async def write(self, value: int, at: int = 0) -> None:
        assert "wrote" in await self._io(f"write -P {value} {at} {MIB}")

    async def shows(self, value: int, at: int = 0) -> bool:
        return "failed" not in await self._io(f"read -P {value} {at} {MIB}")

    async def size(self) -> int:
        return int((await self._block())["image"]["virtual-size"])


class PlayedQemu:
    """Speaks QMP and has images open as a qemu has; `fill` writes for its guest.

    refuses: the commands that it says no to. hangs_up: those on which it ends the conversation
    without an answer, after it did them or ("before") without doing them.
    """

    def __init__(self, image: Path, socket: Path) -> None:
        self._image = image
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._talks: list[asyncio.Task[Any]] = []
        self._opened: list[tuple[Path, int, str]] = []
        self.devices = 1
        self.refuses: set[str] = set()
        self.hangs_up: dict[str, str] = {}

    async def start(self) -> None:
        self._open(self._image, lock=False)
        self._server = await asyncio.start_unix_server(self._serve, self._socket)

    def _open(self, path: Path, *, lock: bool) -> None:
        fd = os.open(path, os.O_RDWR)
        if lock:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_RDLCK, 0, 150, 1, 0))
        self._opened.insert(0, (path, fd, read_header(fd).backing))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.gather(*self._talks)
        for _, fd, _ in self._opened:
            os.close(fd)
        self._opened.clear()

    def _now(self) -> Path:
        """The image that the guest writes to, by a name that it has."""
        inode = os.fstat(self._opened[0][1]).st_ino
        return next(p for p in sorted(self._image.parent.iterdir()) if p.stat().st_ino == inode)

    async def write(self, value: int, at: int = 0) -> None:
        await asyncio.to_thread(fill, self._now(), value, at)

    async def shows(self, value: int, at: int = 0) -> bool:
        return await asyncio.to_thread(shows, self._now(), value, at)

    async def size(self) -> int:
        return int((await asyncio.to_thread(info, self._now()))["virtual-size"])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.append(talk)
        writer.write(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                asked = json.loads(line)
                writer.write(b'{"event": "NICE", "data": {"id": 1}}\r\n')
                answer = self._answer(asked["execute"], asked["arguments"])
                if answer is None:
                    break
                writer.write(json.dumps(answer | {"id": asked["id"]}).encode() + b"\r\n")
        writer.transport.abort()

    def _answer(self, command: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        if command in self.refuses:
            return {"error": {"class": "GenericError", "desc": "not today"}}
        if self.hangs_up.get(command) == "before":
            return None
        given: Any = {}
        if command == "query-block":
            given = [{"device": "", "qdev": "x", "inserted": self._inserted()}] * self.devices
        elif command == "block_resize":
            os.pwrite(self._opened[0][1], struct.pack(">Q", arguments["size"]), SIZE_AT)
        elif command == "blockdev-snapshot-sync":
            assert arguments["mode"] == "existing" and arguments["format"] == "qcow2"
            self._open(Path(arguments["snapshot-file"]), lock=True)
        return None if command in self.hangs_up else {"return": given}

    def _inserted(self) -> dict[str, Any]:
        image: dict[str, Any] = {}
        for path, _, backing in reversed(self._opened):
            below = {"backing-image": image, "backing-filename": backing} if backing else {}
            file = {"driver": "file", "filename": str(path)}
            image = {"filename": "json:" + json.dumps({"driver": "qcow2", "file": file})} | below
        return {"node-name": f"node{len(self._opened)}", "image": image}


async def ran(command: list[str | Path]) -> str:
    """What a program printed."""
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout.strip()
