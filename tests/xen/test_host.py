"""What the API says of a real host, and does to it, compared with what its dom0 and Xen say."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from testhost.api import ApiError, PackageApi
from testhost.daemon import CRASH_DIRECTORY, START_TIMEOUT_S, STATE, Daemon
from testhost.listener import Listener
from testhost.machine import Machine
from testhost.receiver import Receiver
from testhost.table import Table
from testhost.workbench import MIB, Guest, Workbench, wait_until

pytestmark = pytest.mark.xen

SECRET = "only-the-guest-may-know-this"


@pytest.fixture(scope="module")
def guest(workbench: Workbench) -> Iterator[Guest]:
    """A small guest that runs while things are done to the host."""
    guest = workbench.sleeper(
        "resident", other_config={"token": SECRET}, xenstore_data={"vm-data/token": SECRET}
    )
    guest.call("start", False, False)
    yield guest
    if guest.state == "Running":
        guest.call("hard_shutdown")


@pytest.fixture(scope="module")
def receiver(xenhost: Machine) -> Receiver:
    """Takes uploads and logs in dom0."""
    receiver = Receiver(xenhost)
    receiver.start()
    return receiver


def xl_info(machine: Machine) -> dict[str, str]:
    """What `xl info` says, by the names it uses."""
    pairs = (line.partition(":") for line in machine.run("xl info").splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def of_host(workbench: Workbench, message: str, *arguments: Any) -> Any:
    return workbench.api.call(f"host.{message}", workbench.host, *arguments)


def test_facts_are_those_of_xl_info(xenhost: Machine, workbench: Workbench) -> None:
    told = xl_info(xenhost)

    record = of_host(workbench, "get_record")

    processors = record["cpu_configuration"]
    for name in ("nr_cpus", "max_cpu_id", "nr_nodes", "cores_per_socket", "threads_per_core"):
        assert processors[name] == told[name], name
    assert processors["hw_caps"] == told["hw_caps"]
    abilities = [name for name in told["virt_caps"].split() if not name.startswith("gnttab")]
    assert processors["virt_caps"].split() == abilities
    assert int(processors["cpu_mhz"]) == int(float(told["cpu_mhz"]))
    versions = record["software_version"]
    assert versions["xen"] == told["xen_version"]
    assert versions["linux"] == told["release"]
    assert versions["xen_commandline"] == told["xen_commandline"]
    assert versions["xen_changeset"] == told["xen_changeset"]
    assert versions["xen_build_id"] == told["build_id"]
    assert versions["xen_compile_date"] == told["cc_compile_date"]
    assert record["capabilities"] == told["xen_caps"].split()
    assert record["sched_policy"] == told["xen_scheduler"]
    assert record["hostname"] == told["host"]
    assert "pygrub" in record["supported_bootloaders"]
    revision = record["API_version_major"], record["API_version_minor"]
    assert revision == ("1", "1")


def test_processors_and_memory_are_those_of_xl_info(xenhost: Machine, workbench: Workbench) -> None:
    told = xl_info(xenhost)
    metrics = workbench.api.call("host_metrics.get_record", of_host(workbench, "get_metrics"))
    every = workbench.api.call("host_cpu.get_all_records")

    assert int(metrics["memory_total"]) // MIB == int(told["total_memory"])
    assert metrics["live"] is True
    assert sorted(int(cpu["number"]) for cpu in every.values()) == list(range(int(told["nr_cpus"])))
    for cpu in every.values():
        assert int(cpu["speed"]) == int(float(told["cpu_mhz"]))
        assert cpu["features"] == told["hw_caps"].replace(":", "-")
        assert cpu["vendor"] in xenhost.run("cat /proc/cpuinfo")
        assert {"fpu", "tsc", "lm"} <= set(cpu["flags"].split())
    overhead = int(of_host(workbench, "get_memory_overhead"))
    assert 0 < overhead < int(told["total_memory"]) * MIB


def test_free_memory_and_utilisation_follow_what_happens(
    xenhost: Machine, workbench: Workbench, daemon: Daemon, table: Table
) -> None:
    call = workbench.api.call
    (cpu,) = call("host_cpu.get_all")
    big = workbench.sleeper("takes memory", 256)

    with Listener(xenhost.https_port, daemon.root_password(), "host_metrics", "host_cpu") as heard:
        xenhost.run("timeout 12 sh -c 'while :; do :; done' >/dev/null 2>&1 &")
        big.call("start", False, False)
        free = int(xl_info(xenhost)["free_memory"])
        with table.step("host", "free memory in host_metrics"):
            heard.wait(
                "free memory as xl has it",
                lambda event: (
                    event["class"] == "host_metrics"
                    and abs(int(event["snapshot"]["memory_free"]) // MIB - free) <= 1
                ),
                12,
            )
        with table.step("host", "a busy CPU in host_cpu"):
            heard.wait(
                "a busy CPU",
                lambda event: event["ref"] == cpu and event["snapshot"]["utilisation"] > 0.9,
                15,
            )
    big.call("hard_shutdown")


def test_debug_keys_are_seen_in_xens_messages_and_cleared(
    xenhost: Machine, workbench: Workbench, table: Table
) -> None:
    with table.step("host", "send_debug_keys, dmesg"):
        of_host(workbench, "send_debug_keys", "h")
        told = of_host(workbench, "dmesg")

    assert "'h' pressed" in told
    assert "'h' pressed" in xenhost.run("xl dmesg")
    assert "'h' pressed" in of_host(workbench, "dmesg_clear")
    assert "'h' pressed" not in xenhost.run("xl dmesg")
    assert "'h' pressed" not in of_host(workbench, "dmesg")
    for keys in ("", "h;reboot", "C", "hR"):
        with pytest.raises(ApiError) as refused:
            of_host(workbench, "send_debug_keys", keys)
        assert refused.value.code in ("INVALID_VALUE", "OPERATION_NOT_ALLOWED")


def test_log_is_the_hosts_own(xenhost: Machine, workbench: Workbench) -> None:
    xenhost.run("logger -t test 'a line of the host'")

    wait_until("the line", lambda: "a line of the host" in of_host(workbench, "get_log"), 10)


def test_hostname_is_changed_at_once_and_for_good(
    xenhost: Machine, workbench: Workbench, table: Table
) -> None:
    before = xenhost.run("hostname").strip()
    try:
        with table.step("host", "set_hostname_live"):
            of_host(workbench, "set_hostname_live", "renamed-host")

        assert xenhost.run("hostname; cat /etc/hostname").split() == ["renamed-host"] * 2
        assert of_host(workbench, "get_hostname") == "renamed-host"
        with pytest.raises(ApiError) as refused:
            of_host(workbench, "set_hostname_live", "bad name; reboot")
        assert refused.value.code == "HOST_NAME_INVALID"
        assert xenhost.run("hostname").strip() == "renamed-host"
    finally:
        of_host(workbench, "set_hostname_live", before)


def test_log_is_sent_to_another_machine(
    xenhost: Machine, workbench: Workbench, receiver: Receiver, table: Table
) -> None:
    of_host(workbench, "set_logging", {"syslog_destination": receiver.log_destination})
    try:
        with table.step("host", "syslog_reconfigure"):
            of_host(workbench, "syslog_reconfigure")
        with table.step("host", "a line at the other machine"):
            xenhost.run(
                "logger -t test 'a line for the other machine'; "
                f"until grep -q 'a line for the other' {receiver.path('log')}; do sleep 0.2; done",
                timeout_s=30,
            )
    finally:
        of_host(workbench, "set_logging", {})
        of_host(workbench, "syslog_reconfigure")
    xenhost.run(
        f"logger -t test 'a line for nobody'; sleep 1; ! grep nobody {receiver.path('log')}"
    )


def test_host_with_guests_is_neither_ended_nor_given_more(
    workbench: Workbench, guest: Guest
) -> None:
    another = workbench.sleeper("comes too late")
    for message in ("shutdown", "reboot"):
        with pytest.raises(ApiError) as refused:
            of_host(workbench, message)
        assert refused.value.code == "HOST_NOT_DISABLED"

    of_host(workbench, "disable")

    try:
        for message in ("shutdown", "reboot"):
            with pytest.raises(ApiError) as refused:
                of_host(workbench, message)
            assert refused.value.details[:3] == ["HOST_IN_USE", workbench.host, "VM"]
            assert refused.value.details[3] in workbench.api.call("VM.get_all")
        with pytest.raises(ApiError) as refused:
            another.call("start", False, False)
        assert refused.value.details == ["HOST_DISABLED", workbench.host]
        with pytest.raises(ApiError) as refused:
            of_host(workbench, "assert_can_evacuate")
        assert refused.value.code == "CANNOT_EVACUATE_HOST"
        assert guest.vm in refused.value.details[1]
        assert guest.domain() is not None
    finally:
        of_host(workbench, "enable")
    another.call("start", False, False)
    assert another.state == "Running"
    another.call("hard_shutdown")


def test_guest_of_another_toolstack_keeps_the_host_up_too(
    xenhost: Machine, workbench: Workbench, guest: Guest
) -> None:
    guest.call("hard_shutdown")
    configuration = 'name = "foreign"\ntype = "pvh"\nmemory = 64\nkernel = "/srv/guest/sleeper"\n'
    xenhost.write("/root/sleeper.cfg", configuration)
    of_host(workbench, "disable")
    xenhost.run("xl create /root/sleeper.cfg")
    try:
        with pytest.raises(ApiError) as refused:
            of_host(workbench, "shutdown")
        assert refused.value.code == "HOST_IN_USE"
    finally:
        xenhost.run("xl destroy foreign")
        of_host(workbench, "enable")
    guest.call("start", False, False)


def test_restarted_agent_leaves_guests_alone_and_finds_the_hosts_dumps(
    xenhost: Machine,
    workbench: Workbench,
    daemon: Daemon,
    guest: Guest,
    receiver: Receiver,
    table: Table,
) -> None:
    xenhost.run(
        f"rm -rf {CRASH_DIRECTORY}; mkdir -p {CRASH_DIRECTORY}/202611230102; "
        f"cd {CRASH_DIRECTORY}/202611230102; "
        "dd if=/dev/urandom of=vmcore bs=64k count=16 status=none; echo oops >dmesg.txt"
    )
    domid, pid = guest.domain(), daemon.main_pid()

    with table.step("host", "restart_agent until it answers"):
        of_host(workbench, "restart_agent")
        wait_until("the API answers", lambda: log_in_again(workbench), START_TIMEOUT_S)

    assert daemon.main_pid() == pid
    assert guest.domain() == domid
    assert guest.state == "Running"
    (dump,) = of_host(workbench, "get_crashdumps")
    call = workbench.api.call
    assert int(call("host_crashdump.get_size", dump)) == (1 << 20) + len("oops\n")
    stamp = str(call("host_crashdump.get_timestamp", dump))
    assert stamp == xenhost.run("date -u -d '2026-11-23 01:02' +%Y%m%dT%H:%M:%SZ").strip()
    with table.step("host", "upload of a host's dump of 1 MiB"):
        call("host_crashdump.upload", dump, receiver.url("dump.tar"), {})
    unpacked = f"tar -xOf {receiver.path('dump.tar')} 202611230102/vmcore | md5sum"
    stored = f"md5sum <{CRASH_DIRECTORY}/202611230102/vmcore"
    assert xenhost.run(unpacked) == xenhost.run(stored)
    call("host_crashdump.destroy", dump)
    assert xenhost.run(f"ls {CRASH_DIRECTORY}") == ""
    assert of_host(workbench, "get_crashdumps") == []


def log_in_again(workbench: Workbench) -> bool:
    """Replace the session that ended with the process it was made in."""
    try:
        fresh = PackageApi(workbench.machine.https_port, workbench.daemon.root_password())
    except OSError:
        return False
    workbench.api.close()
    workbench.api = fresh
    return True


def test_report_says_much_and_no_secret(
    xenhost: Machine,
    workbench: Workbench,
    daemon: Daemon,
    guest: Guest,
    receiver: Receiver,
    table: Table,
) -> None:
    with table.step("host", "bugreport_upload"):
        of_host(workbench, "bugreport_upload", receiver.url("report.tar"), {})

    files = unpack(xenhost, receiver.path("report.tar"))
    assert guest.call("get_uuid") in files["xapid-report/domains.json"]
    assert "resident" in files["xapid-report/database.json"]
    assert xl_info(xenhost)["cc_compile_date"] in files["xapid-report/xen.json"]
    assert "Xen version" in files["xapid-report/kernel-log.txt"]
    assert "xapid" in files["xapid-report/host-log.txt"]
    assert [name for name in files if name.endswith(".missing.txt")] == []
    key = xenhost.run(f"sed -n 2p {STATE}/tls/server.key").strip()
    secrets = [daemon.root_password(), key, SECRET, workbench.api.session, "PRIVATE KEY"]
    for text in files.values():
        assert [secret for secret in secrets if secret in text] == []


def unpack(machine: Machine, path: str) -> dict[str, str]:
    """The files of a tar archive in dom0 by name."""
    archive = subprocess.run(
        [*machine.command("ssh"), "root@127.0.0.1", f"cat {path}"],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {
            member.name: content.read().decode()
            for member in tar
            if (content := tar.extractfile(member)) is not None
        }
