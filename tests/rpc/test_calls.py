"""Calls as clients make them: logging in, what goes wrong, and what it is told as."""

from __future__ import annotations

import stat
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from xapid.datamodel.coverage import NOT_YET
from xapid.datamodel.declare import NULL, Field, Ref
from xapid.datamodel.errors import InvalidValue
from xapid.datamodel.network import Network
from xapid.datamodel.registry import METHODS, Kind
from xapid.datamodel.vm import VM
from xapid.db.failures import StorageFailure
from xapid.rpc.dispatch import ROLES, Dispatcher
from xapid.rpc.wiring import Miswired
from xapid.services.ports import Call, checks, implements, overrides


def error_of(answer: dict[str, Any]) -> list[str]:
    assert answer["Status"] == "Failure"
    error: list[str] = answer["ErrorDescription"]
    return error


@pytest.mark.parametrize("transport", ["https", "unix"])
def test_a_client_logs_in_calls_and_logs_out(front: Any, transport: str) -> None:
    proxy = getattr(front, transport)()

    session = proxy.session.login_with_password("root", front.password)["Value"]

    assert proxy.VM.get_all(session) == {"Status": "Success", "Value": []}
    assert proxy.session.logout(session) == {"Status": "Success", "Value": ""}
    assert error_of(proxy.VM.get_all(session)) == ["SESSION_INVALID", session]


@pytest.mark.parametrize("extra", [[], ["1.1"], ["1.1", "a script"]])
def test_login_takes_two_to_four_arguments(front: Any, extra: list[str]) -> None:
    proxy = front.unix()

    assert proxy.session.login_with_password("root", front.password, *extra)["Status"] == "Success"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_login_takes_no_other_number_of_arguments(front: Any, count: int) -> None:
    error = error_of(front.unix().session.login_with_password(*["x"] * count))

    name = "session.login_with_password"
    assert error == ["MESSAGE_PARAMETER_COUNT_MISMATCH", name, "2", str(count)]


@pytest.mark.parametrize("user", ["root", "nobody", "", "root\n"])
def test_a_wrong_password_and_an_unknown_user_are_told_alike(front: Any, user: str) -> None:
    answer = front.unix().session.login_with_password(user, "wrong")

    assert error_of(answer) == ["SESSION_AUTHENTICATION_FAILED"]


def test_the_public_client_library_works(front: Any) -> None:
    host, port = front.server.https_address
    client = XenAPI.Session(f"https://{host}:{port}", ignore_ssl=True)
    client.login_with_password("root", front.password, "1.1", "test")
    try:
        made = client.xenapi.network.create({"name_label": "public"})
        assert client.xenapi.network.get_name_label(made) == "public"
        with pytest.raises(XenAPI.Failure) as refused:
            client.xenapi.VM.get_record("OpaqueRef:none")
        assert refused.value.details == ["HANDLE_INVALID", "VM", "OpaqueRef:none"]
        client.xenapi.network.destroy(made)
    finally:
        client.logout()
        xmlrpc.client.ServerProxy.__call__(client, "close")()


@pytest.mark.parametrize(
    "name",
    ["VM.fly", "fly", "VM", "VM.", ".start", "Async.VM.fly", "Async.", "system.multicall"],
)
def test_an_unknown_method_is_told_by_its_name(api: Any, name: str) -> None:
    assert error_of(getattr(api.proxy, name)(api.me)) == ["MESSAGE_METHOD_UNKNOWN", name]


@pytest.mark.parametrize("session", [7, True, ["x"], {"a": "b"}, 1.5])
def test_a_session_that_is_no_string_is_a_field_of_the_wrong_type(front: Any, session: Any) -> None:
    assert error_of(front.unix().VM.get_all(session)) == ["FIELD_TYPE_ERROR", "session_id"]


def test_a_call_without_its_session_lacks_a_parameter(front: Any) -> None:
    error = error_of(front.unix().VM.get_record())

    assert error == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.get_record", "1", "0"]


def test_a_message_that_is_not_built_yet_says_so(api: Any) -> None:
    error = error_of(api.proxy.host.list_methods(api.me))

    assert error == ["NOT_IMPLEMENTED", "host.list_methods"]


def test_the_same_asynchronously_makes_no_task(api: Any) -> None:
    name = next(
        n for n, m in METHODS.items() if m.kind is Kind.MESSAGE and m.asynchronous and not m.params
    )
    before = api.task.get_all()

    assert error_of(getattr(api.proxy, f"Async.{name}")(api.me)) == ["NOT_IMPLEMENTED", name]
    assert api.task.get_all() == before


