"""What ends guests when the host goes down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import Client, Daemon, disk, drive, storage, vm_values

PROGRAM = Path(__file__).parents[2] / "packaging/guests-off"


def test_every_guest_of_ours_ends_by_its_own_hand_or_by_force(
    daemon: Daemon, client: Client, tmp_path: Path
) -> None:
    sr = storage(client, daemon)
    vms = {name: client("VM.create", vm_values(name_label=name)) for name in "abcd"}
    for name, vm in vms.items():
        drive(client, vm, disk(client, sr))
        if name != "d":
            client("VM.start", vm, name == "b", False)
    daemon.order(client("VM.get_domid", vms["c"]), "ignore_shutdown")
    settings = tmp_path / "xapid.toml"
    settings.write_text(f'state_dir = "{daemon.state}"\n[listen]\nsocket = "{daemon.socket}"\n')

    done = subprocess.run(
        [sys.executable, PROGRAM, "--config", settings, "--within-s", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},
    )

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "a was shut down",
        "b was shut down",
        "c does not shut down and is switched off",
    ]
    assert {client("VM.get_power_state", vm) for vm in vms.values()} == {"Halted"}
