"""What is printed, in each form, and that nothing in it moves the cursor."""

from __future__ import annotations

import io
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapid.xe.output import Output, json_text, shown, shown_lines
from xapid.xe.parameters import parameters

ROWS: list[list[Any]] = [["0a", "web, 1", "running"], ["0b", "data\x1b[2Jbase", "halted"]]


def printed(form: str, rows: list[list[Any]], *, width: int = 0) -> str:
    stream = io.StringIO()
    chosen = [p for p in parameters("VM") if p.name in ("uuid", "name-label", "power-state")]
    Output(form, stream, width).records(chosen, rows)
    return stream.getvalue()


def test_the_form_of_old_has_a_block_for_each_object() -> None:
    assert printed("classic", ROWS[:1]) == (
        "uuid ( RO)           : 0a\n"
        "     name-label ( RW): web, 1\n"
        "    power-state ( RO): running\n\n\n"
    )


def test_a_table_has_a_head_and_a_line_for_each_object() -> None:
    assert printed("table", ROWS).splitlines() == [
        "uuid  name-label       power-state",
        "0a    web, 1           running",
        "0b    data\\x1b[2Jbase  halted",
    ]


def test_a_table_that_is_too_wide_loses_the_end_of_names_and_never_a_uuid() -> None:
    uuid = "0a" * 18

    line = printed("table", [[uuid, "n" * 80, "running"]], width=72).splitlines()[1]

    assert line.startswith(f"{uuid}  nnnn") and "…" in line and len(line) <= 72


def test_wide_characters_keep_the_columns_in_line() -> None:
    heads, first, second = printed("table", [["1", "磁盘", "x"], ["2", "disk", "x"]]).splitlines()

    columns = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line.split("x")[0])
               for line in (first, second)]  # fmt: skip
    assert columns[0] == columns[1] == heads.index("power-state")


def test_minimal_output_has_the_first_field_with_its_commas_marked() -> None:
    stream = io.StringIO()
    chosen = [p for p in parameters("VM") if p.name == "name-label"]

    Output("minimal", stream).records(chosen, [["a,b"], ["c\\d"]])

    assert stream.getvalue() == "a\\,b,c\\\\d\n"


def test_json_keeps_the_values_and_spells_control_characters() -> None:
    text = printed("json", ROWS)

    assert json.loads(text)[1]["name-label"] == "data\x1b[2Jbase"
    assert "\x1b" not in text


def harmless(text: str, *, allowed: str = "\n") -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in text)


@given(st.text())
def test_no_text_moves_the_cursor_or_turns_its_direction(text: str) -> None:
    assert harmless(shown(text), allowed="")
    assert harmless(shown_lines(text), allowed="\n\t")
    assert not any(c in shown(text) for c in "\u202e\u2066\u2028")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_is_read_back_as_it_was(text: str) -> None:
    written = json_text({text: [text]})

    assert harmless(written) and json.loads(written) == {text: [text]}


@pytest.mark.parametrize("form", ["table", "classic", "minimal"])
def test_a_name_with_an_escape_sequence_is_spelled(form: str) -> None:
    assert harmless(printed(form, [["\x1b]0;x\x07", "\x9b31m", "halted"]]))
