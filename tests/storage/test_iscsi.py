from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xapid.programs import Finished
from xapid.storage.driver import BackendFailure, ConfigInvalid, ConfigMissing
from xapid.storage.iscsi import LvmOverIscsiDriver
from xapid.storage.iscsiadm import (
    Chap,
    Iscsi,
    Target,
    parse_targets,
    portal,
    settings,
    with_settings,
)

IQN = "iqn.2026-11.test.example:disks"
TARGET = Target("192.0.2.7", 3260, IQN)
SECRET = "not-to-be-seen-anywhere"
CHAP = Chap("user", SECRET)
CONFIG = {"target": TARGET.address, "targetIQN": IQN, "LUNid": "1"}
RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2026-11.test.example:disks
node.startup = automatic
node.session.auth.authmethod = None
node.conn[0].address = 192.0.2.7
# END RECORD
"""


class PlayedIscsi:
    """iscsiadm, its database and sysfs. answers: exit codes by what is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: dict[str, int] = {}
        self.calls: list[tuple[str, ...]] = []
        self.records: list[str] = []
        (root / "dev/disk/by-id").mkdir(parents=True)
        self.iscsi = Iscsi(
            self, [root / "nodes"], sysfs=root / "sys", dev=root / "dev", runtime=root / "run"
        )

    async def __call__(self, words: Sequence[str], **_: Any) -> Finished:
        self.calls.append(tuple(words))
        asked = words[-1].removeprefix("--")
        if asked in self.answers:
            return Finished(self.answers[asked], "iscsiadm: something or other\n")
        if asked == "new":
            self.record.parent.mkdir(parents=True)
            self.record.write_text(RECORD)
        elif asked == "login":
            self.records.append(self.record.read_text())
            self.connect()
        elif asked == "logout":
            shutil.rmtree(self.root / "sys")
        elif asked == "delete":
            shutil.rmtree(self.root / "nodes", ignore_errors=True)
        elif asked == "nonpersistent":
            return Finished(0, f"192.0.2.7:3260,1 {IQN}\n[2001:db8::1]:3260,1 {IQN}\n")
        return Finished(0, "")

    @property
    def record(self) -> Path:
        return self.root / "nodes" / IQN / "192.0.2.7,3260,1" / "default"

    def connect(self) -> None:
        """A session with two disks, of which udev has come to the first."""
        session = self.root / "sys/class/iscsi_session/session4"
        connection = self.root / "sys/class/iscsi_connection/connection4:0"
        for number, name in ((1, "sdx"), (2, "sdy")):
            block = session / f"device/target3:0:0/3:0:0:{number}/block/{name}"
            (block / "holders").mkdir(parents=True)
            (block / "size").write_text("2048\n")
        connection.mkdir(parents=True)
        (session / "targetname").write_text(IQN + "\n")
        (connection / "persistent_address").write_text(TARGET.address + "\n")
        (connection / "persistent_port").write_text("3260\n")
        (self.root / "dev/sdx").touch()
        link = self.root / "dev/disk/by-id/scsi-360000abc"
        if not link.is_symlink():
            link.symlink_to("../../sdx")

    def asked(self) -> list[str]:
        return [words[-1].removeprefix("--") for words in self.calls]


@pytest.fixture
def played(tmp_path: Path) -> PlayedIscsi:
    return PlayedIscsi(tmp_path)


