"""Sockets and certificates: who may connect, how many, and what they are shown."""

from __future__ import annotations

import asyncio
import grp
import hashlib
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from xapid.http import tls
from xapid.http.host_names import host_addresses
from xapid.http.listener import link_socket, open_to_group, unix_socket
from xapid.http.server import HttpServer, Limits
from xapid.http.tls import CertificateUnusable, load_certificate, load_or_make_certificate


class TestCaps:
    async def test_a_new_connection_ends_the_oldest_idle_one(
        self, make_site: Any, call: Any
    ) -> None:
        site = await make_site(Limits(unix_connections=2))
        first, second = await site.connect(), await site.connect()
        for client in (first, second):
            client.send(call())
            await client.response()

        third = await site.connect()
        third.send(call())

        assert (await third.response())[0] == 200
        assert await first.closed()
        second.send(call())
        assert (await second.response())[0] == 200

    async def test_a_connection_that_is_answered_is_never_ended(
        self, make_site: Any, call: Any
    ) -> None:
        site = await make_site(Limits(unix_connections=1))
        site.echo.hold = asyncio.Event()
        busy = await site.connect()
        busy.send(call())
        await site.echo.entered.wait()

        waiting = await site.connect()
        waiting.send(call())
        site.echo.hold.set()

        assert (await busy.response())[0] == 200
        assert (await waiting.response())[0] == 200

    async def test_handshakes_that_never_come_take_no_place(
        self, make_site: Any, tmp_path: Path, call: Any
    ) -> None:
        site = await make_site(Limits(tcp_connections=3))
        silent = [await site.connect_tcp() for _ in range(10)]
        context = ssl.create_default_context(cafile=tmp_path / "tls/server.crt")
        host, port = site.server.https_address

        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(call())

        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert await silent[0].closed()
        writer.close()
        await writer.wait_closed()

    async def test_tcp_clients_take_nothing_from_the_unix_socket(
        self, make_site: Any, call: Any
    ) -> None:
        site = await make_site(Limits(tcp_connections=1))
        for _ in range(3):
            await site.connect_tcp()

        local = await site.connect()
        local.send(call())

        assert (await local.response())[0] == 200


class TestStop:
    async def test_lets_a_running_call_answer(self, make_site: Any, call: Any) -> None:
        site = await make_site()
        site.echo.hold = asyncio.Event()
        busy, idle = await site.connect(), await site.connect()
        busy.send(call())
        await site.echo.entered.wait()

        await asyncio.wait_for(site.server.stop(1.0), 5)

        assert (await busy.response())[0] == 200
        assert await busy.closed()
        assert await idle.closed()
        assert not site.path.exists()

    async def test_leaves_nothing_listening(self, make_site: Any) -> None:
        site = await make_site()

        await site.server.stop(1.0)

        with pytest.raises(OSError, match=r"refused|No such file"):
            await site.connect()
        with pytest.raises(ConnectionRefusedError):
            await site.connect_tcp()


class TestUnixSocket:
    async def test_is_only_its_owners(self, site: Any) -> None:
        assert stat.S_IMODE(site.path.stat().st_mode) == 0o600

    async def test_takes_the_place_of_one_left_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "left.sock"
        unix_socket(path).close()
        assert path.exists()

        again = unix_socket(path)

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again.close()

    async def test_never_takes_the_place_of_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "precious"
        path.write_text("data")

        with pytest.raises(FileExistsError):
            unix_socket(path)
        assert path.read_text() == "data"


async def test_an_address_that_is_taken_is_an_error_and_leaves_nothing(
    site: Any, tmp_path: Path
) -> None:
    second = HttpServer(
        site.echo, https=site.server.https_address, socket=tmp_path / "2.sock", tls=site.tls
    )

    with pytest.raises(OSError, match="in use"):
        await second.start()
    assert not (tmp_path / "2.sock").exists()
    await second.stop(0)


class TestUnixSocketOfAGroup:
    async def test_its_members_may_connect(self, site: Any) -> None:
        group = grp.getgrgid(os.getgid()).gr_name

        open_to_group(site.path, group)

        found = site.path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())

    async def test_stays_closed_where_there_is_no_such_group(self, site: Any) -> None:
        open_to_group(site.path, "no-such-group")

        assert stat.S_IMODE(site.path.stat().st_mode) == 0o600

    async def test_is_found_where_other_clients_look(self, site: Any, call: Any) -> None:
        link = site.path.parent / "xcp/xapi"
        for _ in range(2):
            link_socket(site.path, [link])

        assert stat.S_IMODE(link.parent.stat().st_mode) == 0o755
        reader, writer = await asyncio.open_unix_connection(link)
        writer.write(call())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()

    def test_a_link_never_takes_the_place_of_something_else(self, tmp_path: Path) -> None:
        precious = tmp_path / "xapi"
        precious.write_text("data")

        link_socket(tmp_path / "s", [precious])

        assert precious.read_text() == "data"


