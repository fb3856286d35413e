"""The client against a server whose every answer the test decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.xen.client import XenClient
from xapid.xen.errors import XenAborted, XenInvalid, XenNoMemory, XenUnavailable
from xapid.xen.protocol import body_length, decode_body, encode
from xapid.xen.types import Domain

JSON = dict[str, Any]
VERSION = {
    **dict.fromkeys(("extra", "changeset", "commandline", "build_id", "compiler"), ""),
    **dict.fromkeys(("compile_by", "compile_domain", "compile_date", "capabilities"), ""),
    **{"major": 4, "minor": 17, "pagesize": 4096},
}
HELLO = {"xen": "mock", "libxl_version": "fake", "max_contexts": 1, "version_info": VERSION}
CONFIG = {"c_info": {"uuid": "11111111-2222-4333-8444-555555555555"}}
ABORTED = {"rc": -22, "name": "ERROR_ABORTED", "function": "x", "log": []}


def domain(domid: int, **more: Any) -> JSON:
    flags = dict.fromkeys(("ours", "running", "blocked", "paused", "shutdown", "dying"), False)
    numbers = ("current_memkb", "max_memkb", "cpu_time_ns", "vcpu_online", "vcpu_max_id")
    return {
        "domid": domid,
        "uuid": f"uuid-{domid}",
        "name": None,
        "shutdown_reason": "none",
        "domain_type": "pv",
        **flags,
        **dict.fromkeys(numbers, 0),
        **more,
    }


class Server:
    """Says hello by itself; everything else waits for the test."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[JSON] = asyncio.Queue()
        self.connections = 0
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = body_length(await reader.readexactly(4))
                request = decode_body(await reader.readexactly(length))
                if request.get("op") == "hello":
                    self.send({"id": request["id"], "ok": HELLO})
                else:
                    await self.requests.put(request)
        writer.close()

    def send(self, message: JSON) -> None:
        assert self._writer
        self._writer.write(encode(message))

    def send_bytes(self, data: bytes) -> None:
        assert self._writer
        self._writer.write(data)

    def hang_up(self) -> None:
        assert self._writer
        self._writer.close()

    async def next(self) -> JSON:
        async with asyncio.timeout(5):
            return await self.requests.get()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_unix_server(server.serve, tmp_path / "socket")
    async with listening:
        yield server


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[XenClient]:
    client = await XenClient.start(
        socket_path=tmp_path / "socket", lock_path=tmp_path / "lock", xen="mock", spawn=False
    )
    yield client
    await client.close()


async def test_answers_find_their_questions(client: XenClient, server: Server) -> None:
    first = asyncio.create_task(client.free_memory())
    second = asyncio.create_task(client.free_memory())
    questions = [await server.next(), await server.next()]

    server.send({"id": questions[1]["id"], "ok": {"free_kib": 2}})
    server.send({"id": questions[0]["id"], "ok": {"free_kib": 1}})

    assert (await first, await second) == (1, 2)


async def test_an_error_is_raised_as_its_class(client: XenClient, server: Server) -> None:
    asking = asyncio.create_task(client.domain_create(CONFIG, "{}"))
    question = await server.next()
    error = {"rc": -5, "name": "ERROR_NOMEM", "function": "f", "log": ["why"]}

    server.send({"id": question["id"], "error": error})

    with pytest.raises(XenNoMemory, match="why"):
        await asking


async def test_progress_comes_before_the_answer(client: XenClient, server: Server) -> None:
    shares: list[float] = []
    asking = asyncio.create_task(client.domain_create(CONFIG, "{}", progress=shares.append))
    number = (await server.next())["id"]

    server.send({"id": number, "progress": 0.25})
    server.send({"id": number, "ok": {"domid": 7}})

    assert await asking == 7
    assert shares == [0.25]


async def test_a_cancel_waits_for_the_answer(client: XenClient, server: Server) -> None:
    asking = asyncio.create_task(client.domain_shutdown(3))
    number = (await server.next())["id"]

    asking.cancel()
    assert await server.next() == {"cancel": number}
    asking.cancel()
    await asyncio.sleep(0)
    assert not asking.done()

    server.send({"id": number, "error": ABORTED})
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert server.requests.empty()


