"""Undo: what was done is taken back, newest first, whatever happens meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from xapid.undo import Undo


class World:
    def __init__(self) -> None:
        self.undone: list[str] = []
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def take_back(self, what: str) -> None:
        self.undone.append(what)

    async def fail(self, what: str) -> None:
        self.undone.append(what)
        raise OSError("cannot take back")

    async def slow(self, what: str) -> None:
        self.begun.set()
        await self.go_on.wait()
        self.undone.append(what)


@pytest.fixture
def world() -> World:
    return World()


async def test_steps_run_newest_first_after_an_error(world: World) -> None:
    with pytest.raises(ValueError, match="first"):
        async with Undo() as undo:
            undo.add(world.take_back, "one")
            undo.add(world.take_back, what="two")
            raise ValueError("first")

    assert world.undone == ["two", "one"]


async def test_nobody_makes_a_text_of_a_step_that_does_not_fail() -> None:
    class Costly:
        async def __call__(self) -> None:
            pass

        def __repr__(self) -> str:
            raise AssertionError("made for nothing")

    async with Undo() as undo:
        undo.add(Costly())


async def test_a_commit_takes_nothing_back(world: World) -> None:
    async with Undo() as undo:
        undo.add(world.take_back, "one")
        undo.commit()

    assert world.undone == []


async def test_leaving_without_commit_takes_back(world: World) -> None:
    async with Undo() as undo:
        undo.add(world.take_back, "one")

    assert world.undone == ["one"]


async def test_a_step_that_fails_is_logged_and_hides_nothing(world: World) -> None:
    with capture_logs() as logs, pytest.raises(ValueError, match="first"):
        async with Undo() as undo:
            undo.add(world.take_back, "one")
            undo.add(world.fail, "two")
            raise ValueError("first")

    assert world.undone == ["two", "one"]
    assert [(line["log_level"], line["step"]) for line in logs] == [("error", "World.fail")]


async def unwinding(world: World, error: BaseException | None) -> None:
    async with Undo() as undo:
        undo.add(world.take_back, "one")
        undo.add(world.slow, "two")
        if error is not None:
            raise error
        undo.add(world.take_back, "three")


async def test_a_cancel_while_steps_run_waits_for_them(world: World) -> None:
    task = asyncio.create_task(unwinding(world, ValueError("first")))
    await world.begun.wait()

    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    world.go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.undone == ["two", "one"]


async def test_cancelling_takes_back_and_goes_on(world: World) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with Undo() as undo:
            undo.add(world.take_back, "one")
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.undone == ["one"]


async def test_a_step_that_is_cancelled_from_inside_lets_the_others_run(world: World) -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ValueError, match="first"):
        async with Undo() as undo:
            undo.add(world.take_back, "one")
            undo.add(cancelled)
            raise ValueError("first")

    assert world.undone == ["one"]
