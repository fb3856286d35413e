"""What the client and any xenstored promise each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from xapid.xen.xenstore import PENDING_PATHS, Nodes, Step, Watch, Xenstore
from xapid.xen.xenstore_wire import (
    Permissions,
    XenstoreConflict,
    XenstoreError,
    XenstoreNotFound,
    XenstoreUnavailable,
)

Connect = Callable[[], Awaitable[Xenstore]]
PATIENCE_S = 20.0


async def next_change(watch: Watch) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(aiter(watch))


async def test_what_is_written_is_read(store: Xenstore, top: str) -> None:
    value = bytes(range(256))

    await store.write(f"{top}/a/b", value)

    assert await store.read(f"{top}/a/b") == value
    assert await store.read(f"{top}/a") == b""
    assert await store.directory(top) == ["a"]
    assert await store.directory(f"{top}/a/b") == []


async def test_what_is_not_there_is_not_found(store: Xenstore, top: str) -> None:
    for attempt in (store.read, store.directory, store.permissions):
        with pytest.raises(XenstoreNotFound):
            await attempt(f"{top}/nothing")

    await store.remove(f"{top}/nothing")


async def test_a_node_goes_with_all_below_it(store: Xenstore, top: str) -> None:
    await store.write(f"{top}/a/b/c", b"1")

    await store.remove(f"{top}/a")

    assert await store.directory(top) == []
    with pytest.raises(XenstoreNotFound):
        await store.read(f"{top}/a/b/c")


async def test_permissions_are_kept_and_passed_on(store: Xenstore, top: str) -> None:
    given = Permissions(7, "r", ((9, "b"),))
    await store.mkdir(f"{top}/a")

    await store.set_permissions(f"{top}/a", given)
    await store.write(f"{top}/a/b", b"")

    assert await store.permissions(f"{top}/a") == given
    assert (await store.permissions(f"{top}/a/b")).grants == given.grants


@pytest.mark.parametrize(
    "path", ["", "relative", "/a//b", "/a/", "/ä", "/a b", "/a\0b", "/a.b", "/" + "x" * 4000]
)
async def test_what_is_no_path_is_never_sent(store: Xenstore, path: str) -> None:
    with pytest.raises(XenstoreError) as refused:
        await store.write(path, b"")

    assert refused.value.name == "EINVAL"
    assert store.available


async def test_a_value_too_long_costs_no_connection(store: Xenstore, top: str) -> None:
    with pytest.raises(XenstoreError) as refused:
        await store.write(f"{top}/a", b"x" * 5000)

    assert refused.value.name == "E2BIG"
    await store.write(f"{top}/a", b"x")


async def test_requests_run_side_by_side(store: Xenstore, top: str) -> None:
    await asyncio.gather(*(store.write(f"{top}/{n}", str(n).encode()) for n in range(300)))

    values = await asyncio.gather(*(store.read(f"{top}/{n}") for n in range(300)))

    assert values == [str(n).encode() for n in range(300)]


async def test_a_watch_tells_first_itself_then_each_change(connect: Connect, top: str) -> None:
    watcher, writer = await connect(), await connect()
    async with watcher.watch(top) as watch:
        assert await next_change(watch) == top

        await writer.write(f"{top}/a/b", b"1")
        assert await next_change(watch) == f"{top}/a/b"

        await writer.remove(f"{top}/a")
        assert await next_change(watch) == f"{top}/a"


async def test_a_watch_says_nothing_of_its_neighbours(connect: Connect, top: str) -> None:
    watcher, writer = await connect(), await connect()
    await writer.mkdir(f"{top}/a")
    async with watcher.watch(f"{top}/a") as watch:
        assert await next_change(watch) == f"{top}/a"

        await writer.write(f"{top}/ab", b"1")
        await writer.write(f"{top}/a/b", b"1")

        assert await next_change(watch) == f"{top}/a/b"


async def test_two_watches_of_one_place_both_tell(store: Xenstore, top: str) -> None:
    async with store.watch(top) as one, store.watch(top) as other:
        assert await next_change(one) == top
        assert await next_change(other) == top

        await store.write(f"{top}/a", b"")

        assert await next_change(one) == f"{top}/a"
        assert await next_change(other) == f"{top}/a"


async def test_a_watch_that_ended_tells_nothing(store: Xenstore, top: str) -> None:
    async with store.watch(top) as ended:
        assert await next_change(ended) == top

    await store.write(f"{top}/a", b"")
    await store.read(f"{top}/a")

    assert ended.take() == []


def test_a_flood_of_changes_becomes_one() -> None:
    watch = Watch("/a", "1")

    for number in range(10 * PENDING_PATHS):
        watch.put(f"/a/{number}")

    waiting = watch.take()
    assert "/a" in waiting
    assert len(waiting) <= PENDING_PATHS


async def test_a_transaction_is_seen_all_at_once(connect: Connect, top: str) -> None:
    writer, reader = await connect(), await connect()

    async def body(nodes: Nodes) -> list[str]:
        await nodes.write(f"{top}/a", b"1")
        await nodes.write(f"{top}/b", b"2")
        assert await nodes.read(f"{top}/a") == b"1"
        assert await reader.directory(top) == []
        return await nodes.directory(top)

    assert sorted(await writer.transaction(body)) == ["a", "b"]
    assert sorted(await reader.directory(top)) == ["a", "b"]


async def test_a_failed_transaction_changes_nothing(store: Xenstore, top: str) -> None:
    async def body(nodes: Nodes) -> None:
        await nodes.write(f"{top}/a", b"1")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.transaction(body)

    assert await store.directory(top) == []


async def test_a_transaction_that_met_another_change_is_run_again(
    connect: Connect, top: str
) -> None:
    ours, other = await connect(), await connect()
    await ours.write(f"{top}/n", b"0")
    seen: list[bytes] = []

    async def body(nodes: Nodes) -> None:
        seen.append(await nodes.read(f"{top}/n"))
        if len(seen) == 1:
            await other.write(f"{top}/n", b"10")
        await nodes.write(f"{top}/n", seen[-1] + b"1")

    await ours.transaction(body)

    assert seen == [b"0", b"10"]
    assert await other.read(f"{top}/n") == b"101"


async def test_a_transaction_gives_up_some_time(connect: Connect, top: str) -> None:
    ours, other = await connect(), await connect()
    await ours.write(f"{top}/n", b"0")
    attempts = 0

    async def body(nodes: Nodes) -> None:
        nonlocal attempts
        attempts += 1
        await nodes.read(f"{top}/n")
        await other.write(f"{top}/n", str(attempts).encode())
        await nodes.write(f"{top}/n", b"ours")

    with pytest.raises(XenstoreConflict):
        await ours.transaction(body)

    assert attempts > 1
    assert await other.read(f"{top}/n") == str(attempts).encode()


async def test_a_cancelled_request_leaves_the_connection_whole(store: Xenstore, top: str) -> None:
    async def body(nodes: Nodes) -> None:
        await asyncio.Event().wait()

    for steps in range(6):
        task = asyncio.create_task(store.transaction(body))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    await store.write(f"{top}/a", b"1")
    assert await store.read(f"{top}/a") == b"1"


async def test_without_xenstored_it_says_so_at_once(tmp_path: Path) -> None:
    client = Xenstore(tmp_path / "nothing")

    with pytest.raises(XenstoreUnavailable):
        await client.start()
    with pytest.raises(XenstoreUnavailable):
        await client.read("/a")


async def test_steps_are_taken_in_their_order_in_one_go(store: Xenstore, top: str) -> None:
    mine = Permissions(7)

    await store.do(
        [
            *(Step.makes(f"{top}/a"), Step.permits(f"{top}/a", mine)),
            *(Step.writes(f"{top}/b", b"1"), Step.writes(f"{top}/b", b"2"), Step.sees(f"{top}/b")),
        ]
    )

    assert await store.permissions(f"{top}/a") == mine
    assert await store.read(f"{top}/b") == b"2"


async def test_a_step_that_fails_undoes_all_in_a_transaction(store: Xenstore, top: str) -> None:
    steps = [Step.writes(f"{top}/a", b"1"), Step.sees(f"{top}/none"), Step.writes(f"{top}/b", b"1")]

    with pytest.raises(XenstoreNotFound, match="none"):
        await store.transaction(lambda nodes: nodes.do(steps))

    assert await store.directory(top) == []