@pytest.mark.parametrize(
    ("ask", "value", "undo"),
    [
        (
            lambda client: client.domain_create(CONFIG, "{}"),
            {"domid": 9},
            ("domain_destroy", {"domid": 9, "uuid": CONFIG["c_info"]["uuid"]}),
        ),
        (
            lambda client: client.domain_restore(CONFIG, "{}", Path("/image")),
            {"domid": 9},
            ("domain_destroy", {"domid": 9, "uuid": CONFIG["c_info"]["uuid"]}),
        ),
        (
            lambda client: client.disk_add(4, {"vdev": "xvdb"}),
            {"vdev": "xvdb"},
            ("disk_remove", {"domid": 4, "vdev": "xvdb", "force": True}),
        ),
        (
            lambda client: client.nic_add(4, {}),
            {"mac": "00:16:3e:00:00:01"},
            (
                "nic_remove",
                {"domid": 4, "devid": None, "mac": "00:16:3e:00:00:01", "force": True},
            ),
        ),
    ],
)
async def test_what_was_made_in_spite_of_a_cancel_is_undone(
    client: XenClient,
    server: Server,
    ask: Callable[[XenClient], Awaitable[object]],
    value: JSON,
    undo: tuple[str, JSON],
) -> None:
    asking = asyncio.ensure_future(ask(client))
    number = (await server.next())["id"]
    asking.cancel()
    await server.next()

    server.send({"id": number, "ok": value})
    undoing = await server.next()
    asking.cancel()
    await asyncio.sleep(0)
    waited = not asking.done()
    server.send({"id": undoing["id"], "ok": None})

    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (undoing["op"], undoing["args"]) == undo
    assert waited


async def test_a_lost_connection_ends_a_cancelled_request_too(
    client: XenClient, server: Server
) -> None:
    asking = asyncio.create_task(client.domain_create(CONFIG, "{}"))
    await server.next()
    asking.cancel()
    await server.next()

    server.hang_up()

    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_lost_connection_fails_requests_at_once_and_is_made_again(
    client: XenClient, server: Server
) -> None:
    asking = asyncio.create_task(client.domain_pause(3))
    await server.next()

    server.hang_up()
    with pytest.raises(XenUnavailable):
        await asking

    async with asyncio.timeout(5):
        await client.wait_available()
    assert server.connections == 2


@pytest.mark.parametrize("garbage", [b"\xff" * 8, encode({"event": "domains"}), encode({"id": []})])
async def test_garbage_from_the_worker_never_hangs_a_request(
    client: XenClient, server: Server, garbage: bytes
) -> None:
    asking = asyncio.create_task(client.domain_pause(3))
    number = (await server.next())["id"]

    server.send_bytes(garbage)
    server.send({"id": number, "error": ABORTED})

    with pytest.raises((XenUnavailable, XenAborted)):
        async with asyncio.timeout(5):
            await asking


async def test_an_argument_that_is_not_json_is_refused(client: XenClient) -> None:
    with pytest.raises(XenInvalid):
        await client.domain_create({"c_info": object()}, "{}")


async def test_each_list_of_domains_reaches_all_listeners(
    client: XenClient, server: Server
) -> None:
    lists: list[list[Domain]] = []
    arrived = asyncio.Event()

    def fail(_: list[Domain]) -> None:
        raise RuntimeError("a listener's own bug")

    def listen(domains: list[Domain]) -> None:
        lists.append(domains)
        arrived.set()

    client.on_domains(fail)
    stop = client.on_domains(listen)
    first = [domain(0), domain(1)]
    second = [domain(0), domain(1, paused=True)]
    for domains in (first, second):
        arrived.clear()
        server.send({"event": "domains", "domains": domains, "generation": 1})
        await arrived.wait()

    late: list[list[Domain]] = []
    client.on_domains(late.append)
    stop()

    assert [[each.paused for each in domains] for domains in lists] == [
        [False, False],
        [False, True],
    ]
    assert lists[0][0] is lists[1][0]
    assert late == [lists[1]]


async def test_starting_without_a_worker_fails_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(XenUnavailable, match="cannot be reached"):
        await XenClient.start(
            socket_path=tmp_path / "absent", lock_path=tmp_path / "lock", xen="mock", spawn=False
        )
