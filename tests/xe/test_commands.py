"""`xe` on a whole daemon: from a bare install to a guest, and what is asked of it then."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xapid.xe.registry import every

from ..daemon.conftest import eventually
from .conftest import Xe

MIB = 1 << 20
TEMPLATE = "template=Other install media (PV)"


def make_storage(xe: Xe, name: str) -> str:
    """A repository of its own for a test, and its uuid."""
    place = xe.daemon.state / name
    place.mkdir()
    return xe.ok("sr-create", f"name-label={name}", "type=file", f"device-config:location={place}")


def make_vm(xe: Xe, name: str, *words: str) -> str:
    return xe.ok("vm-create", f"name-label={name}", "memory=64MiB", "PV-bootloader=pygrub", *words)


def records(xe: Xe, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(xe.ok(*words, "--json"))
    return found


def test_a_bare_install_gets_a_guest_with_disk_and_network_by_xe_alone(xe: Xe) -> None:
    sr, network = make_storage(xe, "disks"), xe.ok("network-create", "name-label=lan")
    vm = make_vm(xe, "first", "vcpus=2", "other-config:owner=alice")
    vdi = xe.ok("vdi-create", "name-label=root", "virtual-size=1GiB", "sr=disks")
    xe.ok("vbd-create", "vm=first", f"vdi-uuid={vdi}", "bootable=true")
    xe.ok("vif-create", "vm-uuid=" + vm, "network=lan", "mac=random")

    xe.ok("vm-start", "first")

    (shown,) = records(xe, "vm-list", "vm=first", "params=all")
    assert (shown["uuid"], shown["power-state"], shown["VCPUs-max"]) == (vm, "running", 2)
    assert shown["memory-static-max"] == 64 * MIB and shown["other-config"] == {"owner": "alice"}
    assert xe.ok("vdi-list", "sr=disks", "params=virtual-size", "--minimal") == str(1 << 30)
    assert xe.ok("vif-param-get", f"uuid={records(xe, 'vif-list', 'vm=first')[0]['uuid']}",
                 "param-name=network-uuid") == network  # fmt: skip
    assert xe.ok("sr-param-get", f"uuid={sr}", "param-name=name-label") == "disks"
    xe.ok("vm-uninstall", "first", "--force")
    assert xe.ok("vdi-list", "sr=disks", "--minimal") == ""


def test_a_guest_is_installed_from_a_template_with_sizes_of_its_own(xe: Xe) -> None:
    make_storage(xe, "installs")
    xe.ok("network-create", "name-label=net-installs")

    vm = xe.ok(
        "vm-install", TEMPLATE, "new-name-label=sized", "memory=128MiB", "vcpus=3", "sr=installs",
        "disk-size=512MiB", "network=net-installs",
    )  # fmt: skip

    (shown,) = records(xe, "vm-list", f"uuid={vm}", "params=all")
    assert (shown["memory-dynamic-max"], shown["VCPUs-at-startup"]) == (128 * MIB, 3)
    assert shown["is-a-template"] is False and "default_template" not in str(shown["other-config"])
    assert xe.ok("vdi-list", "sr=installs", "params=virtual-size", "--minimal") == str(512 * MIB)
    assert len(records(xe, "vif-list", "vm=sized")) == 1


def test_a_guest_is_cloned_from_a_template_when_no_sizes_are_asked_for(xe: Xe) -> None:
    make_storage(xe, "clones")

    vm = xe.ok("vm-install", TEMPLATE, "new-name-label=cloned", "sr-name-label=clones")

    assert xe.ok("vm-param-get", f"uuid={vm}", "param-name=memory-static-max") == str(1 << 30)
    xe.ok("template-list", TEMPLATE.replace("template=", "name-label="))
    assert xe.ok("vm-uninstall", "cloned", "--force") == ""


def test_an_install_that_fails_leaves_nothing_behind(xe: Xe) -> None:
    make_storage(xe, "fails")
    before = xe.ok("vm-list", "--minimal"), xe.ok("vdi-list", "--minimal")

    complaint = xe.refused(
        "vm-install", TEMPLATE, "new-name-label=half", "sr=fails", "disk-size=4096TiB"
    )

    assert complaint.startswith("xe: vm-install")
    assert (xe.ok("vm-list", "--minimal"), xe.ok("vdi-list", "--minimal")) == before


def test_a_name_that_two_objects_have_is_refused_with_their_uuids(xe: Xe) -> None:
    twins = {make_vm(xe, "twin"), make_vm(xe, "twin")}

    complaint = xe.refused("vm-start", "vm=twin")

    assert all(uuid in complaint for uuid in twins) and "by its uuid" in complaint
    assert xe.ok("vm-list", "name-label=twin", "power-state=halted", "--minimal").count(",") == 1


def test_several_objects_want_multiple(xe: Xe) -> None:
    for name in ("many1", "many2"):
        make_vm(xe, name, "other-config:group=many")

    complaint = xe.refused("vm-start", "other-config:group=many", code=2)
    xe.ok("vm-start", "other-config:group=many", "--multiple")

    assert "--multiple" in complaint
    states = xe.ok("vm-list", "other-config:group=many", "params=power-state", "--minimal")
    assert states == "running,running"
    xe.ok("vm-shutdown", "other-config:group=many", "--multiple", "--force")
    assert xe.ok("vm-list", "other-config:group=many", "power-state=running", "--minimal") == ""


def test_fields_are_set_added_removed_cleared_and_read(xe: Xe) -> None:
    make_vm(xe, "fields")

    xe.ok("vm-param-set", "fields", "name-description=A text", "other-config:Key=a=b")
    assert xe.ok("vm-param-get", "vm=fields", "param-name=name-description") == "A text"
    get = ("vm-param-get", "vm=fields", "param-name=other-config")
    assert xe.ok(*get, "param-key=Key") == "a=b"
    xe.ok("vm-param-add", "vm=fields", "param-name=other-config", "more=1", "Most=2")
    assert xe.ok(*get) == "Key: a=b; more: 1; Most: 2"
    xe.ok("vm-param-remove", "vm=fields", "param-name=other-config", "param-key=Key")
    assert xe.ok(*get) == "more: 1; Most: 2"
    xe.ok("vm-param-clear", "vm=fields", "param-name=other-config")
    assert xe.ok(*get) == ""
    assert "has no key Key" in xe.refused(*get, "param-key=Key")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["vm-param-set", "nobody-cares", "memory-static-max=1"], "no vm with the name"),
        (["vm-stat"], "did you mean vm-start"),
        (["network-create", "name-lable=x"], "takes no name-lable"),
        (["vm-list", "name-lable=x"], "did you mean name-label"),
        (["vm-start"], "say which vm"),
        (["vdi-create", "name-label=x"], "needs virtual-size"),
        (["vif-create", "vm=x", "network=none", "stray"], "stands alone"),
        (["sr-create", "name-label=x", "type=lvmoiscsi", "device-config:chappassword=y"],
         "device-config:chappassword-file=FILE"),
        (["pool-join", "master-address=x", "master-username=x", "master-password=x"],
         "is a secret"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence_with_what_to_do(
    xe: Xe, words: list[str], says: str
) -> None:
    ran = xe(*words)

    assert ran.code in (1, 2) and not ran.out
    assert says in ran.err and "Traceback" not in ran.err


def test_an_error_of_the_server_names_the_objects_and_says_what_to_do(xe: Xe) -> None:
    vm = make_vm(xe, "wrong-state")

    complaint = xe.refused("vm-suspend", "wrong-state")

    assert complaint.splitlines() == [
        "xe: vm-suspend wrong-state: The VM is not in a power state that the operation accepts; "
        "bring it into one first. [VM_BAD_POWER_STATE]",
        f"  vm: wrong-state ({vm})",
        "  expected: Running",
        "  actual: Halted",
    ]


def test_a_name_full_of_escape_sequences_does_nothing_to_the_terminal(xe: Xe) -> None:
    nasty = "\u202egpj.\u009b2Jexe"
    ref = xe.client("network.create", {"name_label": nasty, "name_description": "a\nb"})

    for form in ("--table", "--classic", "--json"):
        out = xe.ok("network-list", form)
        assert "\u202e" not in out and "\u009b" not in out

    xe.client("network.destroy", ref)


def test_disks_and_drives_come_and_go_by_the_commands_of_old(xe: Xe) -> None:
    make_storage(xe, "devices")
    make_vm(xe, "devices")
    xe.ok("vm-disk-add", "vm=devices", "disk-size=8MiB", "device=3", "sr=devices")
    xe.ok("vm-cd-add", "vm=devices", "device=4")

    assert xe.ok("vm-disk-list", "vm=devices", "vbd-params=userdevice", "--minimal") == "3"
    assert xe.ok("vm-cd-list", "devices", "vbd-params=empty", "--minimal") == "true"
    assert "no drive with a disc" in xe.refused("vm-cd-eject", "devices")
    xe.ok("vm-disk-remove", "vm=devices", "device=3")
    xe.ok("vm-cd-remove", "vm=devices")
    assert xe.ok("vm-disk-list", "vm=devices", "--minimal") == ""
    assert xe.ok("vdi-list", "sr=devices", "--minimal") == ""


def test_waiting_for_a_change_ends_with_it(xe: Xe) -> None:
    vm = make_vm(xe, "waited-for")
    waiting = xe.program(
        "--socket", str(xe.daemon.socket), "event-wait", "class=vm", f"uuid={vm}",
        "power-state=/=halted",
    )  # fmt: skip
    eventually(lambda: waits_for_events(xe))
    assert waiting.poll() is None

    xe.ok("vm-start", "waited-for")

    assert waiting.communicate(timeout=20) == ("", "") and waiting.returncode == 0


def waits_for_events(xe: Xe) -> bool:
    """Whether some process beside this one holds a connection to the daemon."""
    number = Path("/proc/net/unix").read_text().count(str(xe.daemon.socket))
    return number >= 3  # the listener, the client of the tests, and the one that waits


def test_every_list_and_param_list_answers_in_every_form(xe: Xe) -> None:
    for name in every():
        if name.endswith("-list") and "param" not in name and not name.startswith("vm-"):
            for form in ("--json", "--table", "--classic", "--minimal"):
                assert xe(name, "params=all", form).code == 0, name
    assert "enabled ( RO): true" in xe.ok("host-param-list")
    assert json.loads(xe.ok("pool-param-list", "--json"))["master"] != ""


def open_sessions(xe: Xe) -> int:
    """Logins without a logout so far, as the daemon's log has them."""

    def calls(method: str) -> int:
        return sum(f"method=session.{method}" in line for line in xe.daemon.errors)

    return calls("login_with_password") - calls("logout")