class TestSessions:
    async def test_the_secret_is_in_the_record_and_in_no_argument(
        self, played: PlayedIscsi
    ) -> None:
        await played.iscsi.login(TARGET, CHAP)

        (record,) = played.records
        assert f"node.session.auth.password = {SECRET}\n" in record
        assert "node.startup = manual\n" in record
        assert played.record.stat().st_mode & 0o077 == 0
        assert not any(SECRET in word for words in played.calls for word in words)
        assert SECRET not in repr(CHAP)

    async def test_disks_of_a_session(self, played: PlayedIscsi) -> None:
        await played.iscsi.login(TARGET, None)

        (lun,) = played.iscsi.luns(TARGET)

        assert (lun.number, lun.size, lun.scsi_id) == (1, 1 << 20, "360000abc")
        assert lun.node == str(played.root / "dev/sdx")
        assert await played.iscsi.wait_for(TARGET, lambda lun: lun.number == 1) == lun
        assert await played.iscsi.wait_for(TARGET, lambda lun: lun.number == 2, 0.01) is None

    async def test_our_session_ends_and_leaves_no_secret(self, played: PlayedIscsi) -> None:
        await played.iscsi.login(TARGET, CHAP)

        await played.iscsi.logout(TARGET)

        assert played.iscsi.session(TARGET) is None
        assert not played.record.exists()
        assert not list((played.root / "run").iterdir())

    async def test_a_session_of_somebody_else_is_used_and_stays(self, played: PlayedIscsi) -> None:
        played.connect()

        await played.iscsi.login(TARGET, CHAP)
        await played.iscsi.logout(TARGET)

        assert played.asked() == ["rescan"]
        assert played.iscsi.session(TARGET) == 4

    async def test_a_session_stays_while_one_of_its_disks_is_in_use(
        self, played: PlayedIscsi
    ) -> None:
        await played.iscsi.login(TARGET, None)
        (holder,) = played.root.glob("sys/class/*/*/device/*/*:1/block/*/holders")
        (holder / "dm-7").touch()

        await played.iscsi.logout(TARGET)

        assert played.iscsi.session(TARGET) == 4

    @pytest.mark.parametrize(("status", "said"), [(24, "secret"), (8, "in time"), (99, "99")])
    async def test_a_refused_login_leaves_nothing(
        self, played: PlayedIscsi, status: int, said: str
    ) -> None:
        played.answers["login"] = status

        with pytest.raises(BackendFailure, match=said):
            await played.iscsi.login(TARGET, CHAP)

        assert played.asked()[-1] == "delete"
        assert not played.record.exists()
        assert not list((played.root / "run").iterdir())

    @pytest.mark.parametrize("status", [0, 24])
    async def test_a_record_of_the_administrator_is_put_back(
        self, played: PlayedIscsi, status: int
    ) -> None:
        played.record.parent.mkdir(parents=True)
        played.record.write_text(RECORD)
        if status:
            played.answers["login"] = status
            with pytest.raises(BackendFailure):
                await played.iscsi.login(TARGET, CHAP)
        else:
            await played.iscsi.login(TARGET, CHAP)
            assert SECRET in played.record.read_text()
            await played.iscsi.logout(TARGET)

        assert played.record.read_text() == RECORD
        assert not {"new", "delete"} & set(played.asked())

    async def test_a_session_that_came_meanwhile_is_as_good(self, played: PlayedIscsi) -> None:
        played.answers["login"] = 15

        await played.iscsi.login(TARGET, None)

    async def test_targets_at_an_address(self, played: PlayedIscsi) -> None:
        assert await played.iscsi.discover("192.0.2.7", 3260) == [IQN]
        played.answers["nonpersistent"] = 21
        assert await played.iscsi.discover("192.0.2.7", 3260) == []
        played.answers["nonpersistent"] = 4
        with pytest.raises(BackendFailure, match="cannot be reached"):
            await played.iscsi.discover("192.0.2.7", 3260)


def test_records_keep_what_they_said_besides() -> None:
    record = with_settings(RECORD, settings(Chap("a", "b", "c", "d")))

    assert record.startswith("# BEGIN RECORD 2.1.8\n")
    assert record.endswith("# END RECORD\n")
    assert record.count("node.startup") == record.count("authmethod") == 1
    assert "node.conn[0].address = 192.0.2.7\n" in record
    assert "node.session.auth.username_in = c\nnode.session.auth.password_in = d\n" in record


def test_portals_and_lists() -> None:
    assert portal("2001:db8::1", 3260) == "[2001:db8::1]:3260"
    assert parse_targets("iscsiadm: No portals found\n") == []


