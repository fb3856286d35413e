"""Each operation, asked for over a real socket of a real worker process on the mock."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xapid.xen import protocol
from xapid.xen.client import XenClient
from xapid.xen.errors import (
    XenDeviceExists,
    XenDomainNotFound,
    XenError,
    XenInvalid,
    XenNoMemory,
    XenNoPVDrivers,
    XenNotFound,
    XenTimedOut,
)

Config = dict[str, Any]
MakeConfig = Callable[..., Config]
NO_UUID = "00000000-0000-4000-8000-000000000000"
DISK = {"pdev_path": "/dev/null", "vdev": "xvdb", "format": "raw", "readwrite": 1}
NIC = {"mac": "00:16:3e:00:00:01", "bridge": "xenbr0", "devid": 0}


@pytest.fixture
async def domid(client: XenClient, config: MakeConfig) -> int:
    domid = await client.domain_create(config(vcpus=4), "{}")
    await client.domain_unpause(domid)
    return domid


@pytest.fixture
async def hvm(client: XenClient, config: MakeConfig) -> int:
    domid = await client.domain_create(config("hvm"), "{}")
    await client.domain_unpause(domid)
    return domid


async def test_hello_names_the_mock(client: XenClient) -> None:
    hello = await client.hello()

    assert (hello.xen, hello.libxl_version, hello.max_contexts) == ("mock", "mock", 16)
    assert hello.version_info == await client.version_info()
    assert hello.version_info.major == 4


async def test_the_host_is_described(client: XenClient) -> None:
    physinfo = await client.physinfo()

    assert physinfo.nr_cpus == 8
    assert physinfo.total_pages * 4 == 16 << 20
    assert [place.cpu for place in await client.cpu_topology()] == list(range(8))
    assert [node.node for node in await client.numa_info()] == [0]
    assert await client.scheduler() == "credit2"


async def test_a_domain_takes_free_memory(client: XenClient, config: MakeConfig) -> None:
    before = await client.free_memory()

    needed = await client.need_memory(config(memory_kib=1 << 20))
    await client.domain_create(config(memory_kib=1 << 20), "{}")

    assert needed >= 1 << 20
    assert before - await client.free_memory() >= 1 << 20


async def test_xens_console_answers_debug_keys(client: XenClient) -> None:
    await client.console_read(clear=True)

    await client.debug_keys("h")

    assert "h" in await client.console_read()
    with pytest.raises(XenInvalid):
        await client.debug_keys("h\n")


async def test_a_new_domain_is_paused_and_ours(
    client: XenClient, config: MakeConfig, identity: Callable[[Config], str]
) -> None:
    wanted = config("pvh", vcpus=2)

    domid = await client.domain_create(wanted, '{"vm": 1}')

    (domain,) = [each for each in await client.domain_list() if each.domid == domid]
    assert domain.uuid == identity(wanted)
    assert domain.name == wanted["c_info"]["name"]
    # On Xen a PVH domain's own entry in the list says "hvm".
    assert (domain.paused, domain.ours) == (True, True)
    assert domain.domain_type in ("pvh", "hvm")
    assert (domain.shutdown, domain.shutdown_reason, domain.dying) == (False, "none", False)
    assert await client.userdata_get(domid) == '{"vm": 1}'


async def test_the_control_domain_is_in_the_list_and_out_of_reach(client: XenClient) -> None:
    (control,) = await client.domain_list()

    assert (control.domid, control.ours) == (0, False)
    with pytest.raises(XenInvalid, match="control domain"):
        await client.domain_destroy(0, control.uuid)
    with pytest.raises(XenInvalid, match="control domain"):
        await client.domain_pause(0)


async def test_pause_and_unpause(client: XenClient, domid: int) -> None:
    def paused(domains: list[Any]) -> bool:
        return bool(next(each for each in domains if each.domid == domid).paused)

    await client.domain_pause(domid)
    assert paused(await client.domain_list())

    await client.domain_unpause(domid)
    assert not paused(await client.domain_list())


async def test_userdata_and_name_can_be_changed(client: XenClient, domid: int) -> None:
    await client.userdata_set(domid, "new")
    await client.rename(domid, "xapid-renamed")

    assert await client.userdata_get(domid) == "new"
    names = {each.domid: each.name for each in await client.domain_list()}
    assert names[domid] == "xapid-renamed"


async def test_the_configuration_can_be_read_back(client: XenClient, domid: int) -> None:
    read = await client.domain_config(domid)

    assert read["c_info"]["type"] == "pv"
    assert read["b_info"]["max_vcpus"] == 4


async def test_destroy_wants_the_right_uuid(client: XenClient, config: MakeConfig) -> None:
    wanted = config()
    domid = await client.domain_create(wanted, "{}")

    with pytest.raises(XenDomainNotFound):
        await client.domain_destroy(domid, NO_UUID)
    assert domid in {each.domid for each in await client.domain_list()}

    await client.domain_destroy(domid, wanted["c_info"]["uuid"])
    assert domid not in {each.domid for each in await client.domain_list()}
    with pytest.raises(XenDomainNotFound):
        await client.domain_destroy(domid, wanted["c_info"]["uuid"])


async def test_destroy_returns_only_when_the_domain_is_gone(
    client: XenClient, config: MakeConfig
) -> None:
    wanted = config()
    domid = await client.domain_create(wanted, "{}")
    await client.mock_set(destroy_ms=150)

    await client.domain_destroy(domid, wanted["c_info"]["uuid"])

    assert domid not in {each.domid for each in await client.domain_list()}


async def test_two_domains_cannot_have_one_uuid(client: XenClient, config: MakeConfig) -> None:
    wanted = config()
    domid = await client.domain_create(wanted, "{}")

    with pytest.raises(XenInvalid, match="exists already"):
        await client.domain_create(wanted, "{}")

    assert domid in {each.domid for each in await client.domain_list()}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("c_info", "nmae", "x"),
        ("b_info", "max_memkbb", 1),
        ("b_info", "no_such_number", 0),
        ("b_info", "no_such_flag", False),
        ("b_info", "no_such_text", ""),
        ("b_info", "no_such_struct", {"a": 1}),
        ("b_info", "max_vcpus", "2"),
        ("b_info", "type.pv", {"no_such": 1}),
    ],
)
async def test_a_key_that_libxl_would_drop_is_refused_by_name(
    client: XenClient, config: MakeConfig, section: str, key: str, value: Any
) -> None:
    wanted = config()
    wanted[section][key] = value

    with pytest.raises(XenInvalid) as refused:
        await client.domain_create(wanted, "{}")

    assert f"{section}.{key}" in str(refused.value)
    assert len(await client.domain_list()) == 1


async def test_a_union_with_two_branches_is_refused(client: XenClient, config: MakeConfig) -> None:
    wanted = config("pv")
    wanted["b_info"]["type.hvm"] = {}

    with pytest.raises(XenInvalid, match=r"b_info\.type"):
        await client.domain_create(wanted, "{}")


async def test_a_key_with_its_default_value_is_taken(client: XenClient, config: MakeConfig) -> None:
    wanted = config()
    wanted["b_info"] |= {"shadow_memkb": 0, "tsc_mode": "default", "extra": []}
    wanted["c_info"] |= {"run_hotplug_scripts": "True", "ssidref": 0}
    wanted["on_poweroff"] = "destroy"

    await client.domain_create(wanted, "{}")


async def test_too_large_a_domain_fails_and_leaves_nothing(
    client: XenClient, config: MakeConfig
) -> None:
    with pytest.raises(XenNoMemory) as failed:
        await client.domain_create(config(memory_kib=32 << 20), "{}")

    assert failed.value.function == "libxl_domain_create_new"
    assert failed.value.name == "ERROR_NOMEM"
    assert len(await client.domain_list()) == 1


@pytest.mark.parametrize("action", ["fail", "fail_after"])
@pytest.mark.parametrize("function", ["libxl_domain_create_new", "libxl_userdata_store"])
async def test_a_failed_create_leaves_nothing(
    client: XenClient, config: MakeConfig, function: str, action: Any
) -> None:
    await client.mock_fail(function, action, rc=-15)

    with pytest.raises(XenError) as failed:
        await client.domain_create(config(), "{}")

    assert failed.value.function == function
    assert len(await client.domain_list()) == 1


async def test_suspend_and_restore_go_on_where_the_guest_was(
    client: XenClient, config: MakeConfig, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"header")
    wanted = config()
    first = await client.domain_create(wanted, "{}")
    await client.domain_unpause(first)
    await client.mock_domain(first, "counter", 1_000_000)

    end = await client.domain_suspend(first, image, 4096)
    await client.domain_destroy(first, wanted["c_info"]["uuid"])
    second = await client.domain_restore(wanted, "again", image, 4096)

    assert end == image.stat().st_size > 4096
    assert image.read_bytes().startswith(b"header")
    assert await client.userdata_get(second) == "again"
    assert 1_000_000 <= await client.mock_ask(second, "counter") < 1_060_000


async def test_a_suspended_domain_can_go_on(client: XenClient, domid: int, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    await client.domain_suspend(domid, image)

    (stopped,) = [each for each in await client.domain_list() if each.domid == domid]
    await client.domain_resume(domid)
    (resumed,) = [each for each in await client.domain_list() if each.domid == domid]

    assert (stopped.shutdown, stopped.shutdown_reason) == (True, "suspend")
    assert (resumed.shutdown, resumed.shutdown_reason) == (False, "none")


async def test_suspend_never_makes_a_file(client: XenClient, domid: int, tmp_path: Path) -> None:
    with pytest.raises(XenInvalid, match="No such file"):
        await client.domain_suspend(domid, tmp_path / "absent")
    with pytest.raises(XenInvalid, match="neither a file nor a block device"):
        await client.domain_suspend(domid, Path("/dev/null"))
    with pytest.raises(XenInvalid, match="absolute"):
        await client.domain_suspend(domid, Path("relative"))

    assert not (tmp_path / "absent").exists()


async def test_restoring_nonsense_leaves_nothing(
    client: XenClient, config: MakeConfig, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"nonsense" * 100)

    with pytest.raises(XenError):
        await client.domain_restore(config(), "{}", image)

    assert len(await client.domain_list()) == 1


async def test_a_guest_without_drivers_cannot_be_asked(client: XenClient, hvm: int) -> None:
    await client.mock_domain(hvm, "pv_drivers", 0)

    with pytest.raises(XenNoPVDrivers):
        await client.domain_shutdown(hvm)
    with pytest.raises(XenNoPVDrivers):
        await client.domain_reboot(hvm)


async def test_a_trigger_and_a_key_reach_the_guest(client: XenClient, domid: int, hvm: int) -> None:
    await client.send_sysrq(domid, "h")
    await client.send_trigger(hvm, "nmi")

    assert await client.mock_ask(domid, "sysrq") == ord("h")
    assert await client.mock_ask(hvm, "trigger") > 0
    with pytest.raises(XenInvalid):
        await client.send_trigger(hvm, "no-such-trigger")
    with pytest.raises(XenInvalid):
        await client.send_sysrq(domid, "hh")


async def test_a_core_is_dumped_to_a_new_file_or_to_a_disk_that_keeps_its_size(
    client: XenClient, domid: int, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))

    await client.core_dump(domid, tmp_path / "core")
    await client.core_dump(domid, disk)

    assert (tmp_path / "core").stat().st_size > 0
    assert disk.stat().st_size == 1 << 20
    assert disk.read_bytes()[:5] == b"xapid"


async def test_a_core_is_not_dumped_through_a_link(
    client: XenClient, domid: int, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(XenInvalid):
        await client.core_dump(domid, tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


async def test_the_console_is_found(client: XenClient, domid: int) -> None:
    assert (await client.console_tty(domid)).is_absolute()


async def test_memory_can_be_changed(client: XenClient, domid: int) -> None:
    await client.set_memory_target(domid, 49152, enforce=True)
    await client.set_max_memory(domid, 60000)

    assert await client.memory_target(domid) == 49152


async def test_memory_for_page_tables_is_given_and_taken(
    client: XenClient, domid: int, hvm: int
) -> None:
    held, had = await client.mock_ask(hvm, "held_kib"), await client.mock_ask(hvm, "paging_kib")

    await client.set_paging_memory(hvm, had + 4096)

    assert await client.mock_ask(hvm, "held_kib") == held + 4096
    await client.set_paging_memory(hvm, had)
    assert await client.mock_ask(hvm, "held_kib") == held
    with pytest.raises(XenNoMemory):
        await client.set_paging_memory(hvm, 1 << 40)
    for wrong in (0, 4098):
        with pytest.raises(XenInvalid):
            await client.set_paging_memory(hvm, wrong)
    with pytest.raises(XenInvalid):
        await client.set_paging_memory(domid, had)
    with pytest.raises(XenDomainNotFound):
        await client.set_paging_memory(999, had)


async def test_vcpus_can_be_unplugged_and_pinned(client: XenClient, domid: int) -> None:
    await client.set_vcpu_online(domid, 2)
    await client.set_vcpu_affinity(domid, [1, 3])
    await client.set_vcpu_affinity(domid, [7], vcpu=1)

    vcpus = await client.vcpu_list(domid)
    assert [vcpu.online for vcpu in vcpus] == [True, True, False, False]
    assert [vcpu.hard for vcpu in vcpus] == [(1, 3), (7,), (1, 3), (1, 3)]
    with pytest.raises(XenInvalid):
        await client.set_vcpu_affinity(domid, [8])
    with pytest.raises(XenInvalid):
        await client.set_vcpu_affinity(domid, [])


async def test_scheduling_is_changed_where_asked(client: XenClient, domid: int) -> None:
    await client.sched_set(domid, weight=512)
    await client.sched_set(domid, cap=50)

    params = await client.sched_get(domid)
    assert (params.scheduler, params.weight, params.cap) == ("credit2", 512, 50)


async def test_a_disk_comes_and_goes(client: XenClient, domid: int) -> None:
    added = await client.disk_add(domid, DISK)
    (disk,) = await client.disk_list(domid)

    assert added["vdev"] == disk.disk["vdev"] == "xvdb"
    assert disk.state == 4
    with pytest.raises(XenDeviceExists):
        await client.disk_add(domid, DISK)

    await client.disk_remove(domid, "xvdb")
    assert await client.disk_list(domid) == []
    with pytest.raises(XenNotFound):
        await client.disk_remove(domid, "xvdb")


async def test_a_guest_may_refuse_to_let_a_disk_go(client: XenClient, domid: int) -> None:
    await client.disk_add(domid, DISK)
    await client.mock_domain(domid, "refuse_unplug")
    await client.mock_set(unplug_timeout_ms=50)

    with pytest.raises(XenTimedOut):
        await client.disk_remove(domid, "xvdb")
    assert len(await client.disk_list(domid)) == 1

    await client.disk_remove(domid, "xvdb", force=True)
    assert await client.disk_list(domid) == []


@pytest.mark.parametrize("vdev", ["", "xvdb,readonly=off", "../x", "XVDB"])
async def test_a_disk_needs_a_plain_device_name(client: XenClient, domid: int, vdev: str) -> None:
    with pytest.raises(XenInvalid):
        await client.disk_add(domid, DISK | {"vdev": vdev})


async def test_a_failed_disk_add_leaves_nothing(client: XenClient, domid: int) -> None:
    await client.mock_fail("libxl_device_disk_add", "fail_after")

    with pytest.raises(XenError):
        await client.disk_add(domid, DISK)

    assert await client.disk_list(domid) == []


async def test_an_unknown_key_of_a_disk_is_refused(client: XenClient, domid: int) -> None:
    with pytest.raises(XenInvalid, match="pdev_pth"):
        await client.disk_add(domid, {"pdev_pth": "/dev/null", "vdev": "xvdb"})


async def test_a_disc_is_changed(client: XenClient, config: MakeConfig) -> None:
    drive = {"vdev": "hdc", "format": "empty", "is_cdrom": 1, "removable": 1}
    wanted = config("hvm") | {"disks": [drive]}
    domid = await client.domain_create(wanted, "{}")
    disc = drive | {"format": "raw", "pdev_path": "/srv/image.iso"}

    await client.cdrom_insert(domid, disc)

    (disk,) = await client.disk_list(domid)
    assert disk.disk["pdev_path"] == "/srv/image.iso"


async def test_a_nic_comes_and_goes(client: XenClient, domid: int) -> None:
    added = await client.nic_add(domid, NIC)
    (nic,) = await client.nic_list(domid)

    assert added["mac"] == nic.nic["mac"] == NIC["mac"]
    assert (nic.devid, nic.state) == (0, 4)
    with pytest.raises(XenDeviceExists):
        await client.nic_add(domid, NIC)

    await client.nic_remove(domid, mac=NIC["mac"])
    assert await client.nic_list(domid) == []
    with pytest.raises(XenNotFound):
        await client.nic_remove(domid, devid=0, force=True)


async def test_devices_of_no_domain_are_not_an_empty_list(client: XenClient) -> None:
    with pytest.raises(XenDomainNotFound):
        await client.disk_list(4000)
    with pytest.raises(XenDomainNotFound):
        await client.nic_list(4000)
    with pytest.raises(XenDomainNotFound):
        await client.vcpu_list(4000)


async def test_a_number_out_of_range_is_refused(client: XenClient) -> None:
    with pytest.raises(XenInvalid):
        await client.domain_unpause(-1)
    with pytest.raises(XenInvalid):
        await client.domain_unpause(2**40)


async def test_an_error_carries_libxls_log(client: XenClient) -> None:
    with pytest.raises(XenDomainNotFound) as failed:
        await client.domain_unpause(4000)

    assert failed.value.function == "libxl_domain_unpause"
    assert failed.value.log


async def test_the_socket_is_for_its_owner_alone(client: XenClient, tmp_path: Path) -> None:
    mode = (tmp_path / "worker.sock").stat().st_mode

    assert stat.S_IMODE(mode) == 0o600


def test_the_client_has_a_method_for_each_operation() -> None:
    methods = {name for name in dir(XenClient) if not name.startswith("_")}

    assert methods >= protocol.OPERATIONS


def test_the_worker_has_a_handler_for_each_operation() -> None:
    from xapid.xenworker import server
    from xapid.xenworker.registry import TABLE

    assert server.TABLE is TABLE
    assert set(TABLE) == protocol.OPERATIONS
    assert {name for name, entry in TABLE.items() if entry.mock_only} == protocol.MOCK_OPERATIONS
