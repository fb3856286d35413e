"""A restore that is killed at any of its steps leaves one whole database."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from xapid.admin import backup
from xapid.datamodel.vm import VM
from xapid.db.store import Store

from .conftest import Clock, Host

# One process forks a child for each step: what Python's audit hooks see of a restore is when it
# opens, copies, renames and removes files.
KILLED_AT_EACH_STEP = """
import contextlib, json, os, shutil, sqlite3, sys
from pathlib import Path
from xapid.admin import backup
from xapid.config import Backup, Config, Tls

root, archive, vm = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
template = root / "template"

copy = root / "copy"
config = Config(copy / "state", tls=Tls(copy / "tls"), backup=Backup(copy / "backup"))
places = backup.Places(config, copy / "etc")

def dying(number):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "shutil.copyfile"):
            seen += 1
            if seen == number:
                os._exit(9)
    return hook

def name_in(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        [(state,)] = connection.execute("PRAGMA integrity_check").fetchall()
        [(body,)] = connection.execute("SELECT body FROM object WHERE uuid = ?", (vm,)).fetchall()
    return state, json.loads(body)["name_label"]

shutil.copytree(template, copy)
plan = backup.plan_restore(places, archive, database_only=False)
number, status = 0, 9
while status:
    number += 1
    child = os.fork()
    if not child:
        sys.addaudithook(dying(number))
        backup.restore(places, plan)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), status
    print(*name_in(copy / "state/state.db"))
    shutil.rmtree(copy)
    shutil.copytree(template, copy)
"""


@pytest.fixture
def quick_disk() -> Iterator[Path]:
    """A directory in memory: each step of each restore waits for the disk otherwise."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


async def test_a_restore_killed_at_any_step_leaves_one_whole_database(
    host: Host, store: Store, vm: str, clock: Clock, quick_disk: Path
) -> None:
    made = backup.create(host.places, clock)
    ref = store.by_uuid(VM, vm)
    assert ref is not None
    await store.set(ref, VM.name_label, "after")
    # As a daemon that was killed leaves it: the newest change is in the log only.
    template = quick_disk / "template"
    for name in ("state/state.db", "state/state.db-wal", "tls/server.key", "etc/xapid.toml"):
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_bytes((host.root / name).read_bytes())
    (template / "etc/xapid.toml").write_text("changed")

    command = [sys.executable, "-c", KILLED_AT_EACH_STEP, quick_disk, made.path, vm]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    switched = found.index("ok before")
    assert found == ["ok after"] * switched + ["ok before"] * (len(found) - switched)
    assert switched > 10
