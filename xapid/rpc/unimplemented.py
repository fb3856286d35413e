"""The messages that the datamodel declares and nothing implements yet; this list only shrinks."""

from __future__ import annotations

from typing import Final

NOT_YET: Final[frozenset[str]] = frozenset()
