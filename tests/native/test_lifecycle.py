"""The mock's domains live as libxl's do."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from typing import Any

import pytest
from xapid.xenworker._libxl_mock import ffi, lib

NULL = ffi.NULL


def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for what another thread of the mock will make true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not become true"
        threading.Event().wait(0.002)


def test_a_guest_is_created_paused_runs_and_is_destroyed(host: Any) -> None:
    free = host.knob("free_kib")

    domid = host.create(uuid="11111111-2222-3333-4444-555555555555")
    created = host.info(domid)

    assert (created.paused, created.running, created.shutdown, created.dying) == (
        True,
        False,
        False,
        False,
    )
    assert bytes(created.uuid.uuid).hex() == "11111111222233334444555555555555"
    assert created.current_memkb == 262144
    assert created.domain_type == lib.LIBXL_DOMAIN_TYPE_PV
    assert (created.vcpu_max_id, created.vcpu_online) == (3, 1)
    assert free - host.knob("free_kib") == host.fact(domid, "held_kib") >= 262144

    assert lib.libxl_domain_unpause(host.ctx, domid, NULL) == 0
    assert host.info(domid).running

    assert lib.libxl_domain_pause(host.ctx, domid, NULL) == 0
    assert host.info(domid).paused

    assert lib.libxl_domain_destroy(host.ctx, domid, NULL) == 0
    assert host.info(domid) is None
    assert host.knob("free_kib") == free
    assert lib.libxl_domain_destroy(host.ctx, domid, NULL) == lib.ERROR_DOMAIN_NOTFOUND


def test_domids_rise_and_are_not_used_again_soon(host: Any) -> None:
    first = host.create()
    lib.libxl_domain_destroy(host.ctx, first, NULL)

    second = host.create()

    assert second == first + 1
    assert host.domids() == [0, second]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "pv", "branch": {}, "name": ""},
        {"memory_kib": 4096, "max_kib": 2048},
        {"name": "Domain-0"},
        {"disks": [{"vdev": "nonsense", "pdev_path": "/dev/vg/a"}]},
        {"disks": [{"vdev": "xvda"}]},
    ],
)
def test_a_configuration_that_libxl_refuses_leaves_nothing(
    host: Any, changes: dict[str, Any]
) -> None:
    assert host.try_create(**changes) == lib.ERROR_INVAL
    assert host.domids() == [0]
    assert host.domid[0] == lib.XAPID_INVALID_DOMID


def test_a_type_without_its_branch_is_refused(host: Any) -> None:
    wanted = host.config(kind="pv")
    wanted["b_info"]["type.hvm"] = wanted["b_info"].pop("type.pv")

    config = host.parsed("domain_config", wanted)

    assert lib.libxl_domain_create_new(host.ctx, config, host.domid, NULL, NULL) == lib.ERROR_INVAL


def test_a_guest_shuts_down_and_reboots_when_asked(host: Any) -> None:
    for function, reason in (
        (lib.libxl_domain_shutdown, lib.LIBXL_SHUTDOWN_REASON_POWEROFF),
        (lib.libxl_domain_reboot, lib.LIBXL_SHUTDOWN_REASON_REBOOT),
    ):
        domid = host.create(run=True)
        host.watch(domid)

        assert function(host.ctx, domid, NULL) == 0

        assert host.next_event() == (lib.LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN, domid, 0, reason)
        info = host.info(domid)
        assert (info.shutdown, info.running, info.shutdown_reason) == (True, False, reason)


def test_a_guest_may_ignore_requests(host: Any) -> None:
    host.turn(ack_timeout_ms=10)
    deaf, forgetful = host.create(run=True), host.create(run=True)
    lib.xapid_mock_order(deaf, b"ignore_shutdown", 1)
    lib.xapid_mock_order(forgetful, b"ignore_shutdown", 2)

    assert lib.libxl_domain_shutdown(host.ctx, deaf, NULL) == lib.ERROR_TIMEDOUT
    assert lib.libxl_domain_shutdown(host.ctx, forgetful, NULL) == 0

    assert host.info(deaf).running
    assert host.info(forgetful).running
    assert host.fact(forgetful, "shutdown_requests") == 1


def test_a_paused_guest_does_not_acknowledge(host: Any) -> None:
    host.turn(ack_timeout_ms=10)

    assert lib.libxl_domain_shutdown(host.ctx, host.create(), NULL) == lib.ERROR_TIMEDOUT


def test_hvm_without_drivers_has_only_its_power_button(host: Any) -> None:
    host.turn(hvm_pv_drivers=0)
    domid = host.create(run=True, kind="hvm")
    host.watch(domid)

    assert lib.libxl_domain_shutdown(host.ctx, domid, NULL) == lib.ERROR_NOPARAVIRT
    assert lib.libxl_domain_reboot(host.ctx, domid, NULL) == lib.ERROR_NOPARAVIRT
    assert lib.libxl_send_trigger(host.ctx, domid, lib.LIBXL_TRIGGER_POWER, 0, NULL) == 0

    assert host.next_event()[3] == lib.LIBXL_SHUTDOWN_REASON_POWEROFF
    assert host.fact(domid, "trigger") == lib.LIBXL_TRIGGER_POWER


def test_a_guest_that_has_not_booted_does_not_answer(host: Any) -> None:
    host.turn(boot_ms=60000, ack_timeout_ms=5)
    pv, hvm = host.create(run=True), host.create(run=True, kind="hvm")

    assert lib.libxl_domain_shutdown(host.ctx, pv, NULL) == lib.ERROR_TIMEDOUT
    assert lib.libxl_domain_shutdown(host.ctx, hvm, NULL) == lib.ERROR_NOPARAVIRT


@pytest.mark.parametrize(
    "order", ["crash", "reboot", "poweroff", "suspend", "watchdog", "soft_reset"]
)
def test_a_guest_ends_by_itself(host: Any, order: str) -> None:
    domid = host.create(run=True)
    host.watch(domid, user=77)

    assert lib.xapid_mock_order(domid, order.encode(), 0) == 0

    reason = getattr(lib, f"LIBXL_SHUTDOWN_REASON_{order.upper()}")
    assert host.next_event() == (lib.LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN, domid, 77, reason)
    assert lib.xapid_mock_order(domid, order.encode(), 0) == lib.ERROR_NOT_READY


def test_memory_runs_out_and_comes_back(host: Any) -> None:
    host.turn(memory_kib=2 * 1024 * 1024)
    big = host.create(memory_kib=900 * 1024)
    free = host.knob("free_kib")

    assert host.try_create(memory_kib=900 * 1024) == lib.ERROR_NOMEM
    assert host.domids() == [0, big]
    assert host.knob("free_kib") == free

    lib.libxl_domain_destroy(host.ctx, big, NULL)
    assert host.try_create(memory_kib=900 * 1024) == 0


def test_what_a_guest_needs_is_what_its_build_takes(host: Any) -> None:
    for kind in ("pv", "pvh", "hvm"):
        wanted = host.config(kind=kind)
        need, before = ffi.new("uint64_t *"), host.knob("free_kib")
        config = host.parsed("domain_config", wanted)
        assert lib.libxl_domain_need_memory(host.ctx, config, lib.XAPID_INVALID_DOMID, need) == 0

        assert lib.libxl_domain_create_new(host.ctx, config, host.domid, NULL, NULL) == 0

        assert before - host.knob("free_kib") == need[0]


def test_an_abort_ends_a_build_and_leaves_the_half_made_domain(host: Any) -> None:
    host.turn(build_ms=60000)
    results: list[int] = []
    builder = threading.Thread(
        target=lambda: results.append(host.try_create(uuid="00000000-0000-0000-0000-0000000000aa"))
    )
    found = ffi.new("uint32_t *")

    assert lib.libxl_ao_abort(host.ctx, NULL) == lib.ERROR_NOTFOUND
    builder.start()
    until(lambda: lib.xapid_mock_find(b"00000000-0000-0000-0000-0000000000aa", found) == 0)
    assert host.fact(found[0], "half_made") == 1
    assert lib.libxl_ao_abort(host.ctx, NULL) == 0
    builder.join(5)

    assert results == [lib.ERROR_ABORTED]
    assert host.domid[0] == found[0]
    assert host.info(found[0]).paused
    assert lib.libxl_domain_destroy(host.ctx, found[0], NULL) == 0
    assert host.domids() == [0]


def test_builds_in_several_contexts_overlap(host: Any) -> None:
    host.turn(build_ms=200)
    contexts = [host.another() for _ in range(4)]
    began = time.monotonic()
    host.another().create()
    alone_s = time.monotonic() - began

    began = time.monotonic()
    builders = [threading.Thread(target=context.create) for context in contexts]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    assert time.monotonic() - began < 3 * alone_s
    assert len(host.domids()) == 6


def test_suspend_and_restore_keep_the_counter(host: Any) -> None:
    domid = host.create(run=True)
    lib.xapid_mock_order(domid, b"counter", 123456789)
    with tempfile.TemporaryFile() as stream:
        stream.write(b"header")
        stream.flush()

        assert lib.libxl_domain_suspend(host.ctx, domid, stream.fileno(), 0, NULL) == 0
        assert host.info(domid).shutdown_reason == lib.LIBXL_SHUTDOWN_REASON_SUSPEND
        end = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
        counter = host.fact(domid, "counter")
        lib.libxl_domain_destroy(host.ctx, domid, NULL)
        os.lseek(stream.fileno(), 6, os.SEEK_SET)
        config = host.parsed("domain_config", host.config())
        rc = lib.xapid_domain_create_restore(host.ctx, config, host.domid, stream.fileno())

        assert rc == 0
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == end
    assert counter >= 123456789
    assert host.fact(host.domid[0], "counter") == counter
    assert host.info(host.domid[0]).paused
    assert lib.libxl_domain_unpause(host.ctx, host.domid[0], NULL) == 0
    until(lambda: host.fact(host.domid[0], "counter") > counter)


def test_a_broken_stream_restores_nothing(host: Any) -> None:
    domid = host.create(run=True)
    with tempfile.TemporaryFile() as stream:
        assert lib.libxl_domain_suspend(host.ctx, domid, stream.fileno(), 0, NULL) == 0
        whole = os.pread(stream.fileno(), 10**6, 0)
    for broken in (
        b"",
        whole[:-1],
        whole[:100],
        b"y" + whole[1:],
        whole[:5000] + b"!" + whole[5001:],
    ):
        with tempfile.TemporaryFile() as stream:
            stream.write(broken)
            stream.seek(0)
            config = host.parsed("domain_config", host.config())

            rc = lib.xapid_domain_create_restore(host.ctx, config, host.domid, stream.fileno())

            assert rc == lib.ERROR_FAIL
    assert host.domids() == [0, domid]


def test_a_suspended_guest_can_go_on(host: Any) -> None:
    domid = host.create(run=True)
    assert lib.libxl_domain_resume(host.ctx, domid, 1, NULL) == lib.ERROR_FAIL
    with tempfile.TemporaryFile() as stream:
        assert lib.libxl_domain_suspend(host.ctx, domid, stream.fileno(), 0, NULL) == 0

    assert lib.libxl_domain_resume(host.ctx, domid, 1, NULL) == 0

    assert host.info(domid).running


def test_an_abort_ends_a_save_that_nobody_reads(host: Any) -> None:
    domid = host.create(run=True)
    reader, writer = os.pipe()
    results: list[int] = []
    saver = threading.Thread(
        target=lambda: results.append(lib.libxl_domain_suspend(host.ctx, domid, writer, 0, NULL))
    )

    saver.start()
    until(lambda: host.info(domid).shutdown)
    assert lib.libxl_ao_abort(host.ctx, NULL) == 0
    saver.join(5)
    os.close(reader)
    os.close(writer)

    assert results == [lib.ERROR_ABORTED]
    assert lib.libxl_domain_resume(host.ctx, domid, 1, NULL) == 0


def test_the_stored_configuration_follows_the_domain(host: Any) -> None:
    domid = host.create(run=True, memory_kib=262144, max_kib=524288)
    assert lib.libxl_set_memory_target(host.ctx, domid, 131072, 0, 1) == 0
    assert lib.libxl_domain_rename(host.ctx, domid, NULL, b"other") == 0
    config = host.parsed("domain_config", {})

    assert lib.libxl_retrieve_domain_configuration(host.ctx, domid, config, NULL) == 0

    stored = host.written("domain_config", config)
    assert stored["c_info"]["name"] == "other"
    assert stored["b_info"]["target_memkb"] == 131072
    assert stored["b_info"]["max_memkb"] == 524288
    assert host.info(domid).current_memkb == 131072


def test_a_half_made_domain_has_no_stored_configuration(host: Any) -> None:
    host.fail("libxl_domain_create_new", 1, rc=lib.ERROR_FAIL)
    assert host.try_create() == lib.ERROR_FAIL

    zero = host.parsed("domain_config", {})

    assert (
        lib.libxl_retrieve_domain_configuration(host.ctx, 0, zero, NULL)
        == lib.ERROR_JSON_CONFIG_EMPTY
    )


def test_userdata_is_kept_with_the_domain(host: Any) -> None:
    domid = host.create()

    assert host.userdata(domid) is None
    assert lib.libxl_userdata_store(host.ctx, domid, b"xapid", b"one\0two", 7) == 0
    assert lib.libxl_userdata_store(host.ctx, domid, b"xl", b"other", 5) == 0
    assert lib.libxl_userdata_store(host.ctx, domid, b"xapid", b"three" * 3000, 15000) == 0
    assert (host.userdata(domid), host.userdata(domid, "xl")) == (b"three" * 3000, b"other")

    assert lib.libxl_userdata_unlink(host.ctx, domid, b"xapid") == 0
    assert host.userdata(domid) is None
    lib.libxl_domain_destroy(host.ctx, domid, NULL)
    assert lib.libxl_userdata_store(host.ctx, domid, b"xapid", b"x", 1) == lib.ERROR_LOCK_FAIL


def test_vcpus_affinity_and_weight_can_be_changed(host: Any) -> None:
    domid = host.create(run=True)
    online, cpus = ffi.new("libxl_bitmap *"), ffi.new("libxl_bitmap *")
    lib.libxl_bitmap_init(online)
    lib.libxl_bitmap_init(cpus)
    assert lib.libxl_cpu_bitmap_alloc(host.ctx, online, 4) == 0
    assert lib.libxl_cpu_bitmap_alloc(host.ctx, cpus, 0) == 0
    for bit in (0, 1, 2):
        lib.libxl_bitmap_set(online, bit)
    lib.libxl_bitmap_set(cpus, 5)
    params = ffi.new("libxl_domain_sched_params *")
    lib.libxl_domain_sched_params_init(params)
    params.weight, params.cap = 512, 150

    assert lib.libxl_set_vcpuonline(host.ctx, domid, online, NULL) == 0
    assert lib.libxl_set_vcpuaffinity(host.ctx, domid, 1, cpus, NULL) == 0
    assert lib.libxl_domain_sched_params_set(host.ctx, domid, params) == 0
    params.weight = 0
    assert lib.libxl_domain_sched_params_set(host.ctx, domid, params) == lib.ERROR_INVAL

    count, cpu_count = ffi.new("int *"), ffi.new("int *")
    listed = lib.libxl_list_vcpu(host.ctx, domid, count, cpu_count)
    found = [
        (listed[i].online, lib.libxl_bitmap_count_set(ffi.addressof(listed[i], "cpumap")))
        for i in range(4)
    ]
    lib.libxl_vcpuinfo_list_free(listed, count[0])
    lib.libxl_domain_sched_params_get(host.ctx, domid, params)
    assert found == [(True, 8), (True, 1), (True, 8), (False, 8)]
    assert (count[0], cpu_count[0]) == (4, 8)
    assert (params.weight, params.cap) == (512, 150)
    lib.libxl_bitmap_dispose(online)
    lib.libxl_bitmap_dispose(cpus)


def test_xens_console_can_be_read_and_cleared(host: Any) -> None:
    def read(clear: int) -> str:
        reader = lib.libxl_xen_console_read_start(host.ctx, clear)
        line, lines = ffi.new("char **"), []
        while lib.libxl_xen_console_read_line(host.ctx, reader, line) == 1:
            lines.append(ffi.string(line[0]).decode())
        lib.libxl_xen_console_read_finish(host.ctx, reader)
        return "".join(lines)

    keys = ffi.new("char[]", b"hq")
    assert lib.libxl_send_debug_keys(host.ctx, keys) == 0

    assert "'q' pressed" in read(1)
    assert read(0) == ""