def test_no_run_leaves_a_session_behind(xe: Xe) -> None:
    xe.ok("vm-list")
    xe.refused("vm-start", "no-such-vm")
    xe.refused("vm-start", code=2)
    waiting = xe.program(
        "--socket", str(xe.daemon.socket), "event-wait", "class=vm", "name-label=nobody"
    )
    # Who is interrupted before the login's answer knows no session to end.
    eventually(lambda: waits_for_events(xe) and open_sessions(xe) == 2)
    waiting.send_signal(signal.SIGINT)
    _, complaint = waiting.communicate(timeout=20)

    assert waiting.returncode == 130 and "interrupted" in complaint
    eventually(lambda: open_sessions(xe) == 1)  # that of the tests' own client


def test_help_tells_of_topics_commands_and_arguments(xe: Xe) -> None:
    assert "xe vm-list" in xe.ok("help")
    assert "vm-shutdown" in xe.ok("help", "vm")
    page = xe.ok("vm-start", "--help")
    assert page.startswith("xe vm-start vm=NAME|uuid=UUID [on=HOST]") and "Skip the check" in page
    assert "KiB" in xe.ok("help", "values")
    assert "no command or topic" in xe.refused("help", "nonsense", code=2)
    assert "vm-start" in xe.ok("help", "--all").splitlines()


