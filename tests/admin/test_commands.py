"""The subcommands of `xapid` as an administrator types them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import orjson
import pytest

from xapid.__main__ import EX_CONFIG, EX_USAGE, main
from xapid.admin import call_log
from xapid.datamodel.vm import VM
from xapid.db.store import Store

from .conftest import Host

pytestmark = pytest.mark.usefixtures("own_log")  # commands configure it


@pytest.fixture
def place(host: Host) -> list[str]:
    """The arguments that lead to the test's host."""
    text = f'state_dir = "{host.root}/state"\n[tls]\ndirectory = "{host.root}/tls"\n'
    text += f'[backup]\ndirectory = "{host.root}/backup"\nkept = 2\n'
    return ["--config", str(host.write("etc/xapid.toml", text).parent)]


class Shell:
    """Runs `xapid` in this process."""

    def __init__(self, place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self._place = place
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = main([*self._place, *arguments])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def xapid(place: list[str], capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(place, capsys)


async def test_a_backup_is_made_listed_verified_and_put_back(
    xapid: Shell, host: Host, store: Store, vm: str
) -> None:
    code, out, _ = xapid("backup", "create")
    assert code == 0 and "verified; schema 1, 1 objects (1 VM" in out
    _, out, _ = xapid("backup", "list", "--json")
    [entry] = orjson.loads(out)
    assert (entry["schema"], entry["fault"], entry["holds"]) == (1, None, "everything")
    code, out, _ = xapid("backup", "verify")
    assert code == 0 and out.startswith(f"good  {entry['name']}: ")

    code, _, err = xapid("backup", "restore", entry["name"])
    assert code == 1 and "systemctl stop xapid" in err
    await store.close()
    code, out, _ = xapid("backup", "restore", entry["name"], "--dry-run")
    assert code == 0 and out.endswith("nothing was changed\n")
    code, out, _ = xapid("backup", "restore", entry["name"])
    assert code == 0 and "before-restore-" in out

    assert await host.name_of(vm) == "before"


def test_without_a_backup_it_says_how_to_make_one(xapid: Shell) -> None:
    assert xapid("backup", "list") == (0, "there is none: xapid backup create\n", "")
    code, _, err = xapid("backup", "verify")
    assert code == 1 and "xapid backup create" in err


def test_a_bad_backup_is_told_by_the_exit_code(xapid: Shell, host: Host) -> None:
    host.write("backup/xapid-20260101T000000Z.tar.gz", "no archive")

    code, out, _ = xapid("backup", "verify", "xapid-20260101T000000Z.tar.gz")

    assert code == 1 and out.startswith("BAD   xapid-20260101T000000Z.tar.gz is damaged")


def test_a_name_that_is_not_there_is_told(xapid: Shell) -> None:
    code, _, err = xapid("backup", "restore", "xapid-20260101T000000Z.tar.gz")

    assert code == 1 and err.endswith("xapid-20260101T000000Z.tar.gz: No such file or directory\n")


async def test_a_database_in_use_is_checked(xapid: Shell, store: Store, vm: str) -> None:
    code, out, _ = xapid("db", "check")

    assert code == 0
    assert out.splitlines()[1:] == ["       1 VM", "good"]


async def test_damage_is_told_with_what_to_do(
    xapid: Shell, host: Host, store: Store, vm: str
) -> None:
    await store.close()
    with closing(sqlite3.connect(host.places.database)) as other:
        other.execute("UPDATE object SET body = CAST('{' AS BLOB) WHERE uuid = ?", (vm,))
        other.commit()

    code, out, err = xapid("db", "check")

    assert code == 1
    assert "FAULT: the stored VM OpaqueRef:" in out
    assert "xapid backup restore" in err


async def test_values_that_start_from_defaults_are_noted(
    xapid: Shell, host: Host, store: Store, vm: str
) -> None:
    ref = store.by_uuid(VM, vm)
    await store.close()
    with closing(sqlite3.connect(host.places.database)) as other:
        other.execute(
            "UPDATE object SET body ="
            " CAST(replace(CAST(body AS TEXT), 'Halted', 'Dreaming') AS BLOB)"
        )
        other.commit()

    code, out, _ = xapid("db", "check")

    assert code == 0
    assert f"note: VM {ref}: power_state start from their defaults\n" in out


def test_a_missing_database_is_told(xapid: Shell) -> None:
    code, _, err = xapid("db", "check")

    assert code == 1 and "state.db is not there" in err


@pytest.mark.parametrize(
    "arguments",
    [["backup"], ["backup", "restore"], ["db"], ["log"], ["nonsense"], ["backup", "create", "x"]],
)
def test_a_command_line_without_sense_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == EX_USAGE


def test_wrong_settings_are_told_before_anything_is_done(host: Host, xapid: Shell) -> None:
    host.write("etc/xapid.toml", "colour = 1\n")

    assert xapid("backup", "create")[0] == EX_CONFIG


CALL = "7f3a21bc"
TASK = f"{CALL}-0000-4000-8000-000000000000"


@pytest.mark.parametrize("name", [CALL, TASK, f"OpaqueRef:{TASK}", f" OpaqueRef:{TASK}\n"])
def test_a_tasks_name_gives_its_call(name: str) -> None:
    assert call_log.call_of(name) == CALL


@pytest.mark.parametrize(
    "name", ["", "--since=now", "OpaqueRef:NULL", f"{TASK};reboot", "7F3A21BC"]
)
def test_other_names_are_refused(xapid: Shell, name: str) -> None:
    code, _, err = xapid("log", f"--task={name}")

    assert code == 1 and "is neither" in err


def test_the_journal_is_asked_by_the_field() -> None:
    assert call_log.command(CALL, output="json", follow=True) == [
        *("journalctl", "--no-pager", "--quiet", "--output=json", "--follow", "--no-tail"),
        f"XAPID_CALL={CALL}",
    ]
