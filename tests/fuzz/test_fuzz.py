"""Some seconds of what `make fuzz` does for long."""

from __future__ import annotations

from pathlib import Path

from .run import Outcome, keep, run
from .targets import check_bytes

INPUTS = 6_000


async def test_no_message_breaks_a_parser_or_shows_a_client_the_inside() -> None:
    outcomes = await run(INPUTS, seed=20)

    assert [(each.name, each.wrong[:3]) for each in outcomes if each.wrong] == []
    assert sum(each.inputs for each in outcomes) >= INPUTS
    assert all(0 < each.good < each.inputs for each in outcomes), "neither all good nor all bad"


def test_what_goes_wrong_is_kept(tmp_path: Path) -> None:
    keep([Outcome("xml", wrong=[(7, "why", b"\x00")])], tmp_path / "fuzz")

    assert (tmp_path / "fuzz/xml-7").read_bytes() == b"\x00"
    assert (tmp_path / "fuzz/xml-7.txt").read_text() == "why\n"


def test_answers_that_tell_of_the_inside_are_seen() -> None:
    good = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"
    check_bytes(good)
    check_bytes(b"")

    seen = []
    for bad in (b"nonsense", good.replace(b"400", b"500"), good + b"Traceback (most recent"):
        try:
            check_bytes(bad)
        except Exception as error:
            seen.append(type(error).__name__)

    assert seen == ["Wrong"] * 3
