"""Events as clients hear them: what they registered for, at once, in order, or told it is lost."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import Any

import pytest

from xapid.datamodel.declare import NULL
from xapid.datamodel.network import Network
from xapid.datamodel.registry import METHODS
from xapid.db.events import RING
from xapid.db.store import Store
from xapid.rpc.answers import success
from xapid.rpc.call import ApiCall
from xapid.rpc.events import AT_ONCE, Events
from xapid.rpc.sessions import Sessions
from xapid.rpc.tasks import Tasks


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
    assert when - began < 10, "long before the answer that is due without an event"


async def registered_waiter(front: Any) -> None:
    """Return once somebody waits for the feed."""
    while not front.store.feed._waiting:  # noqa: ASYNC110 - it tells nobody
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
    assert monotonic() - began < 4.5, "less than it is given to end"


READERS = 1_000


async def test_a_thousand_readers_cost_one_encoding_of_each_event(store: Store) -> None:
    sessions = Sessions(per_user=READERS, total=READERS)
    events = Events(store, sessions)
    tasks = Tasks(store)
    calls = [
        ApiCall(tasks, "event.next", session=sessions.begin(NULL, "root", role="pool-admin"))
        for _ in range(READERS)
    ]
    for call in calls:
        await events.register(call, ("network",))
    waiting = [asyncio.ensure_future(events.next(call)) for call in calls]
    await asyncio.sleep(0)

    async with store.transaction() as tx:
        refs = [tx.create(Network, {"name_label": name}) for name in ("one", "two")]
    heard = await asyncio.gather(*waiting)

    answers = [success(METHODS["event.next"].result, told).pieces for told in heard]
    assert [event.row["ref"] for event in heard[0]] == refs
    for place in (1, 2):  # between what stands around the events
        assert {id(pieces[place].obj) for pieces in answers} == {id(heard[0][place - 1].encoded)}


def test_an_event_shows_the_object_as_it_is_when_it_is_read(front: Any) -> None:
    early, late = front.login(), front.login()
    early.event.register(["network"])
    late.event.register(["network"])
    made = early.network.create({"name_label": "first"})
    assert early.event.next()[0]["snapshot"]["name_label"] == "first"

    early.network.set_name_label(made, "second")

    assert [e["snapshot"]["name_label"] for e in late.event.next()] == ["second", "second"]


def test_who_is_far_behind_gets_the_past_in_portions_and_all_of_it(front: Any) -> None:
    api = front.login()
    api.event.register(["network"])
    network = front.transact(lambda tx: tx.create(Network, volatile=True))
    front.run(flood(front, network, 2 * AT_ONCE))

    portions = [api.event.next() for _ in range(3)]

    assert [len(portion) for portion in portions] == [AT_ONCE, AT_ONCE, 1]
    ids = [int(event["id"]) for portion in portions for event in portion]
    assert ids == list(range(ids[0], ids[0] + 2 * AT_ONCE + 1))
