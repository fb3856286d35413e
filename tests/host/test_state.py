"""Enabling, disabling and ending a host, and its settings."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from xapid.datamodel.declare import NULL
from xapid.datamodel.enums import HostAllowedOperations, VmOperations
from xapid.datamodel.errors import (
    ApiError,
    CannotEvacuateHost,
    HostCannotDestroySelf,
    HostInUse,
    HostNameInvalid,
    HostNotDisabled,
    HostNotLive,
    InvalidValue,
    LicenseProcessingError,
    OperationNotAllowed,
    OtherOperationInProgress,
    ValueNotSupported,
)
from xapid.datamodel.host import Host
from xapid.datamodel.vm import VM
from xapid.services.host.machine import MachineRefused
from xapid.xen.client import XenClient

from .world import DOM0, Caller, World

Op = HostAllowedOperations


async def test_a_disabled_host_stays_disabled_in_the_same_boot(world: World) -> None:
    await world.state.disable(Caller(), world.host)

    world.boot("boot-1")
    await world.state.start()

    assert world.record.enabled is False


async def test_a_host_that_was_disabled_until_its_next_boot_is_enabled_then(world: World) -> None:
    await world.state.disable(Caller(), world.host, True)

    world.boot("boot-2")
    await world.state.start()

    assert world.record.enabled is True


async def test_a_host_that_was_disabled_for_good_is_not_enabled_by_a_boot(world: World) -> None:
    await world.state.disable(Caller(), world.host, True)
    await world.state.disable(Caller(), world.host, False)

    world.boot("boot-2")
    await world.state.start()

    assert world.record.enabled is False


async def test_enabling_forgets_what_was_asked_for_the_next_boot(world: World) -> None:
    await world.state.disable(Caller(), world.host, True)
    await world.state.enable(Caller(), world.host)
    await world.store.set(world.host, Host.enabled, False)

    world.boot("boot-2")
    await world.state.start()

    assert world.record.enabled is False


async def test_only_a_disabled_host_may_be_shut_down(world: World, caller: Caller) -> None:
    with pytest.raises(HostNotDisabled):
        await world.state.shutdown(caller, world.host)

    assert world.machine.did == []


async def test_a_disabled_host_without_guests_is_switched_off(world: World, caller: Caller) -> None:
    await world.disabled()

    await world.state.shutdown(caller, world.host)

    assert world.machine.did == ["power off"]
    assert world.record.current_operations == {}


async def test_a_disabled_host_without_guests_is_rebooted(world: World, caller: Caller) -> None:
    await world.disabled()

    await world.state.reboot(caller, world.host)

    assert world.machine.did == ["reboot"]


@pytest.mark.parametrize("end", ["shutdown", "reboot"])
async def test_a_host_whose_guests_are_not_known_is_not_ended(
    world: World, caller: Caller, end: str, mock_xen: XenClient
) -> None:
    await world.disabled()
    world.state.xen = mock_xen
    await mock_xen.close()

    with pytest.raises(OperationNotAllowed, match="whether guests run"):
        await getattr(world.state, end)(caller, world.host)

    assert world.machine.did == []


@pytest.mark.parametrize("end", ["shutdown", "reboot"])
async def test_a_host_with_a_guest_is_not_ended(world: World, caller: Caller, end: str) -> None:
    await world.guest()
    await world.disabled()

    with pytest.raises(HostInUse):
        await getattr(world.state, end)(caller, world.host)

    assert world.machine.did == []


async def test_a_domain_that_only_xen_knows_keeps_the_host_up(world: World, caller: Caller) -> None:
    world.xen.domains.append(replace(DOM0, domid=9, uuid="9" * 36))
    await world.disabled()

    with pytest.raises(HostInUse):
        await world.state.reboot(caller, world.host)

    assert world.machine.did == []


async def test_a_guest_that_is_being_started_keeps_the_host_up(
    world: World, caller: Caller
) -> None:
    vm = await world.guest(resident_on=NULL)
    await world.store.set(vm, VM.current_operations, {"OpaqueRef:x": VmOperations.START})
    await world.disabled()

    with pytest.raises(OtherOperationInProgress):
        await world.state.shutdown(caller, world.host)

    assert world.machine.did == []


async def test_an_operating_system_that_refuses_is_quoted(world: World, caller: Caller) -> None:
    class Refusing:
        async def power_off(self) -> None:
            raise MachineRefused("systemctl ended with status 1: no")

    await world.disabled()
    world.state.machine = Refusing()  # type: ignore[assignment]

    with pytest.raises(OperationNotAllowed) as refused:
        await world.state.shutdown(caller, world.host)

    assert refused.value.reason == "systemctl ended with status 1: no"


async def test_the_allowed_operations_are_those_that_would_be_accepted(world: World) -> None:
    enabled = set(world.record.allowed_operations)
    await world.disabled()
    disabled = set(world.record.allowed_operations)
    await world.guest()
    in_use = set(world.record.allowed_operations)

    assert enabled == {Op.PROVISION, Op.EVACUATE, Op.ENABLE}
    assert disabled == {Op.EVACUATE, Op.ENABLE, Op.SHUTDOWN, Op.REBOOT}
    assert in_use == {Op.EVACUATE, Op.ENABLE}


async def test_a_host_that_goes_down_cannot_be_enabled_meanwhile(world: World) -> None:
    await world.disabled()

    async with world.operations.claim(Caller(), world.host, Host.shutdown):
        with pytest.raises(OtherOperationInProgress):
            await world.state.enable(Caller(), world.host)

    assert world.record.enabled is False


async def test_an_empty_host_is_evacuated_at_once(world: World, caller: Caller) -> None:
    await world.state.assert_can_evacuate(caller, world.host)

    await world.state.evacuate(caller, world.host)


async def test_guests_cannot_leave_the_only_host_and_the_error_names_them(
    world: World, caller: Caller
) -> None:
    first, second = await world.guest(), await world.guest()

    with pytest.raises(CannotEvacuateHost) as asserted:
        await world.state.assert_can_evacuate(caller, world.host)
    with pytest.raises(CannotEvacuateHost):
        await world.state.evacuate(caller, world.host)

    assert asserted.value.errors == f"NO_HOSTS_AVAILABLE,{first}|NO_HOSTS_AVAILABLE,{second}"


async def test_the_daemon_is_restarted_when_asked(world: World, caller: Caller) -> None:
    await world.state.restart_agent(caller, world.host)

    assert len(world.restarts) == 1


async def test_the_host_cannot_destroy_its_own_record(world: World, caller: Caller) -> None:
    with pytest.raises(HostCannotDestroySelf):
        await world.state.destroy(caller, world.host)

    assert world.store.refs(Host) == [world.host]


async def test_the_record_of_a_lost_host_can_be_destroyed(world: World, caller: Caller) -> None:
    lost = await world.store.transact(lambda tx: tx.create(Host, {"name_label": "lost"}))

    await world.state.destroy(caller, lost)

    assert world.store.refs(Host) == [world.host]


async def test_the_host_name_is_changed_in_the_system_and_in_the_record(
    world: World, caller: Caller
) -> None:
    await world.state.set_hostname_live(caller, world.host, "xen-1.example.org")

    assert world.machine.did == ["host name xen-1.example.org"]
    assert world.record.hostname == "xen-1.example.org"


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a_b", "a..b", "x" * 65, "1.2.3.4", "a\n", "--static", "a b", "ä"]
)
async def test_a_bad_host_name_is_refused(world: World, caller: Caller, name: str) -> None:
    with pytest.raises(HostNameInvalid):
        await world.state.set_hostname_live(caller, world.host, name)

    assert world.machine.did == []


@pytest.mark.parametrize(
    ("logging", "goes_to"),
    [
        ({}, "nowhere"),
        ({"syslog_destination": "logs.example.org"}, "logs.example.org"),
        ({"syslog_destination": "10.0.0.1:1514", "syslog_protocol": "tcp"}, "10.0.0.1"),
        ({"syslog_destination": "[fe80::1]:514"}, "fe80::1"),
        ({"syslog_destination": "fe80::1"}, "fe80::1"),
    ],
)
async def test_logs_go_where_the_host_says(
    world: World, caller: Caller, logging: dict[str, str], goes_to: str
) -> None:
    await world.store.set(world.host, Host.logging, logging)

    await world.state.syslog_reconfigure(caller, world.host)

    assert world.machine.did == [f"logs to {goes_to}"]


@pytest.mark.parametrize(
    ("logging", "error"),
    [
        ({"syslog_destination": 'a" port="1'}, InvalidValue),
        ({"syslog_destination": "a\nb"}, InvalidValue),
        ({"syslog_destination": "host:70000"}, InvalidValue),
        ({"syslog_destination": "fe80::1%eth0"}, InvalidValue),
        ({"syslog_destination": "host", "syslog_protocol": "relp"}, ValueNotSupported),
    ],
)
async def test_a_bad_destination_of_logs_is_refused(
    world: World, caller: Caller, logging: dict[str, str], error: type[ApiError]
) -> None:
    await world.store.set(world.host, Host.logging, logging)

    with pytest.raises(error):
        await world.state.syslog_reconfigure(caller, world.host)

    assert world.machine.did == []


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_a_licence_is_kept_with_the_host(world: World, caller: Caller) -> None:
    contents = encoded("# for tests\nowner = A Company\nexpiry=2030-01-01\n")

    await world.state.license_apply(caller, world.host, contents)

    assert world.record.license_params == {"owner": "A Company", "expiry": "2030-01-01"}


@pytest.mark.parametrize(
    "contents",
    [
        *("", "%%%", encoded("no line of the form"), encoded("a=1\na=2"), encoded("# nothing")),
        *(encoded("expiry=2029-12-31"), encoded("expiry=soon"), encoded("a=\x07")),
        *(encoded("".join(f"k{n}=1\n" for n in range(65))), base64.b64encode(b"a=\xff").decode()),
    ],
)
async def test_what_is_no_valid_licence_is_refused(
    world: World, caller: Caller, contents: str
) -> None:
    with pytest.raises(LicenseProcessingError):
        await world.state.license_apply(caller, world.host, contents)

    assert world.record.license_params == {}


@pytest.mark.parametrize(
    ("message", "parameters"),
    [
        *(("disable", ()), ("enable", ()), ("shutdown", ()), ("reboot", ()), ("evacuate", ())),
        *(("assert_can_evacuate", ()), ("restart_agent", ()), ("set_hostname_live", ("name",))),
        ("syslog_reconfigure", ()),
    ],
)
async def test_nothing_is_done_here_for_another_host(
    world: World, caller: Caller, message: str, parameters: tuple[Any, ...]
) -> None:
    other = await world.store.transact(lambda tx: tx.create(Host, {"enabled": False}))

    with pytest.raises(HostNotLive):
        await getattr(world.state, message)(caller, other, *parameters)

    assert world.machine.did == [] and world.restarts == []
