"""Xen's messages, the log, debug keys, and the report that is uploaded."""

from __future__ import annotations

import io
import json
import tarfile
from xml.etree import ElementTree

import pytest

from xapid.datamodel.declare import NULL
from xapid.datamodel.errors import (
    ApiError,
    CannotContactHost,
    InvalidValue,
    OperationNotAllowed,
    SystemStatusRetrievalFailed,
    ValueNotSupported,
)
from xapid.datamodel.host import Host
from xapid.datamodel.pbd import PBD
from xapid.datamodel.registry import METHODS
from xapid.datamodel.sr import SR
from xapid.datamodel.vm import VM
from xapid.services.host.machine import LOG_KEPT
from xapid.services.host.report import PARTS
from xapid.services.host.reports import end_of
from xapid.xen.client import XenClient

from .world import Caller, Receiver, World


async def test_xens_messages_are_read_and_cleared(world: World, caller: Caller) -> None:
    first = await world.reports.dmesg(caller, world.host)
    cleared = await world.reports.dmesg_clear(caller, world.host)
    after = await world.reports.dmesg(caller, world.host)

    assert first == cleared == "(XEN) booted\n"
    assert after == ""


async def test_debug_keys_leave_their_mark_in_xens_messages(
    world: World, caller: Caller, mock_xen: XenClient
) -> None:
    world.reports.xen = mock_xen

    await world.reports.send_debug_keys(caller, world.host, "q")

    assert "'q' pressed" in await world.reports.dmesg(caller, world.host)


async def test_what_xen_refuses_has_an_error_of_its_own(
    world: World, caller: Caller, mock_xen: XenClient
) -> None:
    world.reports.xen = mock_xen
    await mock_xen.mock_fail("libxl_xen_console_read_line", count=2)
    await mock_xen.mock_fail("libxl_send_debug_keys")

    for read in (world.reports.dmesg, world.reports.dmesg_clear):
        with pytest.raises(SystemStatusRetrievalFailed, match="libxl_xen_console_read_line"):
            await read(caller, world.host)
    with pytest.raises(OperationNotAllowed, match="libxl_send_debug_keys"):
        await world.reports.send_debug_keys(caller, world.host, "q")


@pytest.mark.parametrize("keys", ["", "q q", "q\n", "x" * 33, "é", "\0"])
async def test_what_is_no_debug_key_is_refused(world: World, caller: Caller, keys: str) -> None:
    with pytest.raises(InvalidValue):
        await world.reports.send_debug_keys(caller, world.host, keys)

    assert world.xen.ring == "(XEN) booted\n"


@pytest.mark.parametrize("keys", ["R", "C", "qR"])
async def test_keys_that_end_the_host_need_what_a_reboot_needs(
    world: World, caller: Caller, keys: str
) -> None:
    with pytest.raises(OperationNotAllowed):
        await world.reports.send_debug_keys(caller, world.host, keys)
    before = world.xen.ring
    await world.disabled()
    await world.reports.send_debug_keys(caller, world.host, keys)

    assert before == "(XEN) booted\n"
    assert world.xen.ring.endswith(f"{keys} pressed\n")


def test_of_a_long_log_the_last_whole_lines_are_kept() -> None:
    lines = [f"line {number}\n" for number in range(20_000)]

    kept = end_of("".join(lines))

    assert len(kept) <= LOG_KEPT
    assert kept.startswith("line ") and kept.endswith("line 19999\n")
    assert end_of("short\nlog\n") == "short\nlog\n"


async def test_the_log_is_the_machines(world: World, caller: Caller) -> None:
    world.machine.did.append("something")

    assert await world.reports.get_log(caller, world.host) == "something\n"


async def test_all_methods_are_listed_with_their_asynchronous_forms(
    world: World, caller: Caller
) -> None:
    methods = await world.reports.list_methods(caller)

    assert METHODS.keys() <= set(methods)
    assert "Async.VM.start" in methods and "Async.VM.get_uuid" not in methods
    assert len(methods) == len(set(methods))


async def test_the_parts_of_a_report_are_listed_as_xml(world: World, caller: Caller) -> None:
    text = await world.reports.get_system_status_capabilities(caller, world.host)

    root = ElementTree.fromstring(text)  # noqa: S314 - our own

    assert [element.get("key") for element in root] == [part.key for part in PARTS]


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]


