"""What is printed: records as a table, in the form of old or as JSON, and text made harmless."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from .values import human_size

if TYPE_CHECKING:
    from .parameters import Parameter

NOT_THERE: Final = "<not in database>"
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal acts on, or what turns the direction of the text after it."""

_KEPT: Final = {"\n": "\n", "\t": "\t"}
_SPELLED: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
LEAST_COLUMN: Final = 12
GAP: Final = "  "


def shown(text: str) -> str:
    """Text on one line, without anything that a terminal would act on."""
    return _UNSAFE.sub(lambda found: _SPELLED.get(found[0]) or _escape(found[0]), text)


def shown_lines(text: str) -> str:
    """Text that may have several lines, without anything else that a terminal would act on."""
    return _UNSAFE.sub(lambda found: _KEPT.get(found[0]) or _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def text_of(value: Any) -> str:
    """A value in the form of old: `a; b` for a set, `k: v; l: w` for a map."""
    if value is None:
        return NOT_THERE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return "; ".join(text_of(part) for part in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {text_of(part)}" for key, part in value.items())
    return str(value)


def json_text(value: Any) -> str:
    """JSON in which every control character is spelled."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNSAFE.sub(lambda c: "\n" if c[0] == "\n" else f"\\u{ord(c[0]):04x}", text)


class Output:
    """Prints what a command found, in one of the forms: table, classic, minimal or json."""

    def __init__(self, form: str, stream: TextIO | None = None, width: int = 0) -> None:
        self.form = form
        self._stream = stream or sys.stdout
        self._width = width

    def line(self, text: str) -> None:
        self._stream.write(text + "\n")

    def records(
        self, chosen: Sequence[Parameter], rows: Sequence[Sequence[Any]], *, alone: bool = False
    ) -> None:
        """Print objects. alone: one object with all that it shows, which makes no table."""
        if self.form == "json":
            whole = [{p.name: v for p, v in zip(chosen, row, strict=True)} for row in rows]
            self.line(json_text(whole[0] if alone else whole))
        elif self.form == "minimal":
            firsts = [shown(text_of(row[0])) for row in rows if row]
            self.line(",".join(re.sub(r"([,\\])", r"\\\1", first) for first in firsts))
        elif self.form == "table" and not alone:
            self._table(chosen, rows)
        else:
            for row in rows:
                self._record(chosen, row)

    def value(self, value: Any) -> None:
        """Print one value: what a call answered, or one parameter."""
        if value is None and self.form != "json":
            value = NOT_THERE
        if self.form == "json":
            self.line(json_text(value))
        elif self.form == "minimal" and isinstance(value, list):
            self.line(",".join(shown(text_of(part)) for part in value))
        else:
            text = shown_lines(text_of(value))
            self.line(text.removesuffix("\n"))

    def _record(self, chosen: Sequence[Parameter], row: Sequence[Any]) -> None:
        """One object in the form of old: the first name to the left, the others to the right."""
        titles = [f"{p.name} ({p.mark:>3})" for p in chosen]
        width = 4 + max(map(len, titles), default=0)
        for number, (title, value) in enumerate(zip(titles, row, strict=True)):
            padded = title.ljust(width) if number == 0 else title.rjust(width)
            self.line(f"{padded}: {shown(text_of(value))}")
        self.line("\n")

    def _table(self, chosen: Sequence[Parameter], rows: Sequence[Sequence[Any]]) -> None:
        heads = [p.name for p in chosen]
        cells = [[_cell(p, v) for p, v in zip(chosen, row, strict=True)] for row in rows]
        if not rows:
            return
        right = [p.type.kind in ("int", "float") for p in chosen]
        widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
        self._squeeze(chosen, widths)
        for row in (heads, *cells):
            self.line(
                GAP.join(
                    _fitted(text, width, on_right=r)
                    for text, width, r in zip(row, widths, right, strict=True)
                ).rstrip()
            )

    def _squeeze(self, chosen: Sequence[Parameter], widths: list[int]) -> None:
        """Make the widest columns of text narrower until a line fits; uuids stay whole."""
        columns = self._width or (
            shutil.get_terminal_size().columns if self._stream.isatty() else 0
        )
        if not columns:
            return
        room = columns - len(GAP) * (len(widths) - 1)
        free = [n for n, p in enumerate(chosen) if _may_be_short(p)]
        while free and sum(widths) > room:
            widest = max(free, key=lambda n: widths[n])
            if widths[widest] <= LEAST_COLUMN:
                return
            widths[widest] -= 1


def _may_be_short(parameter: Parameter) -> bool:
    """Whether what is shown still says something when its end is cut off."""
    whole = parameter.name.endswith("uuid") or parameter.name in ("MAC", "IP")
    return parameter.type.kind in ("string", "set", "map") and not whole


def _cell(parameter: Parameter, value: Any) -> str:
    if value is None:
        return "-"
    if parameter.bytes and isinstance(value, int):
        return human_size(value) if value >= 0 else "-"
    if parameter.name == "progress" and isinstance(value, float):
        return f"{value:.0%}"
    if parameter.type.kind == "datetime":
        return str(value).replace("T", " ").removesuffix("Z")
    return shown(text_of(value))


def _fitted(text: str, width: int, *, on_right: bool) -> str:
    missing = width - _width(text)
    if missing < 0:
        while _width(text) > width - 1:
            text = text[:-1]
        return text + "…" + " " * (width - 1 - _width(text))
    return " " * missing + text if on_right else text + " " * missing


def _width(text: str) -> int:
    """The columns that text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata  # only for names that need it

    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)