def test_a_hosts_addresses_are_told_without_those_of_one_link(tmp_path: Path) -> None:
    ipv4, ipv6 = tmp_path / "4", tmp_path / "6"
    leaf = "     |-- {}\n        /32 {}\n"
    ipv4.write_text(
        leaf.format("127.0.0.1", "host LOCAL")
        + leaf.format("192.0.2.9", "host LOCAL")
        + leaf.format("192.0.2.255", "link BROADCAST")
    )
    ipv6.write_text(
        "20010db8000000000000000000000007 02 40 00 80 eth0\n"
        "fe80000000000000000000000000000a 02 40 20 80 eth0\n"
    )

    assert host_addresses(ipv4, ipv6) == ["192.0.2.9", "2001:db8::7"]
    assert host_addresses(tmp_path / "none", tmp_path / "none") == []


class TestTls:
    async def test_a_new_certificate_is_shown_without_dropping_connections(
        self, site: Any, tmp_path: Path, call: Any
    ) -> None:
        host, port = site.server.https_address
        old = ssl.create_default_context(cafile=tmp_path / "tls/server.crt")
        reader, writer = await asyncio.open_connection(host, port, ssl=old)
        load_or_make_certificate(tmp_path / "new")
        for name in ("server.crt", "server.key"):
            (tmp_path / "tls" / name).write_bytes((tmp_path / "new" / name).read_bytes())

        load_certificate(site.tls, tmp_path / "tls")

        new = ssl.create_default_context(cafile=tmp_path / "new/server.crt")
        second = await asyncio.open_connection(host, port, ssl=new)
        for source, sink in ((reader, writer), second):
            sink.write(call())
            assert (await source.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            sink.close()
            await sink.wait_closed()

    async def test_a_pair_that_does_not_fit_changes_nothing(
        self, site: Any, tmp_path: Path
    ) -> None:
        trusted = ssl.create_default_context(cafile=tmp_path / "tls/server.crt")
        load_or_make_certificate(tmp_path / "new")
        (tmp_path / "tls/server.crt").write_bytes((tmp_path / "new/server.crt").read_bytes())

        with pytest.raises(CertificateUnusable):
            load_certificate(site.tls, tmp_path / "tls")

        host, port = site.server.https_address
        _, writer = await asyncio.open_connection(host, port, ssl=trusted)
        writer.close()
        await writer.wait_closed()

    def test_the_fingerprint_and_a_near_end_are_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tls, "LIFETIME", timedelta(days=10))
        with capture_logs() as logs:
            load_or_make_certificate(tmp_path)

        pem = (tmp_path / "server.crt").read_text()
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
        assert logs[1]["sha256"].replace(":", "") == digest
        assert (logs[2]["log_level"], logs[2]["days"]) == ("warning", 9)

    async def test_versions_before_1_2_are_refused(self, site: Any, tmp_path: Path) -> None:
        assert site.tls.minimum_version is ssl.TLSVersion.TLSv1_2

    def test_a_certificate_is_made_for_this_host(self, tmp_path: Path) -> None:
        load_or_make_certificate(tmp_path, ["xen.example", "192.0.2.7", "::"])

        certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", "xen.example"} <= set(names.get_values_for_type(x509.DNSName))
        addresses = {str(a) for a in names.get_values_for_type(x509.IPAddress)}
        assert addresses == {"127.0.0.1", "::1", "192.0.2.7"}
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime <= timedelta(days=825)
        assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600
        assert certificate.public_key().curve.name == "secp256r1"  # type: ignore[union-attr]

    def test_a_certificate_is_made_once(self, tmp_path: Path) -> None:
        load_or_make_certificate(tmp_path)
        first = (tmp_path / "server.crt").read_bytes(), (tmp_path / "server.key").read_bytes()

        load_or_make_certificate(tmp_path)

        again = (tmp_path / "server.crt").read_bytes(), (tmp_path / "server.key").read_bytes()
        assert first == again

    def test_one_of_ours_that_ends_soon_is_made_anew_with_its_key(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tls, "LIFETIME", timedelta(days=10))
        load_or_make_certificate(tmp_path)
        key = (tmp_path / "server.key").read_bytes()
        monkeypatch.undo()

        load_or_make_certificate(tmp_path)

        certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
        assert certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=800)
        assert (tmp_path / "server.key").read_bytes() == key

    @pytest.mark.parametrize("name", ["server.crt", "server.key"])
    def test_a_broken_file_is_told_by_name(self, tmp_path: Path, name: str) -> None:
        load_or_make_certificate(tmp_path)
        (tmp_path / name).write_text("nonsense")

        with pytest.raises(CertificateUnusable, match=name):
            load_or_make_certificate(tmp_path)

    def test_a_key_of_another_certificate_is_refused(self, tmp_path: Path) -> None:
        load_or_make_certificate(tmp_path / "a")
        load_or_make_certificate(tmp_path / "b")
        (tmp_path / "a/server.key").write_bytes((tmp_path / "b/server.key").read_bytes())

        with pytest.raises(CertificateUnusable, match="cannot be used together"):
            load_or_make_certificate(tmp_path / "a")