async def test_a_report_with_all_its_parts_arrives_at_the_url(
    world: World, caller: Caller, receiver: Receiver
) -> None:
    await world.guest(name_label="my guest")

    await world.reports.bugreport_upload(caller, world.host, receiver.url, {})

    assert receiver.methods == ["PUT"]
    files = unpacked(receiver.got["/report"])
    assert len(files) == len(PARTS)
    database = json.loads(files["xapid-report/database.json"])
    assert [vm["name_label"] for vm in database["VM"].values()].count("my guest") == 1
    assert files["xapid-report/xen-messages.txt"] == b"(XEN) booted\n"
    assert json.loads(files["xapid-report/xen.json"])["physinfo"]["nr_cpus"] == 4
    assert caller.fractions == sorted(caller.fractions) and caller.fractions[-1] == 1.0


async def test_no_secret_of_the_database_or_the_settings_is_in_a_report(
    world: World, caller: Caller, receiver: Receiver
) -> None:
    secret = "hush-a-secret"
    keys = {"chappassword": secret, "vnc_password": secret}
    await world.guest(
        other_config=keys, platform=keys, xenstore_data=keys, PV_args=secret, PV_legacy_args=secret
    )
    async with world.store.transaction() as tx:
        sr = tx.create(SR, {"name_label": "iscsi", "other_config": keys, "sm_config": keys})
        tx.create(PBD, {"SR": sr, "host": world.host, "device_config": keys})
        tx.update(world.host, {"other_config": keys, "license_params": keys})
    await world.store.set_credential("root", secret)
    (world.directory / "root-password").write_text(secret)

    await world.reports.bugreport_upload(caller, world.host, receiver.url, {})

    assert secret.encode() not in receiver.got["/report"]
    assert b"iscsi" in receiver.got["/report"]


async def test_a_part_that_cannot_be_had_says_why_and_the_others_arrive(
    world: World, caller: Caller, receiver: Receiver
) -> None:
    async def broken() -> str:
        raise RuntimeError("Xen does not answer")

    world.xen.scheduler = broken

    await world.reports.bugreport_upload(caller, world.host, receiver.url, {})

    files = unpacked(receiver.got["/report"])
    assert files["xapid-report/xen.missing.txt"] == b"Xen does not answer\n"
    assert len(files) == len(PARTS)


@pytest.mark.parametrize(
    "url",
    [
        *("", "report", "file:///etc/shadow", "ftp://host/file", "http://", "http:///file"),
        *("http://host/a b", "http://host/\r\nX: y", "http://host:99999/", "gopher://host/"),
        *("http://host/" + "x" * 3000, "http://[::1/", "http://höst/", "http://host/#part"),
    ],
)
async def test_only_plain_http_and_https_urls_are_uploaded_to(
    world: World, caller: Caller, url: str
) -> None:
    with pytest.raises(InvalidValue):
        await world.reports.bugreport_upload(caller, world.host, url, {})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"cmd": "rm"}, ValueNotSupported),
        ({"http_proxy": "socks5://host"}, InvalidValue),
        ({"ca_certificates": "nonsense"}, InvalidValue),
    ],
)
async def test_bad_options_of_an_upload_are_refused(
    world: World, caller: Caller, options: dict[str, str], error: type[ApiError]
) -> None:
    with pytest.raises(error):
        await world.reports.bugreport_upload(caller, world.host, "https://127.0.0.1:9/", options)


async def test_a_url_that_nobody_serves_is_named_without_its_secrets(
    world: World, caller: Caller
) -> None:
    with pytest.raises(CannotContactHost) as refused:
        url = "http://user:hidden@127.0.0.1:9/report"
        await world.reports.bugreport_upload(caller, world.host, url, {})

    assert refused.value.host.startswith("127.0.0.1 (")
    assert "hidden" not in str(refused.value)


async def test_messages_about_this_host_refuse_another(world: World, caller: Caller) -> None:
    other = await world.store.transact(lambda tx: tx.create(Host, {}))

    with pytest.raises(ApiError, match="HOST_NOT_LIVE"):
        await world.reports.dmesg(caller, other)
    with pytest.raises(ApiError, match="HOST_NOT_LIVE"):
        await world.reports.bugreport_upload(caller, other, "http://127.0.0.1:9/", {})

    assert world.store.find(VM, NULL) is None
