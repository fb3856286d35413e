"""Answers that many share, and none of which is older than its question."""

from __future__ import annotations

import asyncio

import pytest

from xapid.xen.fresh import Fresh


class Source:
    """Answers with the number of the question, once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.broken:
            raise OSError("gone")
        return number


async def test_many_who_ask_at_once_share_two_questions() -> None:
    source = Source()
    fresh = Fresh(source.ask)
    source.gate.clear()
    first = asyncio.create_task(fresh())
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    others = [asyncio.create_task(fresh()) for _ in range(25)]
    for _ in range(5):  # those who come later still get the answer that nobody asked for yet
        await asyncio.sleep(0)
    others += [asyncio.create_task(fresh()) for _ in range(25)]
    await asyncio.sleep(0)
    source.gate.set()

    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 50
    assert await fresh() == 3


async def test_a_failure_is_everybodys_and_the_next_question_is_asked_anew() -> None:
    source = Source()
    fresh = Fresh(source.ask)
    source.broken = True

    answers = await asyncio.gather(fresh(), fresh(), return_exceptions=True)
    source.broken = False

    assert [type(answer) for answer in answers] == [OSError, OSError]
    assert await fresh() == source.asked


async def test_one_who_gives_up_takes_the_answer_from_nobody() -> None:
    source = Source()
    fresh = Fresh(source.ask)
    source.gate.clear()
    leaving, staying = asyncio.create_task(fresh()), asyncio.create_task(fresh())
    await asyncio.sleep(0)

    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    source.gate.set()

    assert await staying == 1