class TestValues:
    @pytest.fixture
    def vm(self, front: Any) -> str:
        return str(front.transact(lambda tx: tx.create(VM, {VM.name_label: "one"})))

    @pytest.mark.parametrize("raw", ["12", 12, "-3", str(2**63 - 1), str(-(2**63))])
    def test_an_int_is_decimal_text_or_an_int(self, api: Any, vm: str, raw: Any) -> None:
        api.VM.set_user_version(vm, raw)

        assert api.VM.get_user_version(vm) == str(raw)

    @pytest.mark.parametrize(
        "raw", ["", "x", "1.5", " 1", "+1", "1_0", "٣", str(2**63), 1.0, True, "1" * 60]
    )
    def test_nothing_else_is_an_int(self, api: Any, vm: str, raw: Any) -> None:
        error = error_of(api.proxy.VM.set_user_version(api.me, vm, raw))

        assert error == ["FIELD_TYPE_ERROR", "value"]

    def test_a_value_an_enumeration_lacks_is_invalid(self, api: Any, vm: str) -> None:
        error = error_of(api.proxy.VM.set_actions_after_crash(api.me, vm, "explode"))

        assert error == ["INVALID_VALUE", "value", "explode"]

    def test_a_map_with_a_value_of_the_wrong_type_is_refused(self, api: Any, vm: str) -> None:
        error = error_of(api.proxy.VM.set_other_config(api.me, vm, {"a": 1}))

        assert error == ["FIELD_TYPE_ERROR", "value"]

    def test_text_survives_both_ways(self, api: Any, vm: str) -> None:
        text = " <é&]]>\t\n 日本 \U0001f600 "

        api.VM.set_name_label(vm, text)

        assert api.VM.get_name_label(vm) == text

    def test_text_that_is_too_long_is_refused(self, api: Any, vm: str) -> None:
        error = error_of(api.proxy.VM.set_name_label(api.me, vm, "x" * 70_000))

        assert error[:2] == ["INVALID_VALUE", "name_label"]

    def test_a_body_above_64_kb_is_answered_too(self, api: Any, vm: str) -> None:
        long = {f"key{i}": "x" * 1000 for i in range(100)}

        api.VM.set_other_config(vm, long)

        assert api.VM.get_other_config(vm) == long

    def test_a_record_that_was_read_can_be_sent_back(self, api: Any) -> None:
        made = api.network.create({"name_label": "first"})
        record = api.network.get_record(made)

        copy = api.network.create({**record, "name_label": "second"})

        assert api.network.get_uuid(copy) != record["uuid"]
        assert api.network.get_name_label(copy) == "second"


def test_all_records_of_a_large_class_come_whole(api: Any, front: Any) -> None:
    names = [f"n{i}" for i in range(700)]
    front.transact(
        lambda tx: [tx.create(Network, {"name_label": name}, volatile=True) for name in names]
    )

    records = api.network.get_all_records()

    assert {r["name_label"] for r in records.values()} >= set(names)
    assert set(records) == set(api.network.get_all())


class TestSession:
    def test_shows_who_is_logged_in(self, api: Any, front: Any) -> None:
        record = api.session.get_record(api.me)

        assert record["this_user"] == front.accounts.user("root")
        assert record["last_active"] == xmlrpc.client.DateTime("20300101T00:00:00Z")
        assert api.session.get_by_uuid(record["uuid"]) == api.me

    def test_is_nobody_elses_to_look_at(self, front: Any, failure: Any) -> None:
        mine, other = front.login(), front.login()
        identity = other.session.get_uuid(other.me)

        with pytest.raises(failure) as refused:
            mine.session.get_record(other.me)
        assert refused.value.error == ["HANDLE_INVALID", "session", other.me]
        with pytest.raises(failure) as refused:
            mine.session.get_by_uuid(identity)
        assert refused.value.error == ["UUID_INVALID", "session", identity]

    def test_never_reaches_the_events(self, front: Any) -> None:
        api = front.login()
        api.event.register(["*"])
        other = front.login()
        other.session.add_to_other_config(other.me, "a", "b")
        other.session.logout()
        made = api.network.create({"name_label": "seen"})

        seen = api.event.next()

        assert {event["class"] for event in seen} == {"network"}
        assert [event["ref"] for event in seen] == [made]


def test_a_password_is_changed_by_who_knows_the_old_one(make_front: Any, failure: Any) -> None:
    front = make_front()
    first = front.password
    file = front.directory / "root-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    api = front.login()

    with pytest.raises(failure) as refused:
        api.session.change_password("wrong", "new")
    assert refused.value.error == ["SESSION_AUTHENTICATION_FAILED"]
    with pytest.raises(failure) as refused:
        api.session.change_password(first, "")
    assert refused.value.error == ["CHANGE_PASSWORD_REJECTED", "the new password is empty"]
    api.session.change_password(first, "new é")

    login = front.unix().session.login_with_password
    assert error_of(login("root", first)) == ["SESSION_AUTHENTICATION_FAILED"]
    assert login("root", "new é")["Status"] == "Success"
    assert not file.exists()


