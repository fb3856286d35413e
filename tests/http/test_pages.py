"""/metrics is for those who may see it, /healthz for everybody."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from xapid.http.figures import OperationFigures, loop_lag, show_connections
from xapid.http.health import PATH as HEALTH
from xapid.http.health import HealthPage
from xapid.http.metrics import PATH as METRICS
from xapid.http.metrics import MetricsPage, read_token
from xapid.prometheus import Registry
from xapid.rpc.turns import Turns

TOKEN = "0123456789abcdef-secret"


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.gauge("answer", "Of everything.", lambda: 42)
    return made


@pytest.fixture
def metrics(registry: Registry) -> MetricsPage:
    return MetricsPage(registry)


@pytest.fixture
async def site(make_site: Any, metrics: MetricsPage, registry: Registry) -> Any:
    made = await make_site(None, http=("127.0.0.1", 0), pages={METRICS: metrics})
    show_connections(registry, made.server)
    return made


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


async def over_tls(site: Any, *fields: str) -> tuple[int, bytes]:
    client = await site.connect_tls()
    client.send(get(METRICS, *fields))
    status, _, body = await client.response()
    return status, body


async def in_the_clear(site: Any, *fields: str, target: str = METRICS) -> int:
    reader, writer = await asyncio.open_connection(*site.server.http_address)
    writer.write(get(target, *fields))
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


async def test_strangers_learn_nothing(site: Any) -> None:
    assert await over_tls(site) == (404, b"there is nothing here\n")
    assert await over_tls(site, bearer("x" * 20)) == (404, b"there is nothing here\n")
    assert await in_the_clear(site) == 404


async def test_the_unix_socket_may_always_read(site: Any) -> None:
    client = await site.connect()
    client.send(get(METRICS))
    status, headers, body = await client.response()

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\nanswer 42\n" in body
    assert b'xapid_connections{socket="unix"} 1\n' in body
    assert b'xapid_connections_limit{socket="http"} 1024\n' in body


async def test_configured_addresses_may_read(site: Any, metrics: MetricsPage) -> None:
    metrics.allow([ip_network("127.0.0.0/8")], None)

    assert (await over_tls(site))[0] == 200
    metrics.allow([ip_network("192.0.2.0/24")], None)
    assert (await over_tls(site))[0] == 404


async def test_the_token_opens_it_over_tls_alone(
    site: Any, metrics: MetricsPage, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o640)
    metrics.allow([], token_file)

    assert (await over_tls(site, bearer(TOKEN)))[0] == 200
    assert (await over_tls(site, bearer(TOKEN + "x")))[0] == 404
    assert (await over_tls(site, f"Authorization: Basic {TOKEN}"))[0] == 404
    assert await in_the_clear(site, bearer(TOKEN)) == 404


@pytest.mark.parametrize(
    ("content", "mode"), [(TOKEN, 0o644), ("short", 0o600), ("", 0o600), ("x" * 600, 0o600)]
)
def test_a_token_that_is_none_opens_nothing(tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)

    with pytest.raises(ValueError, match=r"token|others"):
        read_token(path)
    page = MetricsPage(Registry())
    with capture_logs() as logs:
        page.allow([], path)
    assert page._token is None
    assert logs[0]["log_level"] == "error"
    assert not content or content not in str(logs)


class Part:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error


async def test_health_is_tried_and_told_without_the_reason(make_site: Any) -> None:
    part, page_of = Part(), {}
    page_of[HEALTH] = HealthPage({"database": part.check})
    site = await make_site(None, pages=page_of)
    client = await site.connect_tls()

    client.send(get(HEALTH))
    assert (await client.response())[::2] == (200, b"ok\n")
    part.error = RuntimeError("secret path")
    page_of[HEALTH]._looked_at = -10.0
    client.send(get(HEALTH))

    assert (await client.response())[::2] == (503, b"not well: database\n")
    client.send(get(HEALTH).replace(b"GET", b"HEAD"))
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")


async def test_a_part_that_does_not_answer_is_not_well() -> None:
    page = HealthPage({"xen": asyncio.Event().wait, "calls": Part().check}, within_s=0.01)

    assert await page.look() == ["xen"]


async def test_many_who_ask_are_one_try() -> None:
    part = Part()
    page = HealthPage({"calls": part.check})

    await asyncio.gather(*(page.look() for _ in range(50)))

    assert part.asked == 1


async def test_a_flood_of_requests_that_are_no_calls_waits_while_others_are_served(
    make_site: Any, call: Any
) -> None:
    turns = Turns(rate=0.01, burst=2, spare=False)
    site = await make_site(None, turns=turns, http=("127.0.0.1", 0))
    flood = [asyncio.create_task(in_the_clear(site, target="/")) for _ in range(5)]
    async with asyncio.timeout(10):
        while turns.waiting < 3:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)

    other = await site.connect()
    other.send(call())

    assert (await other.response())[0] == 200
    turns.close()
    assert await asyncio.gather(*flood) == [200] * 5


async def test_operations_and_lag_are_shown() -> None:
    registry = Registry()
    operations = OperationFigures(registry)
    lag = loop_lag(registry, lambda: 0.5)

    with operations.running("domain_create"):
        during = await registry.text()
    lag(0.02)
    after = await registry.text()

    assert 'xapid_libxl_operations{operation="domain_create"} 1\n' in during
    assert 'xapid_libxl_operations{operation="domain_create"} 0\n' in after
    assert 'xapid_libxl_operation_seconds_count{operation="domain_create"} 1\n' in after
    assert 'xapid_loop_lag_seconds_bucket{le="0.025"} 1\n' in after
    assert "xapid_loop_lag_worst_seconds 0.5\n" in after