def test_an_answer_of_a_message_is_printed_as_it_is(xe: Xe) -> None:
    assert "(XEN) Xen version" in xe.ok("host-dmesg")
    assert "file" in xe.ok("sr-get-supported-types", "--minimal").split(",")
    assert xe.ok("vm-get-allowed-vbd-devices", "--json", make_vm(xe, "asked")).startswith("[")


def test_a_user_gets_a_password_from_a_file_and_never_from_the_command_line(xe: Xe) -> None:
    user = xe.ok("user-create", "short-name=carol", "fullname=Carol")
    secret = xe.home / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)

    assert "is a secret" in xe.refused("user-set-password", f"uuid={user}", "password=x", code=2)
    xe.ok("user-set-password", f"uuid={user}", f"password-file={secret}")

    session = xe.client.raw("session.login_with_password", "carol", "correct horse")
    assert xe.client.raw("session.logout", session) == ""


def test_the_program_starts_without_the_datamodel(xe: Xe) -> None:
    code = (
        "import sys; from xapid.xe.__main__ import main; main(sys.argv[1:]); "
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--socket", str(xe.daemon.socket), "vm-list", "--minimal"],
        capture_output=True, text=True, check=True, timeout=20, env=xe.environment(),
    )  # fmt: skip

    modules = set(done.stdout.splitlines()[-1].split())
    assert not {m for m in modules if m.startswith("xapid.datamodel.")}
    assert not modules & {"dataclasses", "inspect", "asyncio", "difflib", "textwrap", "getpass"}
    assert not {m for m in modules if m.startswith("xapid.xe.verbs.vm_making")}
