"""The pass over the counters, asked of a real worker on the mock."""

from __future__ import annotations

import uuid

import pytest

from xapid.xen.client import XenClient
from xapid.xen.errors import XenError


@pytest.fixture
def client(mock_xen: XenClient) -> XenClient:
    return mock_xen


async def guest(client: XenClient, vcpus: int) -> tuple[int, str]:
    identity = str(uuid.uuid4())
    domid = await client.domain_create(
        {
            "c_info": {"type": "pv", "name": f"xapid-{identity}", "uuid": identity},
            "b_info": {
                "max_vcpus": vcpus,
                "avail_vcpus": list(range(vcpus - 1)),
                "max_memkb": 65536,
                "target_memkb": 65536,
                "kernel": "/boot/vmlinuz",
                "type.pv": {},
            },
        },
        "{}",
    )
    await client.domain_unpause(domid)
    return domid, identity


async def test_one_pass_finds_every_domain(client: XenClient) -> None:
    domid, identity = await guest(client, 3)

    sample = await client.sample([domid])

    domains = {domain.domid: domain for domain in sample.domains}
    assert domains.keys() == {0, domid}
    found = domains[domid]
    assert found.uuid == identity
    assert found.memory_kib == 65536
    assert found.state[0] in ("running", "blocked")
    assert [vcpu.cpu is not None for vcpu in found.vcpus] == [True, True, False]
    assert found.scheduling is not None and found.scheduling.weight == 256
    assert domains[0].scheduling is None


async def test_time_passes_between_two_samples(client: XenClient) -> None:
    domid, _ = await guest(client, 2)

    first, second = await client.sample(), await client.sample()

    before, after = (next(d for d in s.domains if d.domid == domid) for s in (first, second))
    assert after.at_ns > before.at_ns
    assert after.vcpus[0].time_ns > before.vcpus[0].time_ns
    assert len(second.idle_ns) == (await client.physinfo()).nr_cpus
    assert all(b > a for a, b in zip(first.idle_ns, second.idle_ns, strict=True))
    assert second.total_kib > second.free_kib > 0


async def test_states_are_named(client: XenClient) -> None:
    paused, _ = await guest(client, 2)
    crashed, _ = await guest(client, 2)
    await client.domain_pause(paused)
    await client.mock_domain(crashed, "crash")

    states = {domain.domid: domain.state for domain in (await client.sample()).domains}

    assert "paused" in states[paused]
    assert "crashed" in states[crashed]


async def test_a_domain_that_vanishes_meanwhile_is_left_out(client: XenClient) -> None:
    domid, _ = await guest(client, 2)
    await client.mock_fail("libxl_list_vcpu", domid=domid)

    sample = await client.sample([domid])

    assert [domain.domid for domain in sample.domains] == [0]


async def test_counters_that_cannot_be_read_are_an_error(client: XenClient) -> None:
    await client.mock_fail("xapid_cpu_idle")

    with pytest.raises(XenError):
        await client.sample()
