"""What the files of a directory of images are called, and what that says of their state.

A raw image is `<uuid>.raw`, a qcow2 one `<uuid>.qcow2`. While it is made its name ends in `staged`,
once it is to go in `retired`. `<uuid>.base` is a qcow2 image that only others lean on, and
`<uuid>.qcow2-next`, of the same uuid, the image on it that is about to take a volume's name.
`<uuid>.json` is the label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from .driver import LocationInvalid, NoSpace

Format = Literal["raw", "qcow2"]
FORMATS: Final[tuple[Format, ...]] = ("raw", "qcow2")

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
UUID_PATTERN = re.compile(UUID)
LIVE = re.compile(rf"({UUID})\.(raw|qcow2)")
BASE = re.compile(rf"({UUID})\.base")
OURS = re.compile(
    rf"({UUID})\.(raw|staged|retired|qcow2|qcow2-staged|qcow2-retired|qcow2-next|base|json|json\.new)"
)
NEXT = re.compile(rf"({UUID})\.qcow2-next")
QCOW2_SUFFIXES = (".qcow2", ".qcow2-staged", ".qcow2-retired", ".qcow2-next", ".base")
ALIGNMENT = 4096
MAX_SIZE = 64 << 40
"""More than file systems can hold in one file; beyond it arithmetic on sectors gets unsafe."""


@dataclass(frozen=True)
class Image:
    """One volume's names."""

    uuid: str
    format: Format

    @property
    def live(self) -> str:
        return f"{self.uuid}.{self.format}"

    @property
    def staged(self) -> str:
        return f"{self.uuid}.staged" if self.format == "raw" else f"{self.uuid}.qcow2-staged"

    @property
    def retired(self) -> str:
        return f"{self.uuid}.retired" if self.format == "raw" else f"{self.uuid}.qcow2-retired"

    @property
    def label(self) -> str:
        return f"{self.uuid}.json"


def image_at(location: str) -> Image:
    """The volume that a location names. Raises LocationInvalid."""
    match = LIVE.fullmatch(location)
    if match is None:
        raise LocationInvalid(location)
    return Image(match[1], "raw" if match[2] == "raw" else "qcow2")


def aligned(size: int) -> int:
    """The size an image gets: whole 4 KiB sectors, which every block size divides.

    Raises NoSpace for more than any image can have.
    """
    if size > MAX_SIZE:
        raise NoSpace(size, MAX_SIZE)
    return -(-size // ALIGNMENT) * ALIGNMENT
