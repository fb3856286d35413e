"""What every kind of storage can do, whatever is beneath it.

A `Driver` is a kind (its SM record); a `Repository` is one SR of that kind, attached to this host.

The database is the commit point of each change to the set of volumes, so that a kill at any moment
leaves the old state or the new one. A new volume is *staged*, its record is committed, and then it
is *published*; one that goes is *retired*, its record is destroyed, and then it is *purged*. `scan`
is told which volumes the database knows and finishes or takes back what was cut short.
"""

# ruff: noqa: N818 (errors read as the complaint)

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Progress = Callable[[float], None]
"""Told how far a long step has come, 0 to 1; called on the event loop."""


def no_progress(_fraction: float) -> None:
    """For callers that nobody watches."""


class Capability(enum.StrEnum):
    """What a driver may be able to do, in the words of SM.capabilities."""

    SR_PROBE = "SR_PROBE"
    SR_UPDATE = "SR_UPDATE"
    VDI_CREATE = "VDI_CREATE"
    VDI_DELETE = "VDI_DELETE"
    VDI_ATTACH = "VDI_ATTACH"
    VDI_DETACH = "VDI_DETACH"
    VDI_CLONE = "VDI_CLONE"
    VDI_SNAPSHOT = "VDI_SNAPSHOT"
    VDI_SNAPSHOT_IN_USE = "VDI_SNAPSHOT_IN_USE"
    VDI_RESIZE = "VDI_RESIZE"
    VDI_RESIZE_ONLINE = "VDI_RESIZE_ONLINE"
    VDI_INTRODUCE = "VDI_INTRODUCE"


@dataclass(frozen=True)
class DriverInfo:
    """What an SM record says of a driver; `configuration` explains each key of device_config.

    lacking: what volumes cannot do whose location ends so, although others of the driver can.
    """

    type: str
    name: str
    description: str
    configuration: Mapping[str, str]
    required: frozenset[str]
    capabilities: frozenset[Capability]
    lacking: Mapping[str, frozenset[Capability]] = field(default_factory=dict)
    content_type: str = "user"
    shareable: bool = False
    vendor: str = "xapid"
    copyright: str = "Apache-2.0"
    version: str = "1.0"


@dataclass(frozen=True)
class VolumeLabel:
    """What storage remembers of a volume, for the day when the database does not."""

    name: str = ""
    description: str = ""
    kind: str = "user"
    read_only: bool = False
    sharable: bool = False


@dataclass(frozen=True)
class NewVolume:
    """A volume to be made. size: bytes, rounded up to what the storage can do."""

    uuid: str
    size: int
    label: VolumeLabel = field(default_factory=VolumeLabel)


@dataclass(frozen=True)
class Volume:
    """A volume as it is on the storage; sizes in bytes. label: None when nothing remembers it."""

    uuid: str
    location: str
    virtual_size: int
    physical_utilisation: int
    label: VolumeLabel | None = None


@dataclass(frozen=True)
class Space:
    """Bytes of the whole repository, and how many of them nobody can use any more."""

    total: int
    used: int

    @property
    def free(self) -> int:
        return max(0, self.total - self.used)


@dataclass(frozen=True)
class Access:
    """How a domain, or the daemon itself, opens an active volume."""

    path: str
    format: Literal["raw", "qcow2"] = "raw"
    backend: Literal["phy", "qdisk"] = "phy"
    direct_io_safe: bool = False


@dataclass(frozen=True)
class Found:
    """An SR that `probe` came across; uuid is "" where there could be one but is none.

    The keys of device_config are the driver's own, whatever else the client gave.
    """

    uuid: str
    device_config: Mapping[str, str]
    name: str = ""
    size: int = 0


class StorageError(Exception):
    """Storage could not do what it was asked for."""


class ConfigInvalid(StorageError):
    """A key of device_config has a value that the driver cannot or must not use."""

    def __init__(self, key: str, value: str, reason: str) -> None:
        super().__init__(f"{key}={value[:256]!r}: {reason}")
        self.key = key
        self.value = value
        self.reason = reason


class ConfigMissing(StorageError):
    """device_config lacks a key that the driver needs."""

    def __init__(self, key: str) -> None:
        super().__init__(f"device_config has no {key!r}")
        self.key = key


class RepositoryInUse(StorageError):
    """The place already holds another SR, or one that is attached."""


class RepositoryMissing(StorageError):
    """There is no such SR at that place."""


class RepositoryNotEmpty(StorageError):
    """The SR still holds volumes."""


class NoSpace(StorageError):
    """The volume does not fit. requested, available: bytes."""

    def __init__(self, requested: int, available: int) -> None:
        super().__init__(f"{requested} bytes asked for, {available} available")
        self.requested = requested
        self.available = available


class VolumeMissing(StorageError):
    """The volume is not there."""

    def __init__(self, location: str) -> None:
        super().__init__(f"there is no volume {location}")
        self.location = location


class VolumeExists(StorageError):
    """A volume with that identity is already there."""

    def __init__(self, location: str) -> None:
        super().__init__(f"the volume {location} exists already")
        self.location = location


