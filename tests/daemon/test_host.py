"""The host and its pool, driven from outside by a client of the daemon."""

from __future__ import annotations

import pytest

from xapid.datamodel.coverage import OTHER_HOSTS
from xapid.datamodel.registry import METHODS

from .conftest import Client, Daemon, Failure, patch


@pytest.fixture
def host(client: Client) -> str:
    ref: str = client("host.get_all")[0]
    return ref


def test_a_restarted_daemon_is_the_same_process_and_keeps_what_it_had(
    daemon: Daemon, client: Client, host: str
) -> None:
    assert daemon.process is not None
    pid = daemon.process.pid
    client("host.set_name_label", host, "mine")

    client("host.restart_agent", host)
    ready = daemon.process.stdout.readline()  # type: ignore[union-attr]

    assert ready.startswith("xapid ready ") and daemon.process.pid == pid
    assert daemon.process.poll() is None
    assert daemon.client()("host.get_name_label", host) == "mine"


def test_the_mock_host_only_pretends_to_reboot(client: Client, host: str) -> None:
    with pytest.raises(Failure, match="HOST_NOT_DISABLED"):
        client("host.reboot", host)
    client("host.disable", host)

    client("host.reboot", host)

    assert client("host.get_log", host) == "reboot\n"


def test_debug_keys_are_seen_in_xens_messages(client: Client, host: str) -> None:
    client("host.send_debug_keys", host, "q")

    assert "'q' pressed" in client("host.dmesg_clear", host)
    assert "'q' pressed" not in client("host.dmesg", host)


def test_a_template_becomes_a_vm_with_the_disk_it_asks_for(client: Client, daemon: Daemon) -> None:
    (template,) = client("VM.get_by_name_label", "Debian 12 (bookworm)")
    directory = daemon.state / "disks"
    directory.mkdir()
    location = {"location": str(directory)}
    host = client("host.get_all")[0]
    sr = client("SR.create", host, location, "0", "disks", "", "file", "", False)
    client("pool.set_default_SR", client("pool.get_all")[0], sr)

    vm = client("VM.clone", template, "mine")
    client("VM.provision", vm)

    (vbd,) = client("VM.get_VBDs", vm)
    vdi = client("VBD.get_VDI", vbd)
    assert client("VDI.get_virtual_size", vdi) == str(16 << 30)
    assert client("VM.get_is_a_template", vm) is False


def test_a_patch_goes_the_whole_way(client: Client, daemon: Daemon) -> None:
    uploaded = patch(client, daemon)

    assert client("pool_patch.get_by_name_label", "fix") == [uploaded]
    assert client("pool_patch.apply", uploaded, client("host.get_all")[0]) == "patched\n"
    assert client("pool_patch.get_pool_applied", uploaded) is True


def test_the_database_is_backed_up(client: Client, daemon: Daemon) -> None:
    client("pool.sync_database")

    assert len(list((daemon.state / "backup").glob("state-*.db"))) == 1


@pytest.mark.parametrize("name", OTHER_HOSTS)
def test_what_needs_other_hosts_is_answered_by_an_error_that_says_so(
    client: Client, host: str, name: str
) -> None:
    values = {"host ref": host, "VM ref": client("VM.get_all")[0], "SR ref set": [], "string": "x"}
    method = METHODS[name]
    session = [client.session] if method.session else []
    given = [values.get(param.type.name, {}) for param in method.params]

    with pytest.raises(Failure) as refused:
        client.raw(name, *session, *given)

    assert refused.value.code == OTHER_HOSTS[name].code
