"""Clients of a xenstored: the mock, or the one whose socket XAPID_XENSTORED names."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from xapid.xen.xenstore import Xenstore
from xapid.xen.xenstored_mock import MockXenstored

Connect = Callable[[], Awaitable[Xenstore]]


@pytest.fixture
async def mock(tmp_path: Path) -> AsyncIterator[MockXenstored]:
    xenstored = MockXenstored(tmp_path / "xenstored")
    await xenstored.start()
    yield xenstored
    await xenstored.close()


@pytest.fixture
async def connect(mock: MockXenstored) -> AsyncIterator[Connect]:
    """Make one more connection."""
    real = os.environ.get("XAPID_XENSTORED")
    path = Path(real) if real else mock.socket_path
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> Xenstore:
            client = Xenstore(path)
            await client.start()
            stack.push_async_callback(client.close)
            return client

        yield connect


@pytest.fixture
async def store(connect: Connect) -> Xenstore:
    return await connect()


@pytest.fixture
async def top(store: Xenstore) -> AsyncIterator[str]:
    """A directory for the test alone."""
    path = f"/tool/xapid-test-{uuid.uuid4()}"
    await store.mkdir(path)
    yield path
    with contextlib.suppress(Exception):
        await store.remove(path)
