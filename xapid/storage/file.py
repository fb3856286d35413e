"""The `file` kind of storage: disk images in one directory of this host.

New disks are raw unless the SR says qcow2: whatever reads a disk in the control domain, such as a
bootloader, reads raw ones. Blkback reads raw images through loop devices that libxl's block script
sets up; qcow2 images are served by a qemu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from .blocking import Threads
from .directory import check_path
from .driver import Capability, ConfigMissing, DriverInfo, Found
from .homes import FORMAT_KEY, Home, check_tools, chosen_format, format_help
from .image_names import image_at
from .images import FileRepository
from .served import NO_SERVERS, Servers

CAPABILITIES = frozenset(Capability)
"""What directories of images can do, whatever they are on."""

LACKING = {".raw": frozenset({Capability.VDI_SNAPSHOT_IN_USE})}
"""What volumes of one format cannot do all the same."""

INFO = DriverInfo(
    type="file",
    name="Directory of disk images",
    description="Sparse images, raw or qcow2, in a directory of this host.",
    configuration={
        "location": "Absolute path of the directory; made if it does not exist.",
        FORMAT_KEY: format_help("raw"),
    },
    required=frozenset({"location"}),
    capabilities=CAPABILITIES,
    lacking=LACKING,
)


class FileDriver:
    """Implements `Driver`. servers: who serves qcow2 images to guests.

    roots: where alone directories may be; empty for anywhere sensible.
    """

    info = INFO

    def __init__(self, servers: Servers = NO_SERVERS, roots: Sequence[PurePosixPath] = ()) -> None:
        self._servers = servers
        self._roots = tuple(roots)
        self._threads = Threads("file storage")

    def check(self, device_config: Mapping[str, str]) -> None:
        self._path(device_config)
        chosen_format(device_config)

    def check_location(self, location: str) -> None:
        image_at(location)

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        path = self._path(device_config)
        home = Home("location", path, "raw")
        return await self._threads.run(home.probe, {"location": str(path)})

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        home = Home("location", self._path(device_config), "raw")
        chosen = chosen_format(device_config) or "raw"
        await check_tools(chosen)
        await self._threads.run(home.make, uuid, name, chosen)

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> FileRepository:
        path = self._path(device_config)
        chosen = chosen_format(device_config)
        home = Home("location", path, "raw")
        return await home.attach(uuid, chosen, Threads(str(path)), self._servers)

    async def close(self) -> None:
        self._threads.close()

    def _path(self, device_config: Mapping[str, str]) -> PurePosixPath:
        location = device_config.get("location", "")
        if not location:
            raise ConfigMissing("location")
        return check_path("location", location, self._roots)