class TestConfiguration:
    @pytest.fixture
    def driver(self, played: PlayedIscsi, tmp_path: Path) -> LvmOverIscsiDriver:
        (tmp_path / "secrets").mkdir()
        return LvmOverIscsiDriver(played.iscsi, tmp_path / "secrets")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"target": "host;reboot"},
            {"target": "--help"},
            {"port": "0"},
            {"port": "65536"},
            {"targetIQN": "../../etc"},
            {"targetIQN": "iqn.2026-11.test/../x"},
            {"targetIQN": "iqn.2026-11." + "a" * 300},
            {"SCSIid": "-o"},
            {"LUNid": "one"},
            {"chapuser": "two words"},
            {"chapsecret": "../shadow"},
            {"chapsecret": ".hidden"},
        ],
    )
    def test_odd_values_are_refused(
        self, driver: LvmOverIscsiDriver, wrong: dict[str, str]
    ) -> None:
        driver.check(CONFIG)

        with pytest.raises(ConfigInvalid):
            driver.check(CONFIG | wrong)

    def test_open_secrets_are_refused_without_repeating_them(
        self, driver: LvmOverIscsiDriver
    ) -> None:
        with pytest.raises(ConfigInvalid) as refused:
            driver.check(CONFIG | {"chappassword": SECRET})

        assert SECRET not in str(refused.value)
        assert "chapsecret" in str(refused.value)

    def test_a_probe_may_know_no_more_than_the_address(self, driver: LvmOverIscsiDriver) -> None:
        driver.check({"target": "2001:db8::1"})
        with pytest.raises(ConfigMissing):
            driver.check({"targetIQN": IQN})

    async def test_probe_lists_the_targets(
        self, driver: LvmOverIscsiDriver, played: PlayedIscsi
    ) -> None:
        (found,) = await driver.probe({"target": "192.0.2.7"})

        assert found.device_config == {"target": "192.0.2.7", "port": "3260", "targetIQN": IQN}
        await driver.close()

    @pytest.mark.parametrize("missing", ["targetIQN", "LUNid"])
    async def test_an_sr_needs_its_lun(
        self, driver: LvmOverIscsiDriver, played: PlayedIscsi, missing: str
    ) -> None:
        config = {key: value for key, value in CONFIG.items() if key != missing}

        with pytest.raises(ConfigMissing):
            await driver.create("", config, "disks")

        assert played.iscsi.session(TARGET) is None
        await driver.close()

    @pytest.mark.parametrize("mode", [0o644, 0o640])
    async def test_a_secret_that_others_read_is_not_used(
        self, driver: LvmOverIscsiDriver, played: PlayedIscsi, mode: int
    ) -> None:
        file = played.root / "secrets/array"
        file.write_text(SECRET)
        file.chmod(mode)

        with pytest.raises(ConfigInvalid, match="only root"):
            await driver.probe(CONFIG | {"chapuser": "user", "chapsecret": "array"})

        assert not played.calls
        await driver.close()

    @pytest.mark.parametrize("content", ["", "two words", "two\nlines", "naïve"])
    async def test_a_secret_cannot_say_more_than_a_secret(
        self, driver: LvmOverIscsiDriver, played: PlayedIscsi, content: str
    ) -> None:
        file = played.root / "secrets/array"
        file.write_text(content)
        file.chmod(0o600)

        with pytest.raises(ConfigInvalid, match="plain characters"):
            await driver.probe(CONFIG | {"chapuser": "user", "chapsecret": "array"})
        await driver.close()

    async def test_a_session_ends_with_its_last_user(
        self, driver: LvmOverIscsiDriver, played: PlayedIscsi
    ) -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def use() -> None:
            async with driver._connected(CONFIG):
                entered.set()
                await leave.wait()

        other = asyncio.ensure_future(use())
        await entered.wait()
        async with driver._connected(CONFIG):
            pass
        assert played.iscsi.session(TARGET) == 4
        leave.set()
        await other

        assert played.iscsi.session(TARGET) is None
        await driver.close()
