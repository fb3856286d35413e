"""The qemus that serve disk images to guests, found through xenstore and asked over QMP.

libxl opens two sockets for each qemu: one is libxl's own, the other is there for xenstat. This
uses the second, so that no operation of libxl ever waits for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from ...storage.driver import BackendFailure, NotSupported, VolumeInUse
from ...storage.served import Undecided
from ...xen.qmp import Qmp, QmpLost, QmpRefused, QmpUnreachable, converse
from ...xen.xenstore import Nodes
from ...xen.xenstore_wire import XenstoreError, XenstoreNotFound

BACKENDS: Final = "/local/domain/0/backend/qdisk"
SOCKETS: Final = Path("/run/xen")
NODE_NAME: Final = re.compile(r"[A-Za-z0-9_.#-]{1,31}")
MAX_CHAIN: Final = 256
JSON_NAME: Final = "json:"


class QemuDisk:
    """Implements `Served`. node: what the qemu calls the image that the guest writes to."""

    def __init__(self, qmp: Qmp, node: str, opened_as: str, leans_on: str) -> None:
        self._qmp = qmp
        self._node = node
        self._opened_as = opened_as
        self._leans_on = leans_on

    @property
    def leans_on(self) -> str:
        return self._leans_on

    @property
    def opened_as(self) -> str:
        return self._opened_as

    async def grow(self, size: int) -> None:
        await self._ask("block_resize", {"node-name": self._node, "size": size})

    async def go_on_in(self, path: str) -> None:
        # An image of this kind belongs to the disk alone, so it is closed with it. Its name in
        # qemu is that of its file, which no other image ever has.
        overlay = f"xapid-{Path(path).name[:13]}"
        await self._ask(
            "blockdev-snapshot-sync",
            {
                "node-name": self._node,
                "snapshot-file": path,
                "snapshot-node-name": overlay,
                "format": "qcow2",
                "mode": "existing",
            },
        )
        self._node, self._opened_as = overlay, path

    async def _ask(self, command: str, arguments: dict[str, Any]) -> None:
        try:
            await self._qmp.execute(command, arguments)
        except QmpRefused as error:
            raise BackendFailure(str(error)) from error
        except QmpLost as error:
            raise Undecided(str(error)) from error


class QemuServers:
    """Implements `Servers`. sockets: where libxl has qemu open its sockets."""

    def __init__(self, xenstore: Nodes, sockets: Path = SOCKETS) -> None:
        self._xenstore = xenstore
        self._sockets = sockets

    @asynccontextmanager
    async def serving(self, path: str) -> AsyncIterator[QemuDisk]:
        with _unreachable(path):
            domains = await self._domains(path)
        if not domains:
            raise NotSupported(f"no qemu of a guest serves {path}")
        if len(domains) > 1:
            raise VolumeInUse(path)
        with _unreachable(path):
            async with converse(self._sockets / f"qmp-libxenstat-{domains[0]}") as qmp:
                yield await _find(qmp, path)

    async def _domains(self, path: str) -> list[int]:
        """The domids of the guests that were given this image."""
        domids = [name for name in await self._children(BACKENDS) if name.isdecimal()]
        given = await asyncio.gather(*(self._was_given(domid, path) for domid in domids))
        return [int(domid) for domid, it_was in zip(domids, given, strict=True) if it_was]

    async def _was_given(self, domid: str, path: str) -> bool:
        for device in await self._children(f"{BACKENDS}/{domid}"):
            try:
                params = await self._xenstore.read(f"{BACKENDS}/{domid}/{device}/params")
            except XenstoreNotFound:
                continue
            if params.decode(errors="replace").partition(":")[2] == path:
                return True
        return False

    async def _children(self, path: str) -> list[str]:
        try:
            return await self._xenstore.directory(path)
        except XenstoreNotFound:
            return []


@contextmanager
def _unreachable(path: str) -> Iterator[None]:
    try:
        yield
    except XenstoreError as error:
        raise BackendFailure(f"it is not known who serves {path}: {error}") from error
    except QmpUnreachable as error:
        raise BackendFailure(f"the qemu that serves {path} cannot be asked: {error}") from error


async def _find(qmp: Qmp, path: str) -> QemuDisk:
    """The one device of this qemu that shows the image opened as `path`.

    What a snapshot put on it is on top then; an emulated drive that the guest did not give up is
    a second device on the same image.
    """
    try:
        devices = await qmp.execute("query-block")
    except (QmpRefused, QmpLost) as error:
        raise BackendFailure(f"the qemu that serves {path} does not say so: {error}") from error
    told = devices if isinstance(devices, list) else []
    inserted = [each.get("inserted") for each in told if isinstance(each, dict)]
    found = [each for each in inserted if isinstance(each, dict) and path in _opened(each)]
    if not found:
        raise NotSupported(f"no device of the guest has {path}")
    if len(found) > 1:
        raise VolumeInUse(path)
    node, image = found[0].get("node-name"), found[0]["image"]
    if not isinstance(node, str) or not NODE_NAME.fullmatch(node):
        raise BackendFailure(f"the qemu that serves {path} does not name it")
    backing = image.get("backing-filename", "")
    opened_as = _opened(found[0])[0]
    return QemuDisk(qmp, node, opened_as, backing if isinstance(backing, str) else "")


def _opened(inserted: dict[str, Any]) -> list[str]:
    """The paths by which a device's images were opened, the top one first."""
    paths: list[str] = []
    image = inserted.get("image")
    while isinstance(image, dict) and len(paths) < MAX_CHAIN:
        paths.append(_plain(image.get("filename")))
        image = image.get("backing-image")
    return paths


def _plain(name: object) -> str:
    """The path in what qemu calls an image: that, or its options as JSON."""
    if not isinstance(name, str):
        return ""
    if not name.startswith(JSON_NAME):
        return name
    try:
        options: Any = orjson.loads(name.removeprefix(JSON_NAME))
    except ValueError:
        return ""
    file = options.get("file") if isinstance(options, dict) else None
    path = file.get("filename") if isinstance(file, dict) else None
    return path if isinstance(path, str) else ""
