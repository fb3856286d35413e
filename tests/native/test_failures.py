"""Every call can be told to fail, to fail after its work, and to hang."""

from __future__ import annotations

import threading
import time
from typing import Any

from xapid.xenworker._libxl_mock import ffi, lib

NULL = ffi.NULL


def test_a_call_fails_as_often_as_told(host: Any) -> None:
    domid = host.create(run=True)
    host.fail("libxl_domain_pause", 0, rc=lib.ERROR_TIMEDOUT, count=2)

    results = [lib.libxl_domain_pause(host.ctx, domid, NULL) for _ in range(3)]

    assert results == [lib.ERROR_TIMEDOUT, lib.ERROR_TIMEDOUT, 0]


def test_a_call_fails_for_one_domain_only(host: Any) -> None:
    domid, other = host.create(run=True), host.create(run=True)
    host.fail("libxl_domain_pause", 0, rc=lib.ERROR_FAIL, count=-1, domid=domid)

    assert lib.libxl_domain_pause(host.ctx, other, NULL) == 0
    assert lib.libxl_domain_pause(host.ctx, domid, NULL) == lib.ERROR_FAIL
    assert lib.xapid_mock_release() == 0
    assert lib.libxl_domain_pause(host.ctx, domid, NULL) == 0


def test_a_domain_not_yet_made_is_named_by_its_uuid(host: Any) -> None:
    wanted = "abcdefab-0000-0000-0000-000000000001"
    host.fail("libxl_domain_create_new", 0, rc=lib.ERROR_FAIL, uuid=wanted)

    assert host.try_create() == 0
    assert host.try_create(uuid=wanted) == lib.ERROR_FAIL
    assert host.try_create(uuid=wanted) == 0


def test_a_call_may_fail_after_its_work_was_done(host: Any) -> None:
    domid = host.create(run=True)
    host.fail("libxl_domain_pause", 1, rc=lib.ERROR_FAIL)

    assert lib.libxl_domain_pause(host.ctx, domid, NULL) == lib.ERROR_FAIL

    assert host.info(domid).paused


def test_a_list_that_fails_is_no_list(host: Any) -> None:
    count = ffi.new("int *")
    host.fail("libxl_list_domain", 0, rc=lib.ERROR_FAIL)
    assert lib.libxl_list_domain(host.ctx, count) == NULL

    host.fail("libxl_list_domain", 1, rc=lib.ERROR_FAIL)
    assert lib.libxl_list_domain(host.ctx, count) == NULL


def hang(host: Any, domid: int) -> tuple[threading.Thread, list[int]]:
    results: list[int] = []
    thread = threading.Thread(
        target=lambda: results.append(lib.libxl_domain_pause(host.ctx, domid, NULL))
    )
    host.fail("libxl_domain_pause", 2)
    thread.start()
    end = time.monotonic() + 5
    while lib.xapid_mock_hanging() != 1:
        assert time.monotonic() < end
        threading.Event().wait(0.002)
    return thread, results


def test_a_hanging_call_goes_on_when_released(host: Any) -> None:
    domid = host.create(run=True)
    thread, results = hang(host, domid)
    assert host.another().info(domid).running

    lib.xapid_mock_release()
    thread.join(5)

    assert results == [0]
    assert host.info(domid).paused
    assert lib.xapid_mock_hanging() == 0


def test_a_hanging_call_can_be_aborted(host: Any) -> None:
    domid = host.create(run=True)
    thread, results = hang(host, domid)

    assert lib.libxl_ao_abort(host.ctx, NULL) == 0
    assert lib.libxl_ao_abort(host.ctx, NULL) in (lib.ERROR_ABORTED, lib.ERROR_NOTFOUND)
    thread.join(5)

    assert results == [lib.ERROR_ABORTED]
    assert host.info(domid).running


def test_nonsense_is_refused(host: Any) -> None:
    assert lib.xapid_mock_set(b"no such knob", 1) == lib.ERROR_INVAL
    assert lib.xapid_mock_set(b"cpus", 0) == lib.ERROR_INVAL
    assert lib.xapid_mock_order(0, b"no such order", 0) == lib.ERROR_INVAL
    assert lib.xapid_mock_order(999, b"crash", 0) == lib.ERROR_DOMAIN_NOTFOUND
    assert lib.xapid_mock_fail(b"x", 9, 0, 1, 0, NULL) == lib.ERROR_INVAL
    assert lib.xapid_mock_fail(b"x", 0, 0, 1, 0, b"not a uuid") == lib.ERROR_INVAL
    rules = [lib.xapid_mock_fail(b"x", 0, 0, 1, 0, NULL) for _ in range(65)]
    assert rules == [0] * 64 + [lib.ERROR_NOMEM]