class TestUsers:
    def test_root_exists_and_stays(self, api: Any, front: Any, failure: Any) -> None:
        root = front.accounts.user("root")

        assert api.user.get_short_name(str(root)) == "root"
        with pytest.raises(failure, match="OPERATION_NOT_ALLOWED"):
            api.user.destroy(str(root))

    def test_two_users_never_have_one_name(self, api: Any, failure: Any) -> None:
        made = api.user.create({"short_name": "ann", "fullname": "Ann"})

        with pytest.raises(failure) as refused:
            api.user.create({"short_name": "ann"})
        expected = ["DB_UNIQUENESS_CONSTRAINT_VIOLATION", "user", "short_name", "ann"]
        assert refused.value.error == expected
        api.user.destroy(made)
        api.user.destroy(api.user.create({"short_name": "ann"}))

    @pytest.mark.parametrize("name", ["", " ann", "a\tb", "x" * 65])
    def test_a_name_is_short_and_printable(self, api: Any, failure: Any, name: str) -> None:
        with pytest.raises(failure, match="INVALID_VALUE"):
            api.user.create({"short_name": name})


class Services:
    """Implementations that a test can watch."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    @implements(VM.pause)
    async def pause(self, call: Call, vm: Ref[VM]) -> None:
        assert self.failure is not None
        raise self.failure

    @overrides("network.set_name_label")
    async def set_name_label(self, call: Call, network: Ref[Network], value: str) -> None:
        raise InvalidValue("name_label", f"{call.user} may not write {value}")

    @checks(Network.name_description)
    def check(self, call: Call, network: Ref[Network], field: Field[str], value: str) -> None:
        if "bad" in value:
            raise InvalidValue(field.name, f"{value} for {'none' if network == NULL else 'one'}")


@pytest.fixture(scope="module")
def served(make_front: Any) -> Any:
    return make_front(Services())


class TestServices:
    @pytest.fixture
    def api(self, served: Any) -> Any:
        return served.login()

    @pytest.mark.parametrize(
        ("raised", "told"),
        [
            (InvalidValue("a", "b"), ["INVALID_VALUE", "a", "b"]),
            (StorageFailure("disk full"), ["INTERNAL_ERROR"]),
            (ZeroDivisionError("secret"), ["INTERNAL_ERROR"]),
        ],
    )
    def test_only_errors_of_the_api_cross(
        self, api: Any, served: Any, raised: Exception, told: list[str]
    ) -> None:
        served.services[0].failure = raised
        vm = str(served.transact(lambda tx: tx.create(VM)))

        error = error_of(api.proxy.VM.pause(api.me, vm))

        assert error[: len(told)] == told
        assert "secret" not in str(error)
        assert len(error) == (3 if told[0] == "INVALID_VALUE" else 2)

    def test_a_derived_method_can_have_a_behaviour_of_its_own(self, api: Any) -> None:
        made = api.network.create({"name_label": "n"})

        error = error_of(api.proxy.network.set_name_label(api.me, made, "x"))

        assert error == ["INVALID_VALUE", "name_label", "root may not write x"]

    def test_a_check_judges_setters_and_constructors(self, api: Any, failure: Any) -> None:
        made = api.network.create({"name_label": "n", "name_description": "good"})

        with pytest.raises(failure) as refused:
            api.network.set_name_description(made, "bad")
        assert refused.value.error == ["INVALID_VALUE", "name_description", "bad for one"]
        with pytest.raises(failure) as refused:
            api.network.create({"name_label": "n", "name_description": "bad"})
        assert refused.value.error == ["INVALID_VALUE", "name_description", "bad for none"]
        assert api.network.get_name_description(made) == "good"


class TestWiring:
    def test_every_role_of_the_datamodel_is_known(self) -> None:
        assert {m.min_role for m in METHODS.values()} - {None} <= set(ROLES)

    def test_a_message_without_an_implementation_is_a_fault(self, front: Any) -> None:
        with pytest.raises(Miswired, match=r"VM.pause is not implemented and stands in no list"):
            self.wire(front, [], not_yet=set())

    def test_two_implementations_of_one_message_are_a_fault(self, front: Any) -> None:
        with pytest.raises(Miswired, match=r"VM.pause is implemented by Services.pause and by"):
            self.wire(front, [Services(), Services()], not_yet=set())

    def test_a_listed_message_that_is_implemented_is_a_fault(self, front: Any) -> None:
        with pytest.raises(Miswired, match=r"VM.pause is listed as not implemented, but is"):
            self.wire(front, [Services()], not_yet={"VM.pause"})

    def test_a_listed_message_that_does_not_exist_is_a_fault(self, front: Any) -> None:
        with pytest.raises(Miswired, match=r"VM.fly is listed .* but does not exist"):
            self.wire(front, [], not_yet={"VM.fly"})

    @staticmethod
    def wire(front: Any, services: list[Any], not_yet: set[str]) -> None:
        Dispatcher(front.store, front.sessions, front.tasks, services, not_yet=not_yet)

    def test_the_list_of_what_is_not_built_only_names_messages(self) -> None:
        assert {METHODS[name].kind for name in NOT_YET} <= {Kind.MESSAGE}

    def test_the_list_of_what_is_not_built_only_shrinks(self) -> None:
        """What is built leaves both lists, and nothing comes back to either."""
        once = (Path(__file__).parent / "not_yet.txt").read_text().split()

        assert sorted(NOT_YET - set(once)) == []
