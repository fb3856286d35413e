"""Gathers from a host what explains a failed test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from testhost.machine import HostError, Machine

MACHINE = pytest.StashKey[Machine]()
"""Where the configuration of pytest has the host that the tests of the moment run on."""

COMMANDS = {
    "journal.txt": "journalctl -b --no-pager -o short-precise | tail -n 5000",
    "xapid.txt": "journalctl -b -u xapid --no-pager -o short-precise | tail -n 5000",
    "xl-dmesg.txt": "xl dmesg | tail -n 400",
    "xl-list.txt": "xl list -v; xl info; free -m; ps axf -o pid,ppid,stat,etimes,rss,args",
    "xenstore.txt": "xenstore-ls -f -p",
    "disks.txt": "losetup -a; ls -lR /srv/xapid; df -h",
    "network.txt": "ip -d address; bridge link",
}


def collect(machine: Machine, directory: Path) -> None:
    """Write logs and state of the host into directory, as far as the host still answers."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(machine.serial_log, directory / "serial.log")
    for name, command in COMMANDS.items():
        try:
            text = machine.run(f"{{ {command}; }} 2>&1", timeout_s=60, check=False)
        except HostError as error:
            text = str(error)
        (directory / name).write_text(text)
    with (directory / "var-log-xen.tar").open("wb") as archive:
        subprocess.run(
            [*machine.command("ssh"), "root@127.0.0.1", "tar -C /var/log -c xen"],
            stdout=archive,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
