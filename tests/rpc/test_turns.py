"""A fair share for each caller: nobody notices it alone, and nobody starves the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from xapid.datamodel.errors import TooBusy
from xapid.rpc import turns as module
from xapid.rpc.addresses import one_client
from xapid.rpc.turns import ALONE_S, BLOCK, Turns


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def turns(time: Time) -> Any:
    made = Turns(rate=10, burst=3, time=time)
    yield made
    made.close()


async def waits(turns: Turns, caller: str) -> asyncio.Task[None] | None:
    """The call that waits; None when it was let in at once."""
    call = asyncio.ensure_future(turns.enter(caller))
    await asyncio.sleep(0)
    return None if call.done() else call


async def test_a_caller_that_is_alone_never_waits(turns: Turns) -> None:
    for _ in range(100):
        assert await waits(turns, "ann") is None

    assert turns.delayed == 0


async def test_a_caller_with_tokens_is_let_in_at_once(turns: Turns) -> None:
    await turns.enter("bob")

    assert [await waits(turns, "ann") for _ in range(3)] == [None] * 3


async def test_one_without_tokens_waits_until_it_has_earned_one(turns: Turns, time: Time) -> None:
    for caller in ("bob", "ann", "ann", "ann"):
        await turns.enter(caller)

    call = await waits(turns, "ann")
    assert call is not None
    assert turns.waiting == 1
    time.now += 0.11

    await asyncio.wait_for(call, 5)
    assert (turns.waiting, turns.delayed) == (0, 1)


async def test_others_are_let_in_while_a_busy_one_waits(turns: Turns) -> None:
    for caller in ("bob", "ann", "ann", "ann"):
        await turns.enter(caller)
    held = [await waits(turns, "ann") for _ in range(50)]

    assert await waits(turns, "bob") is None
    assert not any(call.done() for call in held if call is not None)


async def test_one_that_is_left_alone_gets_all_its_calls_in(turns: Turns, time: Time) -> None:
    for caller in ("bob", "ann", "ann", "ann"):
        await turns.enter(caller)
    held = [await waits(turns, "ann") for _ in range(20)]

    time.now += ALONE_S  # which earns 2 tokens

    async with asyncio.timeout(5):
        await asyncio.gather(*(call for call in held if call is not None))


async def test_those_who_wait_take_turns_and_each_its_calls_in_order(
    turns: Turns, time: Time
) -> None:
    order: list[str] = []

    async def enter(caller: str, number: int) -> None:
        await turns.enter(caller)
        order.append(f"{caller}{number}")

    for caller in ("ann", "bob"):
        for _ in range(3):
            await turns.enter(caller)
    calls = [asyncio.ensure_future(enter("ann", n)) for n in range(3)]
    await asyncio.sleep(0)
    calls += [asyncio.ensure_future(enter("bob", n)) for n in range(3)]
    await asyncio.sleep(0)
    time.now += 0.31

    async with asyncio.timeout(5):
        await asyncio.gather(*calls)

    assert order == ["ann0", "bob0", "ann1", "bob1", "ann2", "bob2"]


async def test_a_client_that_goes_away_gives_its_turn_to_the_next(turns: Turns, time: Time) -> None:
    for caller in ("bob", "ann", "ann", "ann"):
        await turns.enter(caller)
    gone, stays = await waits(turns, "ann"), await waits(turns, "ann")
    assert gone is not None
    assert stays is not None

    gone.cancel()
    time.now += 0.11

    await asyncio.wait_for(stays, 5)
    assert turns.waiting == 0


async def test_a_long_answer_is_paid_for_and_the_debt_has_an_end(turns: Turns, time: Time) -> None:
    await turns.enter("bob")
    await turns.enter("ann")

    turns.charge("ann", 1000 * BLOCK)
    time.now += 0.39  # bob is not long gone, and ann still owes

    await turns.enter("bob")
    call = await waits(turns, "ann")
    assert call is not None
    time.now += 0.05
    await asyncio.wait_for(call, 5)


async def test_too_many_that_wait_are_refused(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    for caller in ("bob", "ann", "ann", "ann"):
        await turns.enter(caller)
    for _ in range(2):
        assert await waits(turns, "ann") is not None

    with pytest.raises(TooBusy):
        await turns.enter("ann")
    assert turns.refused == 1


async def test_callers_are_forgotten_longest_unused_first(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CALLERS", 2)

    for caller in ("ann", "bob", "ann", "eve"):
        await turns.enter(caller)

    assert turns.callers == 2
    assert list(turns._buckets) == ["ann", "eve"]


async def test_what_all_share_is_given_out_in_turn(time: Time) -> None:
    turns = Turns(rate=100, burst=100, spare=False, total=(10, 2), time=time)
    order: list[str] = []

    async def enter(caller: str) -> None:
        await turns.enter(caller)
        order.append(caller)

    calls = [asyncio.ensure_future(enter(name)) for name in ("ann", "ann", "ann", "ann", "bob")]
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["ann", "ann"], "the burst of all"
    time.now += 0.1

    async with asyncio.timeout(5):
        while len(order) < 4:
            time.now += 0.1
            await asyncio.sleep(0.001)
    assert sorted(order[2:4]) == ["ann", "bob"], "bob does not wait behind all of ann's"
    turns.close()
    await asyncio.gather(*calls)


async def test_one_that_is_alone_waits_where_nothing_is_spare(time: Time) -> None:
    turns = Turns(rate=10, burst=1, spare=False, time=time)
    await turns.enter("ann")

    call = await waits(turns, "ann")
    assert call is not None
    turns.close()
    await asyncio.wait_for(call, 5)


async def test_the_end_lets_everybody_in(turns: Turns) -> None:
    for caller in ("bob", "ann", "ann", "ann"):
        await turns.enter(caller)
    call = await waits(turns, "ann")
    assert call is not None

    turns.close()

    await asyncio.wait_for(call, 5)


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("local", "local"),
        ("no:address", "no:address"),
        ("", ""),
    ],
)
def test_addresses_that_one_client_can_choose_among_are_one(peer: str, client: str) -> None:
    assert one_client(peer) == client
