"""The small files that say what a directory of images holds, for the day the database is lost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from .directory import Directory
from .driver import VolumeLabel

MARKER = "xapid-sr.json"
FORMAT = 1


@dataclass(frozen=True)
class Marker:
    """Which SR a directory holds. made: the directory was made for it, and may go with it.

    images: the format of new disks; "" where an earlier version wrote the marker.
    """

    uuid: str
    name: str
    made: bool
    images: str = ""


def read_marker(directory: Directory) -> Marker | None:
    """The SR in the directory; None when there is none, or one that cannot be read."""
    found = _read(directory, MARKER)
    default = Marker("", "", made=False)
    values = {name: found.get(name, value) for name, value in asdict(default).items()}
    if not found.get("uuid") or _other_types(values, asdict(default)):
        return None
    return Marker(**values)


def write_marker(directory: Directory, marker: Marker) -> None:
    directory.write(MARKER, orjson.dumps({"format": FORMAT} | asdict(marker)))


def read_label(directory: Directory, uuid: str) -> VolumeLabel | None:
    """What is remembered of a volume; None when nothing readable is."""
    found = _read(directory, f"{uuid}.json")
    default = VolumeLabel()
    values = {name: found.get(name, value) for name, value in asdict(default).items()}
    if not found or _other_types(values, asdict(default)):
        return None
    return VolumeLabel(**values)


def write_label(directory: Directory, uuid: str, label: VolumeLabel) -> None:
    directory.write(f"{uuid}.json", orjson.dumps({"format": FORMAT} | asdict(label)))


def _other_types(values: dict[str, Any], expected: dict[str, Any]) -> bool:
    return any(type(value) is not type(expected[name]) for name, value in values.items())


def _read(directory: Directory, name: str) -> dict[str, Any]:
    content = directory.read(name)
    try:
        found = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}