class LocationInvalid(StorageError):
    """A location that no volume of this driver can have."""

    def __init__(self, location: str) -> None:
        super().__init__(f"{location[:256]!r} is not a location of this kind of storage")
        self.location = location


class VolumeInUse(StorageError):
    """The volume is active, so it cannot go."""

    def __init__(self, location: str) -> None:
        super().__init__(f"the volume {location} is in use")
        self.location = location


class ShrinkRefused(StorageError):
    """Making a volume smaller would cut off data. minimum: bytes."""

    def __init__(self, location: str, minimum: int) -> None:
        super().__init__(f"{location} cannot be smaller than {minimum} bytes")
        self.minimum = minimum


class NotSupported(StorageError):
    """This driver cannot do that at all."""


class StorageTimeout(StorageError):
    """The storage did not answer in time."""


class BackendFailure(StorageError):
    """The operating system or a tool refused; the message says what."""


class Repository(Protocol):
    """An SR that is attached to this host. Every method may raise StorageError.

    A location names a volume within the repository; the ones it does not know raise VolumeMissing.
    A call that fails or is cancelled has changed nothing, except that a cancelled `publish`,
    `reinstate`, `purge` or `resize` may have been carried out all the same.
    """

    @property
    def served_by_qemu(self) -> bool:
        """Whether guests get its new volumes through a qemu."""

    async def detach(self) -> None:
        """Let go of the SR; the object is of no more use."""

    async def destroy(self) -> None:
        """Wipe the SR from its storage and detach. Raises RepositoryNotEmpty."""

    async def stat(self) -> Space:
        """Sizes of the whole repository."""

    async def scan(self, known: Collection[str]) -> Sequence[Volume]:
        """All volumes. known: locations that the database has.

        What an earlier instance staged or retired is first settled by `known`.
        """

    async def create(self, new: NewVolume) -> Volume:
        """Stage an empty volume of at least the size. Raises NoSpace, VolumeExists."""

    async def copy(self, source: Access, new: NewVolume, progress: Progress) -> Volume:
        """Stage a volume with the content of a readable one, of any repository.

        Holes stay holes. Cancelling ends it and leaves nothing. Raises as `create` does.
        """

    async def clone(self, location: str, new: NewVolume, progress: Progress) -> Volume:
        """Stage a volume with the content of another of this SR, as cheaply as can be."""

    async def publish(self, location: str) -> None:
        """Make a staged volume one that `scan` finds. Repeating it does no harm."""

    async def retire(self, location: str) -> None:
        """Take a volume away so that only `reinstate` and `purge` find it.

        Raises VolumeInUse.
        """

    async def reinstate(self, location: str) -> None:
        """Take `retire` back."""

    async def purge(self, location: str) -> None:
        """Give back the space of a staged or retired volume. Repeating it does no harm."""

    async def resize(self, location: str, size: int) -> Volume:
        """Grow a volume to at least size bytes; a guest that has it sees that.

        Raises ShrinkRefused, NoSpace, and NotSupported for one in use where that cannot be.
        """

    async def describe(self, location: str, label: VolumeLabel) -> None:
        """Remember the label beside the volume."""

    async def look(self, location: str) -> Volume:
        """One volume as it is now. Raises VolumeMissing, LocationInvalid."""

    async def activate(self, location: str, *, writable: bool) -> Access:
        """Make a volume usable on this host. Each call is matched by a `deactivate`."""

    async def deactivate(self, location: str) -> None:
        """Take one `activate` back."""

    async def locate(self, uuid: str) -> str:
        """The location that a volume with this uuid has, or would have."""

    async def reclaimable(self) -> bool:
        """Whether `reclaim` would find something to do now."""

    async def reclaim(self, progress: Progress) -> None:
        """Give back space that volumes which are gone still hold, where that takes long.

        It gives way to everything else: a volume that somebody wants is left as it is. What
        volumes hold never changes. Cancelling ends it; nothing is lost then.
        """


class Driver(Protocol):
    """A kind of storage."""

    @property
    def info(self) -> DriverInfo: ...

    def check(self, device_config: Mapping[str, str]) -> None:
        """Check a client's device_config without touching storage.

        Raises ConfigMissing, ConfigInvalid.
        """

    def check_location(self, location: str) -> None:
        """Check a client's location. Raises LocationInvalid."""

    async def probe(self, device_config: Mapping[str, str]) -> Sequence[Found]:
        """SRs that could be introduced from there, or places that could hold one.

        Keys that are to be found out may be missing. Raises ConfigMissing, ConfigInvalid.
        """

    async def create(self, uuid: str, device_config: Mapping[str, str], name: str) -> None:
        """Prepare a new SR, not attached yet; there is none when it fails.

        Raises RepositoryInUse, ConfigMissing, ConfigInvalid.
        """

    async def attach(self, uuid: str, device_config: Mapping[str, str]) -> Repository:
        """Attach the SR. Raises RepositoryMissing, RepositoryInUse, ConfigInvalid."""

    async def close(self) -> None:
        """End whatever the driver runs."""
