"""Sending to a URL: what is sent, what the other side may answer, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from xapid.datamodel.errors import CannotContactHost, OperationNotAllowed
from xapid.services.host.upload import Deadlines, read_target, send

from .world import Receiver


async def blocks() -> AsyncIterator[bytes]:
    for _ in range(64):
        yield bytes(256 << 10)


LENGTH = 16 << 20


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    async def elsewhere() -> web.Response:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    receiver.answer = elsewhere

    with pytest.raises(OperationNotAllowed, match="HTTP 307"):
        await send(read_target(receiver.url, {}), blocks, LENGTH, lambda _: None)

    assert set(receiver.got) == {"/report"}


async def test_an_answer_that_is_no_success_is_an_error_that_says_it(receiver: Receiver) -> None:
    async def full() -> web.Response:
        return web.Response(status=507)

    receiver.answer = full

    with pytest.raises(OperationNotAllowed, match="HTTP 507 Insufficient Storage"):
        await send(read_target(receiver.url, {}), blocks, LENGTH, lambda _: None)


async def test_a_receiver_that_stops_reading_ends_the_upload(receiver: Receiver) -> None:
    receiver.reads = False
    receiver.answer = receiver.never
    fractions: list[float] = []

    with pytest.raises(CannotContactHost, match="too long"):
        await send(
            read_target(receiver.url, {}), blocks, LENGTH, fractions.append, Deadlines(0.2, 0.2)
        )

    assert fractions and fractions[-1] < 1.0


async def test_a_receiver_that_never_answers_ends_the_upload(receiver: Receiver) -> None:
    receiver.answer = receiver.never

    with pytest.raises(CannotContactHost, match="too long"):
        await send(
            read_target(receiver.url, {}), blocks, LENGTH, lambda _: None, Deadlines(0.3, 0.3)
        )


async def test_an_upload_that_is_cancelled_ends_at_once(receiver: Receiver) -> None:
    receiver.reads = False
    receiver.answer = receiver.never
    target = read_target(receiver.url, {})

    upload = asyncio.create_task(send(target, blocks, LENGTH, lambda _: None))
    await receiver.arrived.wait()
    upload.cancel()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await upload


async def test_a_server_whose_certificate_nobody_signed_gets_nothing(
    receiver: Receiver,
) -> None:
    target = read_target(receiver.url.replace("http:", "https:"), {})

    with pytest.raises(CannotContactHost):
        await send(target, blocks, LENGTH, lambda _: None)

    assert receiver.got == {}
