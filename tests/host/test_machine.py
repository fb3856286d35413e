"""The operating system: the commands it is asked with, and rsyslog's drop-in."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from xapid import programs
from xapid.programs import ProgramMissing, ProgramTookTooLong
from xapid.services.host.machine import LogDestination, MachineRefused, SystemdMachine


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of the distribution's, whose programs note how they were called."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("systemctl", "hostnamectl", "journalctl", "rsyslogd"):
        script = directory / name
        script.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/calls\necho said by {name}\n')
        script.chmod(0o755)
    monkeypatch.setattr(programs, "PATH", str(directory))
    return tmp_path / "calls"


def calls(noted: Path) -> list[str]:
    return [Path(line.split()[0]).name + line[line.find(" ") :] for line in _lines(noted)]


def _lines(noted: Path) -> list[str]:
    return noted.read_text().splitlines()


async def test_power_is_asked_of_systemd(tools: Path) -> None:
    machine = SystemdMachine()

    await machine.power_off()
    await machine.reboot()

    assert calls(tools) == [
        "systemctl --no-block --no-wall poweroff",
        "systemctl --no-block --no-wall reboot",
    ]


async def test_the_host_name_is_one_argument(tools: Path) -> None:
    await SystemdMachine().set_hostname("xen-1")

    assert calls(tools) == ["hostnamectl set-hostname -- xen-1"]


async def test_the_log_is_the_journal_of_this_boot(tools: Path) -> None:
    text = await SystemdMachine().log()

    assert text == "said by journalctl\n"
    assert "--boot" in calls(tools)[0]


async def test_rsyslog_gets_a_rule_and_loses_it_again(tools: Path, tmp_path: Path) -> None:
    rules = tmp_path / "60-xapid.conf"
    machine = SystemdMachine(rules)

    await machine.forward_logs(LogDestination("logs.example.org", 1514, "tcp"))
    written = rules.read_text()
    await machine.forward_logs(None)

    assert 'target="logs.example.org" port="1514" protocol="tcp"' in written
    assert not rules.exists()
    assert calls(tools) == ["systemctl restart rsyslog.service"] * 2


async def test_without_rsyslog_the_reason_is_said(tools: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "rsyslogd").unlink()

    with pytest.raises(MachineRefused, match="rsyslog is not installed"):
        await SystemdMachine(tmp_path / "x").forward_logs(LogDestination("a", 514, "udp"))


async def test_a_command_that_fails_is_quoted(tools: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho not today >&2\nexit 4\n")

    with pytest.raises(MachineRefused, match="status 4: not today"):
        await SystemdMachine().reboot()


# Programs


async def test_of_long_output_the_end_is_kept() -> None:
    done = await programs.run(
        ["/bin/sh", "-c", "yes | head -c 90000; echo end; exit 3"], deadline_s=20, output_kept=100
    )

    assert done.status == 3 and not done.succeeded
    assert done.output.startswith("[the beginning was cut]") and done.output.endswith("end\n")
    assert len(done.output) < 200


async def test_a_program_gets_nothing_of_the_daemons_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XAPID_SECRET", "hush")

    done = await programs.run(["env"], deadline_s=20, environment={"GIVEN": "1"})

    assert "hush" not in done.output and "GIVEN=1" in done.output


async def test_a_program_is_ended_at_its_deadline_with_all_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = f"echo begun; sleep 60 & echo $! > {pid}; wait"

    with pytest.raises(ProgramTookTooLong) as late:
        await programs.run(["/bin/sh", "-c", command], deadline_s=0.5)

    assert late.value.output == "begun\n"
    assert not _lives(int(pid.read_text()))


async def test_a_cancelled_caller_sees_the_program_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    os.mkfifo(tmp_path / "begun")
    command = f"echo $$ > {pid}; : > {tmp_path}/begun; sleep 60"

    running = asyncio.create_task(programs.run(["/bin/sh", "-c", command], deadline_s=60))
    await asyncio.to_thread((tmp_path / "begun").read_bytes)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert not _lives(int(pid.read_text()))


async def test_a_child_left_behind_does_not_hold_the_caller(tmp_path: Path) -> None:
    done = await programs.run(["/bin/sh", "-c", "sleep 60 & echo done"], deadline_s=30)

    assert done.output == "done\n"


async def test_a_program_that_is_not_there_is_said_to_be_missing() -> None:
    with pytest.raises(ProgramMissing, match="/no/such/program"):
        await programs.run(["/no/such/program"], deadline_s=1)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
