"""Events as clients hear them: what they registered for, at once, in order, or told it is lost."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import Any

import pytest

from xapid.datamodel.network import Network
from xapid.db.events import RING


def test_a_client_hears_what_it_registered_for(front: Any, api: Any) -> None:
    api.event.register(["network"])
    made = api.network.create({"name_label": "one"})
    api.user.destroy(api.user.create({"short_name": "not asked for"}))
    api.network.set_name_label(made, "two")
    api.network.destroy(made)

    events: list[dict[str, Any]] = []
    while len(events) < 3:
        events += api.event.next()

    assert [(e["class"], e["operation"], e["ref"]) for e in events] == [
        ("network", "add", made),
        ("network", "mod", made),
        ("network", "del", made),
    ]
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(ids)
    assert int(api.event.get_current_id()) >= ids[-1]
    assert set(events[0]) == {
        *("id", "timestamp", "class", "operation", "ref", "obj_uuid", "snapshot")
    }
    assert events[1]["snapshot"]["name_label"] == "two"


def test_registering_again_adds_classes_and_loses_nothing(api: Any) -> None:
    api.event.register(["network"])
    made = api.network.create({"name_label": "kept"})
    api.event.register(["USER"])
    user = api.user.create({"short_name": "heard"})

    heard = [event["ref"] for event in api.event.next()]

    assert heard == [made, user]


def test_what_happened_before_registering_is_not_told(api: Any) -> None:
    api.network.create({"name_label": "before"})
    api.event.register(["*"])
    after = api.network.create({"name_label": "after"})

    assert [event["ref"] for event in api.event.next()] == [after]


def test_next_wakes_at_once(front: Any) -> None:
    listener, doer = front.login(), front.login()
    listener.event.register(["network"])
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.append((listener.event.next(), monotonic())))
    thread.start()
    front.run(registered_waiter(front))

    began = monotonic()
    made = doer.network.create({"name_label": "now"})
    thread.join(10)

    (events, when) = heard[0]
    assert [event["ref"] for event in events] == [made]
    assert when - began < 1.0


async def registered_waiter(front: Any) -> None:
    """Return once somebody waits for the feed."""
    while front.store.feed._changed is None:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)


def test_next_answers_with_nothing_when_nothing_happens(make_front: Any) -> None:
    front = make_front()
    front.events._wait_s = 0.05
    api = front.login()
    api.event.register(["network"])

    assert api.event.next() == []


def test_a_session_that_registered_for_nothing_is_told_so(api: Any, failure: Any) -> None:
    for prepare in (
        lambda: None,
        lambda: (api.event.register(["VM"]), api.event.unregister(["VM"])),
        lambda: (api.event.register(["VM", "host"]), api.event.unregister(["*"])),
    ):
        prepare()
        with pytest.raises(failure) as refused:
            api.event.next()
        assert refused.value.error == ["SESSION_NOT_REGISTERED", api.me]


def test_a_class_that_does_not_exist_is_no_subscription(api: Any, failure: Any) -> None:
    for method in (api.event.register, api.event.unregister):
        with pytest.raises(failure) as refused:
            method(["network", "unicorn"])
        assert refused.value.error == ["EVENT_SUBSCRIPTION_PARSE_FAILURE", "unicorn"]


def test_a_client_that_fell_behind_is_told_and_can_go_on(front: Any, failure: Any) -> None:
    api = front.login()
    api.event.register(["network"])
    network = front.transact(lambda tx: tx.create(Network, volatile=True))
    front.run(flood(front, network, RING + 10))

    with pytest.raises(failure) as refused:
        api.event.next()
    assert refused.value.error == ["EVENTS_LOST"]

    made = api.network.create({"name_label": "after the flood"})
    assert [event["ref"] for event in api.event.next()] == [made]


async def flood(front: Any, network: Any, count: int) -> None:
    current = front.store.get(network)
    front.store.feed.append([(current, current)] * count, front.clock.now)


def test_a_session_that_ends_while_it_waits_is_told(front: Any) -> None:
    listener, doer = front.login(), front.login()
    listener.event.register(["network"])
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.append(listener.proxy.event.next(listener.me)))
    thread.start()
    front.run(registered_waiter(front))

    doer.proxy.session.logout(listener.me)
    doer.network.create({"name_label": "wakes"})
    thread.join(10)

    assert heard[0]["ErrorDescription"] == ["SESSION_INVALID", listener.me]


def test_stopping_lets_those_who_wait_go(make_front: Any) -> None:
    front = make_front()
    api = front.login()
    api.event.register(["network"])
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.append(api.event.next()))
    thread.start()
    front.run(registered_waiter(front))

    began = monotonic()
    front.run(front.dispatcher.stop(5.0))
    thread.join(10)

    assert heard == [[]]
    assert monotonic() - began < 2.0
