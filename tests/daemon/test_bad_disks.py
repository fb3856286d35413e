"""Disks that are full, read-only or have damaged the database: refused clearly, nothing lost.

Guests go on meanwhile. Needs root, and the right to mount.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from xapid.__main__ import main

from .conftest import PATIENCE_S, Client, Daemon, Failure, vm_values

EX_IOERR, EX_TEMPFAIL, EX_CONFIG = 74, 75, 78


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this cannot be mounted here: {done.stderr.decode()}")


@contextmanager
def small_disk(*options: str) -> Iterator[Path]:
    """A file system that a few MiB fill: in memory, or of ext4 where options say so."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    with tempfile.TemporaryDirectory(prefix="xapid-disk-") as directory:
        place = Path(directory) / "state"
        place.mkdir()
        if options:
            image = Path(directory) / "image"
            with image.open("wb") as file:
                file.truncate(16 << 20)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
            mount("-o", "loop", image, place)
        else:
            mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", place)
        (Path(directory) / "mock-xen").touch()
        (place / "mock-xen").symlink_to(Path(directory) / "mock-xen")  # Xen needs no disk
        try:
            yield place
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


def try_to_start(daemon: Daemon) -> tuple[int, str]:
    """The exit code of a daemon that cannot start, and what it says."""
    command = [sys.executable, "-m", "xapid", "--state-dir", str(daemon.state), "--xen", "mock"]
    command += ["--https", "127.0.0.1:0", "--socket", str(daemon.socket)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return done.returncode, done.stderr


@pytest.fixture
def administer(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], own_log: None
) -> Callable[..., str]:
    """Runs a command of an administrator that has to succeed; gives what it writes."""

    def run(*arguments: str) -> str:
        assert main([*arguments, "--state-dir", str(daemon.state)]) == 0
        return capsys.readouterr().out

    return run


def running_guest(client: Client) -> str:
    vm: str = client("VM.create", vm_values(name_label="guest"))
    client("VM.start", vm, False, False)
    return vm


def domain_of(client: Client, vm: str) -> str:
    assert client("VM.get_power_state", vm) == "Running"
    domid: str = client("VM.get_domid", vm)
    return domid


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def record(path: Path, ref: str) -> dict[str, Any]:
    """An object as the database of a stopped daemon has it."""
    with closing(sqlite3.connect(path)) as database:
        [(body,)] = database.execute("SELECT body FROM object WHERE ref = ?", (ref,)).fetchall()
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_database_that_cannot_be_used_is_refused_and_a_backup_finds_the_guests_again(
    daemon: Daemon, administer: Callable[..., str]
) -> None:
    client = daemon.client()
    vm: str = client("VM.create", vm_values(name_label="guest"))
    backup = administer("backup", "create").partition(":")[0]  # of a halted guest
    client("VM.start", vm, False, False)
    domid = domain_of(client, vm)
    assert try_to_start(daemon)[0] == EX_TEMPFAIL  # the daemon that runs holds it
    daemon.stop()
    path = daemon.state / "state.db"
    good = path.read_bytes()

    execute(path, "PRAGMA user_version = 99")
    code, told = try_to_start(daemon)
    assert code == EX_CONFIG and "has schema 99" in told and "xapid backup list" in told

    damaged = bytearray(good)
    damaged[4096:] = b"\xa5" * (len(good) - 4096)
    path.write_bytes(damaged)
    code, told = try_to_start(daemon)
    assert code == EX_CONFIG and "damaged" in told and "xapid backup restore" in told
    assert path.read_bytes() == damaged

    administer("backup", "restore", backup)
    daemon.start()
    client = daemon.client()
    assert domain_of(client, vm) == domid
    assert client("VM.get_name_label", vm) == "guest"


def test_a_full_disk_refuses_changes_only_and_only_as_long_as_it_is_full() -> None:
    with small_disk() as place:
        daemon = Daemon(place)
        daemon.start()
        client = daemon.client()
        vm = running_guest(client)
        domid = domain_of(client, vm)
        ballast = place / "ballast"
        with pytest.raises(OSError, match="space"), ballast.open("wb", 0) as file:
            while True:
                file.write(b"x" * 4096)

        with pytest.raises(Failure, match="INTERNAL_ERROR") as refused:
            for number in range(100):
                client("VM.set_name_description", vm, f"{number} " + "x" * 60_000)
        kept = client("VM.get_name_description", vm)

        assert "nothing was changed: database or disk is full" in refused.value.parameters[0]
        assert domain_of(client, vm) == domid
        ballast.unlink()
        client("VM.set_name_label", vm, "again")
        daemon.stop()
        stored = record(place / "state.db", vm)
        assert (stored["name_label"], stored["name_description"]) == ("again", kept)
        assert (stored["power_state"], stored["domid"]) == ("Running", int(domid))


def test_a_disk_that_becomes_read_only_refuses_changes_and_loses_none() -> None:
    with small_disk("ext4") as place:
        daemon = Daemon(place)
        daemon.start()
        client = daemon.client()
        vm = running_guest(client)
        domid = domain_of(client, vm)
        client("VM.set_name_label", vm, "kept")
        mount("-o", "remount,abort", place)  # what ext4 does by itself when a disk fails

        with pytest.raises(Failure, match="INTERNAL_ERROR") as refused:
            client("VM.set_name_label", vm, "lost")
        assert "nothing was changed" in refused.value.parameters[0]
        assert client("VM.get_name_label", vm) == "kept"
        assert domain_of(client, vm) == domid

        daemon.stop()
        code, told = try_to_start(daemon)
        assert code == EX_IOERR and "read-only" in told and "Guests go on" in told
        # A copy: the kernel may still know the old file system, where another namespace has it.
        mended = shutil.copy(place.parent / "image", place.parent / "mended")
        subprocess.run(["umount", "--lazy", place], check=True)
        subprocess.run(["e2fsck", "-p", mended], check=False, capture_output=True)
        mount("-o", "loop", mended, place)
        daemon.start()
        client = daemon.client()
        assert client("VM.get_name_label", vm) == "kept"
        assert domain_of(client, vm) == domid
        daemon.stop()
