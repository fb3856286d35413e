"""Shutdowns and deaths are told as libxl tells them, with its limits."""

from __future__ import annotations

import threading
from typing import Any

from xapid.xenworker._libxl_mock import ffi, lib

NULL = ffi.NULL


def test_a_waiting_thread_is_woken_by_a_death(host: Any) -> None:
    events, seen = host.another(), []
    domid = host.create(run=True)
    events.watch(domid, user=5)
    waiter = threading.Thread(target=lambda: seen.append(events.next_event()))

    waiter.start()
    assert lib.libxl_domain_destroy(host.ctx, domid, NULL) == 0
    waiter.join(5)

    assert seen == [
        (lib.LIBXL_EVENT_TYPE_DOMAIN_DEATH, domid, 5, lib.LIBXL_SHUTDOWN_REASON_UNKNOWN)
    ]


def test_a_waiting_thread_sees_watches_added_later(host: Any) -> None:
    events, seen = host.another(), []
    waiter = threading.Thread(target=lambda: seen.append(events.next_event()))
    waiter.start()

    domid = host.create(run=True)
    events.watch(domid)
    lib.xapid_mock_order(domid, b"crash", 0)
    waiter.join(5)

    assert seen == [
        (lib.LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN, domid, 0, lib.LIBXL_SHUTDOWN_REASON_CRASH)
    ]


def test_each_death_and_shutdown_is_told_once(host: Any) -> None:
    domid = host.create(run=True)
    host.watch(domid)
    lib.xapid_mock_order(domid, b"poweroff", 0)
    lib.libxl_domain_destroy(host.ctx, domid, NULL)

    told = [host.next_event(wait=False) for _ in range(3)]

    assert [event and event[0] for event in told] == [lib.LIBXL_EVENT_TYPE_DOMAIN_DEATH, None, None]


def test_the_first_watch_tells_what_had_happened_a_later_one_does_not(host: Any) -> None:
    early, late = host.create(run=True), host.create(run=True)
    lib.xapid_mock_order(early, b"poweroff", 0)
    lib.xapid_mock_order(late, b"poweroff", 0)

    host.watch(early)
    assert host.next_event(wait=False)[1] == early
    host.watch(late)

    assert host.next_event(wait=False) is None


def test_a_watch_reports_no_second_shutdown_after_a_resume(host: Any) -> None:
    domid = host.create(run=True)
    host.watch(domid)
    lib.xapid_mock_order(domid, b"suspend", 0)
    assert host.next_event(wait=False)[3] == lib.LIBXL_SHUTDOWN_REASON_SUSPEND
    assert lib.libxl_domain_resume(host.ctx, domid, 1, NULL) == 0

    lib.xapid_mock_order(domid, b"crash", 0)

    assert host.next_event(wait=False) is None


def test_a_disabled_watch_is_silent(host: Any) -> None:
    domid = host.create(run=True)
    evgen = host.watch(domid)

    lib.libxl_evdisable_domain_death(host.ctx, evgen)
    lib.libxl_domain_destroy(host.ctx, domid, NULL)

    assert host.next_event(wait=False) is None


def test_only_wanted_types_are_given(host: Any) -> None:
    domid = host.create(run=True)
    host.watch(domid)
    lib.xapid_mock_order(domid, b"crash", 0)
    holder = ffi.new("libxl_event **")

    rc = lib.libxl_event_check(host.ctx, holder, 1 << lib.LIBXL_EVENT_TYPE_DOMAIN_DEATH, NULL, NULL)

    assert rc == lib.ERROR_NOT_READY
    assert host.next_event(wait=False)[1] == domid
