"""What the tags of volume groups and logical volumes say: whose they are, in which state, and how
people call them.

LVM writes all tags of a volume in one commit of its metadata, so a state never half changes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, Final

import orjson

from .driver import VolumeLabel

STAGED: Final = "xapid.staged"
RETIRED: Final = "xapid.retired"
HOST: Final = "xapid.host="
USED: Final = "xapid.used="
LABEL: Final = "xapid.label."
NAME: Final = "xapid.name."
CHUNK: Final = 400
"""Characters of one tag's value; LVM takes 1024 for the whole tag."""
MAX_TEXT: Final = 512
"""Characters kept of a name or a description: all tags live in LVM's small metadata area."""


def label_tags(label: VolumeLabel) -> list[str]:
    """The tags that remember a volume's label."""
    return _split(LABEL, asdict(kept(label)))


def kept(label: VolumeLabel) -> VolumeLabel:
    """As much of a label as tags remember."""
    return replace(label, name=label.name[:MAX_TEXT], description=label.description[:MAX_TEXT])


def read_label(tags: Iterable[str]) -> VolumeLabel | None:
    """The label that the tags remember; None when they remember none that can be read."""
    found = _join(LABEL, tags)
    default = asdict(VolumeLabel())
    if not isinstance(found, dict):
        return None
    values = {name: found.get(name, value) for name, value in default.items()}
    if any(type(value) is not type(default[name]) for name, value in values.items()):
        return None
    return VolumeLabel(**values)


def name_tags(name: str) -> list[str]:
    """The tags that remember an SR's name."""
    return _split(NAME, name[:MAX_TEXT])


def read_name(tags: Iterable[str]) -> str:
    """The name that the tags of a volume group remember; "" for none."""
    found = _join(NAME, tags)
    return found if isinstance(found, str) else ""


def value(tags: Iterable[str], prefix: str) -> str:
    """What follows `prefix` in the first tag that begins with it; "" for none."""
    return next((tag.removeprefix(prefix) for tag in sorted(tags) if tag.startswith(prefix)), "")


def read_used(tags: Iterable[str]) -> int:
    """The bytes a volume took when it was last active."""
    found = value(tags, USED)
    return int(found) if found.isdecimal() else 0


def _split(prefix: str, content: Any) -> list[str]:
    text = base64.urlsafe_b64encode(orjson.dumps(content)).decode()
    pieces = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    return [f"{prefix}{index:02}={piece}" for index, piece in enumerate(pieces)]


def _join(prefix: str, tags: Iterable[str]) -> Any:
    pieces = sorted(tag for tag in tags if tag.startswith(prefix))
    text = "".join(piece.partition("=")[2] for piece in pieces)
    try:
        return orjson.loads(base64.urlsafe_b64decode(text)) if text else None
    except (binascii.Error, orjson.JSONDecodeError, ValueError):
        return None
