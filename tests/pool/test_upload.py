"""Patches over HTTP: who may send one, under which task, and what the answer says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from xapid.datamodel.declare import NULL, Ref
from xapid.datamodel.enums import TaskStatusType
from xapid.datamodel.pool_patch import PoolPatch
from xapid.datamodel.task import Task
from xapid.http.patch_upload import PATH, Limits, PatchUpload
from xapid.http.server import HttpServer
from xapid.rpc.answers import Answer
from xapid.rpc.sessions import Sessions
from xapid.rpc.tasks import Tasks
from xapid.rpc.xmlrpc import Request
from xapid.services.ports import Call

from .world import Caller, World, archive, pieces, script


class NoCalls:
    """A dispatcher that nobody asks anything."""

    async def answer(self, request: Request, peer: str) -> Answer:
        raise AssertionError(request)

    async def stop(self, grace_s: float) -> None:
        return None


class Site:
    """A server that takes patches on a Unix socket."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions = Sessions()
        self.tasks = Tasks(world.store)
        limits = Limits(block_s=0.5)
        self.begun = asyncio.Event()
        upload = PatchUpload(world.store, self.sessions, self.tasks, self.receive, limits)
        self.path = world.state / "s"
        self.server = HttpServer(
            NoCalls(), https=None, socket=self.path, tls=None, uploads={PATH: upload}
        )

    async def receive(self, call: Call, chunks: AsyncIterator[bytes]) -> Ref[PoolPatch]:
        self.begun.set()
        return await self.world.patches.receive(call, chunks)

    def login(self, role: str = "pool-operator") -> str:
        return self.sessions.begin(NULL, "root", role=role)

    async def put(self, body: Any, query: dict[str, str], **more: Any) -> tuple[int, str]:
        connector = aiohttp.UnixConnector(str(self.path))
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.put(f"http://local{PATH}", data=body, params=query, **more) as answer,
        ):
            return answer.status, await answer.text()

    def only_task(self) -> Task:
        (task,) = self.world.store.all(Task)
        return task


@pytest.fixture
async def site(world: World) -> AsyncIterator[Site]:
    site = Site(world)
    await site.tasks.start()
    await site.server.start()
    yield site
    await site.server.stop(0.1)
    await site.tasks.stop()


async def test_an_uploaded_patch_is_answered_with_its_reference(site: Site, world: World) -> None:
    status, text = await site.put(world.made(), {"session_id": site.login()})

    (patch,) = world.store.refs(PoolPatch)
    assert (status, text) == (200, f"{patch}\n")
    task = site.only_task()
    assert (task.status, task.type, task.result) == (
        TaskStatusType.SUCCESS,
        "pool_patch",
        f"<value>{patch}</value>",
    )
    assert await world.patches.apply(Caller(), patch, world.host) == "applied\n"


async def test_a_patch_may_come_in_pieces_of_unknown_number(site: Site, world: World) -> None:
    patch = world.made(archive({"apply": script("echo applied"), "large": bytes(3 << 20)}))

    status, _ = await site.put(pieces(patch, 100_000), {"session_id": site.login()})

    assert status == 200


async def test_a_client_that_asks_first_is_told_to_go_on(site: Site, world: World) -> None:
    status, _ = await site.put(world.made(), {"session_id": site.login()}, expect100=True)

    assert status == 200


@pytest.mark.parametrize("query", [{}, {"session_id": ""}, {"session_id": "OpaqueRef:none"}])
async def test_without_a_session_nothing_is_taken(
    site: Site, world: World, query: dict[str, str]
) -> None:
    status, text = await site.put(world.made(), query)

    assert status == 401 and text.startswith("SESSION_INVALID\n")
    assert world.store.count(PoolPatch) == world.store.count(Task) == 0


async def test_a_session_of_too_low_a_role_is_refused(site: Site, world: World) -> None:
    status, text = await site.put(world.made(), {"session_id": site.login("vm-admin")})

    assert status == 403 and text.startswith("RBAC_PERMISSION_DENIED\n")
    assert world.store.count(PoolPatch) == 0


async def test_what_is_no_patch_is_refused_before_it_has_come_whole(
    site: Site, world: World
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield b"not a patch" * 1000
            sent += 1
            await asyncio.sleep(0)

    try:
        async with asyncio.timeout(10):
            status, text = await site.put(endless(), {"session_id": site.login()})
    except aiohttp.ClientError:  # the server ends the connection while we still send
        status, text = 400, "INVALID_PATCH\n"

    assert (status, text) == (400, "INVALID_PATCH\n")
    assert site.only_task().error_info == ("INVALID_PATCH",)


async def test_a_patch_that_is_there_already_is_a_conflict(site: Site, world: World) -> None:
    patch, session = world.made(), site.login()
    await site.put(patch, {"session_id": session})

    status, text = await site.put(patch, {"session_id": session})

    uuid = world.store.all(PoolPatch)[0].uuid
    assert (status, text) == (409, f"PATCH_ALREADY_EXISTS\n{uuid}\n")


async def test_a_clients_own_task_ends_with_its_upload(site: Site, world: World) -> None:
    task = await site.tasks.create(Caller(), "my upload", "")

    status, _ = await site.put(world.made(), {"session_id": site.login(), "task_id": task})

    (patch,) = world.store.refs(PoolPatch)
    record = site.only_task()
    assert status == 200 and record.ref == task and record.name_label == "my upload"
    assert (record.status, record.result) == (TaskStatusType.SUCCESS, f"<value>{patch}</value>")


async def test_a_task_that_has_ended_or_is_none_takes_no_upload(site: Site, world: World) -> None:
    task = await site.tasks.create(Caller(), "my upload", "")
    await site.tasks.cancel(Caller(), task)
    session = site.login()

    ended = await site.put(world.made(), {"session_id": session, "task_id": task})
    none = await site.put(world.made(), {"session_id": session, "task_id": "OpaqueRef:x"})

    assert ended[1].startswith("OPERATION_NOT_ALLOWED\n")
    assert none[1].startswith("HANDLE_INVALID\n")
    assert world.store.count(PoolPatch) == 0


async def test_an_upload_can_be_cancelled_by_its_task(site: Site, world: World) -> None:
    patch = world.made()
    task = await site.tasks.create(Caller(), "my upload", "")

    async def slow() -> AsyncIterator[bytes]:
        yield patch[:-5]
        await asyncio.Event().wait()

    sending = asyncio.ensure_future(site.put(slow(), {"session_id": site.login(), "task_id": task}))
    await site.begun.wait()
    await site.tasks.cancel(Caller(), task)
    await asyncio.gather(sending, return_exceptions=True)
    await site.tasks.wait_idle()

    assert world.store.get(task).status is TaskStatusType.CANCELLED
    assert world.leftovers() == []


async def test_a_client_that_sends_nothing_more_is_given_up(site: Site, world: World) -> None:
    patch = world.made()

    async def stuck() -> AsyncIterator[bytes]:
        yield patch[:-5]
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        await asyncio.gather(
            site.put(stuck(), {"session_id": site.login()}), return_exceptions=True
        )
        await site.tasks.wait_idle()

    assert site.only_task().error_info == ("INVALID_PATCH",)
    assert world.leftovers() == []


async def test_put_elsewhere_and_other_questions_are_refused(site: Site, world: World) -> None:
    query = {"session_id": site.login(), "path": "/etc/passwd"}

    status, _ = await site.put(world.made(), query)

    assert status == 400
    assert world.store.count(PoolPatch) == 0
