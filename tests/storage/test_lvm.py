from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapid.programs import Finished
from xapid.storage import device_mapper, lvm_tags
from xapid.storage.blocking import Threads
from xapid.storage.device_mapper import Active
from xapid.storage.driver import (
    Access,
    BackendFailure,
    ConfigInvalid,
    ConfigMissing,
    LocationInvalid,
    NewVolume,
    NoSpace,
    RepositoryInUse,
    RepositoryMissing,
    RepositoryNotEmpty,
    ShrinkRefused,
    VolumeExists,
    VolumeInUse,
    VolumeLabel,
    VolumeMissing,
    no_progress,
)
from xapid.storage.lvm import LvmDriver
from xapid.storage.lvm_commands import (
    VOLUME_FIELDS,
    Lvm,
    parse_block_size,
    parse_mapped,
    parse_pool,
    parse_report,
    volume,
)
from xapid.storage.lvm_published import Published
from xapid.storage.lvm_repository import LvmRepository
from xapid.storage.pool_plan import EXTENT, plan_growth, plan_pool
from xapid.storage.volume_group import (
    VolumeGroup,
    as_volume,
    clear_unfinished,
    find_groups,
    ours,
)

from .played_lvm import BLOCK, Disk, Killed, PlayedLvm

SR = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"
FIRST, SECOND = f"vdi-{ONE}", f"vdi-{TWO}"
MIB = 1 << 20
LABEL = VolumeLabel("disk", "of a guest", "user", read_only=False, sharable=True)
TAG = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.\-/=!:&#]{0,1023}")  # lvm(8), on tags


# What lvs 2.03.16 says of a group with a pool and two disks.
REPORT = """
  {
      "report": [
          {
              "lv": [
                  {"lv_name":"pool", "lv_size":"251658240", "lv_tags":"", "pool_lv":""},
                  {"lv_name":"vdi-00000000-0000-4000-8000-000000000001", "lv_size":"8388608", \
"lv_tags":"xapid.label.00=W10_-=,xapid.staged,xapid.used=786432", "pool_lv":"pool"},
                  {"lv_name":"vdi-00000000-0000-4000-8000-000000000002", \
"lv_size":"107374182400", "lv_tags":"", "pool_lv":"pool"}
              ]
          }
      ]
  }

"""


class PlainGroup(VolumeGroup):
    """A group whose disks are files, so that something can be written to them."""

    directory = Path()

    def path(self, location: str) -> str:
        return str(self.directory / location)


@pytest.fixture
def played() -> PlayedLvm:
    return PlayedLvm()


@pytest.fixture
def lvm(played: PlayedLvm) -> Lvm:
    return Lvm(["/dev/sdx", "/dev/sdy"], played, played)


@pytest.fixture
async def sr(lvm: Lvm, tmp_path: Path) -> AsyncIterator[LvmRepository]:
    await VolumeGroup(SR, lvm).make("disks & more")
    repository = await attached(lvm, tmp_path)
    yield repository
    repository._close()


async def attached(lvm: Lvm, directory: Path, host: str = "here") -> LvmRepository:
    group = PlainGroup(SR, lvm)
    group.directory = directory
    await group.claim(host)
    return LvmRepository(group, host, Threads("test"))


async def published(sr: LvmRepository, uuid: str = ONE, size: int = 8 * MIB) -> str:
    volume = await sr.create(NewVolume(uuid, size, LABEL))
    await sr.publish(volume.location)
    return volume.location


class TestCommands:
    async def test_every_call_names_its_devices_and_looks_on_no_guests_disk(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        await sr.scan(())

        for call in played.calls:
            if call[0] != "dmsetup":
                assert "scan_lvs=0" in call[call.index("--config") + 1]
                found = [call[at + 1] for at, word in enumerate(call) if word == "--devices"]
                assert found == ["/dev/sdx", "/dev/sdy"]

    async def test_a_cancelled_call_is_seen_to_its_end(self) -> None:
        begun, ending, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def slow(*_: object, **__: object) -> Finished:
            begun.set()
            await ending.wait()
            ended.set()
            return Finished(0, "")

        work = asyncio.ensure_future(Lvm([], slow).change("lvchange"))
        await begun.wait()
        work.cancel()
        await asyncio.sleep(0)
        assert not work.done()
        ending.set()

        with pytest.raises(asyncio.CancelledError):
            await work
        assert ended.is_set()

    async def test_what_a_program_said_last_is_the_reason(
        self, lvm: Lvm, played: PlayedLvm
    ) -> None:
        played.fail["vgs"] = "  WARNING: so so\n  Cannot process x\n  Run `vgs --help'."

        with pytest.raises(BackendFailure, match=r"^vgs: Cannot process x$"):
            await lvm.report("vgs", ("vg_name",))

    @pytest.mark.parametrize(
        "output", ["", "{}", "{", '{"report": []}', '{"report": [{"lv": [{"lv_name": "x"}]}]}']
    )
    def test_reports_that_say_something_else_are_refused(self, output: str) -> None:
        with pytest.raises(BackendFailure):
            parse_report(output, ("lv_name", "lv_size"))

    def test_a_report_of_the_real_program(self) -> None:
        pool, first, second = map(volume, parse_report(REPORT, VOLUME_FIELDS))

        assert not ours(pool)
        assert ours(first)
        assert first.tags == {"xapid.label.00=W10_-=", "xapid.staged", "xapid.used=786432"}
        assert second.size == 100 << 30
        assert as_volume(first, None).physical_utilisation == 786432
        assert as_volume(first, 512).physical_utilisation == 512

    def test_states_of_pools(self) -> None:
        rest = "77 9/4096 24/4000 - {} discard_passdown error_if_no_space - 1024 "
        assert not parse_pool(rest.format("rw"), 1).failed
        assert parse_pool(rest.format("out_of_data_space"), 1).failed
        assert parse_pool(rest.format("ro"), 1).failed
        assert parse_pool(rest.format("rw"), 512).used == 24 * 512
        assert parse_block_size("253:0 253:1 512 0 1 error_if_no_space ") == 256 << 10
        assert parse_mapped("1024 7") == parse_mapped("1024 -") == 1024 * 512
        for broken in ("Fail", "Error", "", "7:0 0"):
            with pytest.raises(BackendFailure):
                parse_pool(broken, 1)
            with pytest.raises(BackendFailure):
                parse_mapped(broken)
            with pytest.raises(BackendFailure):
                parse_block_size(broken)

    @pytest.mark.parametrize("layer", ["x--y-pool", "x--y-pool-tpool"])
    async def test_a_pool_is_found_before_and_after_its_first_disk(self, layer: str) -> None:
        class OnePool(PlayedLvm):
            def status(self, name: str) -> str | None:
                return "1 9/90 2/20 - rw " if name == layer else None

            def table(self, name: str) -> str | None:
                return "7:0 7:1 8 0 0 " if name == layer else None

        played = OnePool()
        lvm = Lvm([], played, played)

        assert (await lvm.pool_use("x-y", "pool")).total == 20 * 8 * 512
        with pytest.raises(BackendFailure, match="not active"):
            await lvm.pool_use("x", "pool")
        lvm.close()


class TestTags:
    @given(st.builds(VolumeLabel, st.text(), st.text(), st.text(max_size=9), st.booleans()))
    def test_labels_come_back(self, label: VolumeLabel) -> None:
        tags = lvm_tags.label_tags(label)

        assert all(TAG.fullmatch(tag) for tag in tags)
        assert lvm_tags.read_label(reversed(tags)) == lvm_tags.kept(label)

    def test_a_long_text_fills_no_more_than_its_share(self) -> None:
        tags = lvm_tags.label_tags(VolumeLabel("\U0001f4be" * 70000, "x" * 70000))

        assert sum(map(len, tags)) < 8192
        assert all(TAG.fullmatch(tag) for tag in tags)

    @pytest.mark.parametrize(
        "tags", [(), ("xapid.label.00=%%",), ("xapid.label.00=W10=",), ("other",)]
    )
    def test_what_cannot_be_read_is_no_label(self, tags: tuple[str, ...]) -> None:
        assert lvm_tags.read_label(tags) is None

    @given(st.text(max_size=100))
    def test_names_come_back(self, name: str) -> None:
        assert lvm_tags.read_name(lvm_tags.name_tags(name)) == name


class TestGroups:
    @given(st.integers(min_value=64 * MIB, max_value=1 << 54))
    def test_pool_and_metadata_fit(self, free: int) -> None:
        plan = plan_pool(free)

        assert plan.size + 2 * plan.metadata <= free
        assert plan.size > free * 0.8
        assert plan.size % EXTENT == plan.metadata % EXTENT == 0
        assert plan.metadata <= (15 << 30) + EXTENT

    def test_too_small_a_group_is_refused(self) -> None:
        with pytest.raises(NoSpace):
            plan_pool(8 * MIB)

    async def test_a_group_whose_pool_cannot_be_made_goes(
        self, lvm: Lvm, played: PlayedLvm
    ) -> None:
        played.fail["lvcreate"] = "  thin-pool: Required device-mapper target(s) not detected"

        with pytest.raises(BackendFailure, match="not detected"):
            await VolumeGroup(SR, lvm).make("disks")

        assert not played.groups

    @given(st.integers(64 * MIB, 1 << 50))
    def test_growth_fits_with_the_repair_of_its_metadata(self, free: int) -> None:
        data, metadata = plan_growth(free, 256 << 10)

        assert data + 2 * metadata <= free
        assert data % EXTENT == metadata % EXTENT == 0
        assert data > 0

    async def test_a_pool_takes_what_its_devices_gain(
        self, sr: LvmRepository, played: PlayedLvm, lvm: Lvm
    ) -> None:
        group, before = VolumeGroup(SR, lvm), played.disk("pool").size
        await group.grow()
        assert played.disk("pool").size == before
        played.size += 1 << 30

        await VolumeGroup(SR, lvm).grow()

        assert played.disk("pool").size > before + 1000 * MIB
        changes = len(played.changes())
        await VolumeGroup(SR, lvm).grow()
        assert len(played.changes()) == changes

    async def test_a_group_that_cannot_grow_is_used_as_it_is(
        self, sr: LvmRepository, played: PlayedLvm, lvm: Lvm
    ) -> None:
        played.size += 1 << 30
        played.fail["pvresize"] = "  Cannot resize"

        await sr.scan(())
        assert (await sr.stat()).total < 1 << 30
        await sr.scan(())

        assert (await sr.stat()).total > 1 << 30

    async def test_groups_are_found_with_their_names(self, lvm: Lvm) -> None:
        await VolumeGroup(SR, lvm).make("näme & <x>")

        (found,) = await find_groups(lvm, {"device": "/dev/sdx"})

        assert (found.uuid, found.name) == (SR, "näme & <x>")
        assert found.device_config == {"device": "/dev/sdx"}

    async def test_only_what_was_cut_short_makes_way(self, lvm: Lvm, played: PlayedLvm) -> None:
        await VolumeGroup(SR, lvm).make("disks")
        with pytest.raises(RepositoryInUse):
            await clear_unfinished(lvm)

        played.group.disks.clear()  # as though killed before the pool
        with pytest.raises(RepositoryMissing):
            await VolumeGroup(SR, lvm).claim("here")
        await clear_unfinished(lvm)

        assert not played.groups

    async def test_the_group_of_another_host_is_refused(self, lvm: Lvm, tmp_path: Path) -> None:
        await VolumeGroup(SR, lvm).make("disks")
        first = await attached(lvm, tmp_path)

        with pytest.raises(RepositoryInUse, match="vgchange --deltag"):
            await attached(lvm, tmp_path, "there")

        await first.detach()
        second = await attached(lvm, tmp_path, "there")
        await second.detach()

    async def test_a_group_stays_ours_while_a_guest_has_a_disk(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        await sr.activate(location, writable=True)
        played.change(location, open=True)

        await sr.detach()

        assert played.disk(location).active
        assert "xapid.host=here" in played.group.tags


@pytest.mark.parametrize(
    "device",
    [
        *("sdb", "/etc/passwd", "/dev/../etc/passwd", "/dev/sdb;reboot", "/dev/", "/dev//sdb"),
        *("/dev/sdb,/dev/sdb", "/dev/s db", "--yes", "/dev/sdb,", "/dev/sdb\n"),
    ],
)
def test_only_plain_devices_are_taken(device: str) -> None:
    with pytest.raises(ConfigInvalid):
        LvmDriver().check({"device": device})


def test_a_device_is_needed() -> None:
    with pytest.raises(ConfigMissing):
        LvmDriver().check({})
    LvmDriver().check({"device": "/dev/disk/by-id/scsi-360:1,/dev/sdc"})


async def test_other_files_than_block_devices_are_refused() -> None:
    driver = LvmDriver()
    for path in ("/dev/null", "/dev/no-such-device"):
        with pytest.raises(ConfigInvalid):
            await driver.create(SR, {"device": path}, "disks")
    await driver.close()


class TestStates:
    async def test_a_published_volume_is_found(self, sr: LvmRepository) -> None:
        location = await published(sr, size=5 * MIB)

        (volume,) = await sr.scan({location})

        assert volume == await sr.look(location)
        assert (volume.uuid, volume.virtual_size, volume.label) == (ONE, 8 * MIB, LABEL)

    async def test_a_staged_volume_is_hidden_and_in_flight_is_left_alone(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        volume = await sr.create(NewVolume(ONE, MIB))

        assert await sr.scan(()) == []
        assert volume.location in played.group.disks

    @pytest.mark.parametrize("state", [lvm_tags.STAGED, lvm_tags.RETIRED])
    async def test_a_kill_is_settled_by_what_the_database_knows(
        self, sr: LvmRepository, played: PlayedLvm, state: str
    ) -> None:
        for name in (FIRST, SECOND):
            played.group.disks[name] = Disk(4 * MIB, frozenset({state}), "pool", active=True)

        (volume,) = await sr.scan({FIRST})

        assert volume.location == FIRST
        assert SECOND not in played.group.disks
        assert not played.disk(FIRST).tags
        assert not played.disk(FIRST).active

    async def test_what_is_nobodys_is_left_alone(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        played.group.disks["admins"] = Disk(4 * MIB, frozenset({lvm_tags.STAGED}), "pool")

        assert await sr.scan(()) == []
        assert "admins" in played.group.disks
        with pytest.raises(RepositoryNotEmpty):
            await sr.destroy()

    async def test_a_suspended_disk_goes_on(self, sr: LvmRepository, played: PlayedLvm) -> None:
        location = await published(sr)
        played.change(location, suspended=True, active=True, open=True)

        await sr.scan({location})

        assert not played.disk(location).suspended
        assert played.disk(location).active

    async def test_retire_is_taken_back_or_finished(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)

        await sr.retire(location)
        with pytest.raises(VolumeMissing):
            await sr.look(location)
        await sr.reinstate(location)
        assert (await sr.look(location)).label == LABEL
        await sr.purge(location)  # neither staged nor retired
        await sr.retire(location)
        await sr.purge(location)
        await sr.purge(location)

        assert list(played.group.disks) == ["pool"]

    async def test_a_disk_in_use_does_not_go(self, sr: LvmRepository, played: PlayedLvm) -> None:
        location = await published(sr)
        await sr.activate(location, writable=False)
        with pytest.raises(VolumeInUse):
            await sr.retire(location)
        await sr.deactivate(location)
        played.change(location, active=True, open=True)  # a guest of an earlier instance

        with pytest.raises(VolumeInUse):
            await sr.retire(location)

    async def test_one_uuid_is_one_volume(self, sr: LvmRepository) -> None:
        await published(sr)

        with pytest.raises(VolumeExists):
            await sr.create(NewVolume(ONE, MIB))
        assert len(await sr.scan({FIRST})) == 1

    @pytest.mark.parametrize("location", ["", "pool", "../x", "vdi-x", f"{FIRST}\n", ONE])
    async def test_other_locations_are_refused(self, sr: LvmRepository, location: str) -> None:
        with pytest.raises(LocationInvalid):
            await sr.look(location)
        with pytest.raises(LocationInvalid):
            await sr.activate(location, writable=True)

    async def test_destroy_wants_the_disks_gone_first(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        with pytest.raises(RepositoryNotEmpty):
            await sr.destroy()
        await sr.retire(location)
        await sr.purge(location)

        await sr.destroy()

        assert not played.groups
        assert played.calls[-1][0] == "pvremove"


async def story(sr: LvmRepository, known: set[str]) -> None:
    """What the services do, with the database's commits between."""
    await sr.create(NewVolume(ONE, MIB, LABEL))
    known.add(FIRST)
    await sr.publish(FIRST)
    await sr.clone(FIRST, NewVolume(TWO, MIB, LABEL), no_progress)
    known.add(SECOND)
    await sr.publish(SECOND)
    await sr._published.close()
    await sr.resize(SECOND, 8 * MIB)
    await sr.activate(SECOND, writable=True)
    await sr.deactivate(SECOND)
    await sr.retire(FIRST)
    known.remove(FIRST)
    await sr.purge(FIRST)


@pytest.mark.parametrize("moment", range(11))
async def test_a_kill_before_any_change_loses_and_leaves_nothing(
    sr: LvmRepository, lvm: Lvm, played: PlayedLvm, tmp_path: Path, moment: int
) -> None:
    known: set[str] = set()
    played.kill_at = moment
    killed = False
    try:
        await story(sr, known)
    except Killed:
        killed = True
    played.kill_at = -1

    again = await attached(lvm, tmp_path)
    found = {volume.location for volume in await again.scan(known)}

    assert killed == (moment < 8)
    assert found == known
    assert set(played.group.disks) == known | {"pool"}
    assert not any(disk.active for name, disk in played.group.disks.items() if name != "pool")
    await again.detach()


class TestFewPrograms:
    async def test_a_clone_waits_for_one_program(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        await sr.activate(location, writable=True)
        before = len(played.calls)

        twin = await sr.clone(location, NewVolume(TWO, 8 * MIB, LABEL), no_progress)
        await sr.publish(twin.location)
        await sr.stat()

        assert [call[0] for call in played.calls[before:]] == ["lvcreate"]
        assert (await sr.look(SECOND)).label == LABEL
        assert {each.location for each in await sr.scan({FIRST, SECOND})} == {FIRST, SECOND}

    async def test_marks_of_published_disks_go_together_and_later(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        for uuid in (ONE, TWO):
            await published(sr, uuid)
        assert lvm_tags.STAGED in played.disk(FIRST).tags & played.disk(SECOND).tags
        before = len(played.changes())

        await sr.detach()

        assert lvm_tags.STAGED not in played.disk(FIRST).tags | played.disk(SECOND).tags
        marks = [call for call in played.changes()[before:] if "--deltag" in call]
        assert [call.count(lvm_tags.STAGED) for call in marks] == [1, 0]

    async def test_marks_go_when_nothing_happens(self) -> None:
        unmarked: asyncio.Future[Collection[str]] = asyncio.get_running_loop().create_future()

        async def unmark(locations: Collection[str]) -> None:
            unmarked.set_result(locations)

        marks = Published(unmark, quiet_s=0.01)
        marks.add(FIRST)
        marks.add(SECOND)

        assert FIRST in marks
        assert await unmarked == (FIRST, SECOND)
        await asyncio.sleep(0)
        assert FIRST not in marks

    async def test_marks_that_cannot_go_now_go_with_the_next(self) -> None:
        tried: list[Collection[str]] = []

        async def unmark(locations: Collection[str]) -> None:
            tried.append(locations)
            if len(tried) == 1:
                raise BackendFailure("not now")

        marks = Published(unmark)
        marks.add(FIRST)
        await marks.close()
        assert FIRST in marks
        marks.add(SECOND)
        await marks.close()

        assert tried == [(FIRST,), (FIRST, SECOND)]
        assert FIRST not in marks

    async def test_a_disk_that_went_behind_our_back_is_missing(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        del played.group.disks[location]
        played.fail["lvchange"] = "  Failed to find logical volume"

        with pytest.raises(VolumeMissing):
            await sr.retire(location)


def answer(data: bytes, count: int = 0, opened: int = 0, flags: int = 0) -> bytes:
    """What the kernel answers: its header, and the data of a list or of targets."""
    size = device_mapper.HEADER.size
    header = device_mapper.HEADER.pack(
        4, 47, 0, size + len(data), size, count, opened, flags, 0, 0, 0, b"", b"", b""
    )
    return header + data


class TestDeviceMapper:
    def test_names_are_read_from_a_list(self) -> None:
        first = device_mapper.ENTRY.pack(0xFD00, 24) + b"one\0".ljust(12, b"\0")
        last = device_mapper.ENTRY.pack(0xFD01, 0) + b"t--wo\0"

        assert list(device_mapper.names(answer(first + last))) == ["one", "t--wo"]
        assert list(device_mapper.names(answer(device_mapper.ENTRY.pack(0, 0)))) == []

    def test_the_state_of_a_device_is_read(self) -> None:
        assert device_mapper.state(answer(b"", opened=2)) == Active(open=True, suspended=False)
        held = device_mapper.state(answer(b"", flags=device_mapper.SUSPENDED))
        assert held == Active(open=False, suspended=True)

    def test_what_a_target_says_is_read(self) -> None:
        target = device_mapper.TARGET.pack(0, 2048, 0, 0, b"thin-pool") + b"1 9/90 2/20 - rw\0"

        assert device_mapper.parameters(answer(target, count=1)) == "1 9/90 2/20 - rw"
        assert device_mapper.parameters(answer(b"")) is None


class TestOneVolume:
    async def test_growing(self, sr: LvmRepository) -> None:
        location = await published(sr)
        await sr.activate(location, writable=True)

        assert (await sr.resize(location, 9 * MIB)).virtual_size == 12 * MIB
        with pytest.raises(ShrinkRefused):
            await sr.resize(location, 4 * MIB)
        assert (await sr.resize(location, 12 * MIB)).virtual_size == 12 * MIB

    async def test_a_label_changes_in_one_step(self, sr: LvmRepository, played: PlayedLvm) -> None:
        location = await published(sr)
        before = len(played.changes())

        await sr.describe(location, LABEL)
        assert len(played.changes()) == before
        await sr.describe(location, VolumeLabel("other" * 500))

        assert len(played.changes()) == before + 1
        assert (await sr.look(location)).label == lvm_tags.kept(VolumeLabel("other" * 500))

    async def test_a_disk_is_active_while_somebody_uses_it(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        access = await sr.activate(location, writable=True)
        await sr.activate(location, writable=False)
        assert (access.format, access.backend) == ("raw", "phy")

        await sr.deactivate(location)
        assert played.disk(location).active
        await sr.deactivate(location)
        assert not played.disk(location).active

    async def test_a_disk_that_a_backend_holds_a_moment_longer_is_let_go_later(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        await sr.activate(location, writable=True)
        played.change(location, open=True)

        await sr.deactivate(location)
        assert played.disk(location).active
        played.change(location, open=False)
        await sr.scan({location})

        assert not played.disk(location).active

    async def test_what_a_disk_took_is_remembered(
        self, sr: LvmRepository, played: PlayedLvm
    ) -> None:
        location = await published(sr)
        await sr.activate(location, writable=True)
        played.change(location, mapped=3 * BLOCK)
        assert (await sr.look(location)).physical_utilisation == 3 * BLOCK

        await sr.deactivate(location)
        assert (await sr.look(location)).physical_utilisation == 3 * BLOCK
        twin = await sr.clone(location, NewVolume(TWO, 8 * MIB), no_progress)

        assert twin.physical_utilisation == 3 * BLOCK
        assert (await sr.stat()).used >= 3 * BLOCK

    async def test_a_larger_clone(self, sr: LvmRepository) -> None:
        location = await published(sr)

        twin = await sr.clone(location, NewVolume(TWO, 32 * MIB), no_progress)

        assert twin.virtual_size == 32 * MIB

    @pytest.mark.parametrize("kind", ["data", "metadata"])
    async def test_a_full_pool_takes_no_more_disks(
        self, sr: LvmRepository, played: PlayedLvm, kind: str
    ) -> None:
        location = await published(sr)
        if kind == "data":
            played.used_elsewhere = played.disk("pool").size
        else:
            played.metadata = (96, 100)

        with pytest.raises(NoSpace):
            await sr.create(NewVolume(TWO, MIB))
        with pytest.raises(NoSpace):
            await sr.clone(location, NewVolume(TWO, MIB), no_progress)


class TestCopies:
    async def test_content_arrives_and_nothing_stays_active(
        self, sr: LvmRepository, played: PlayedLvm, tmp_path: Path
    ) -> None:
        content = os.urandom(MIB) + bytes(17 * MIB) + os.urandom(2 * MIB)
        (tmp_path / "source").write_bytes(content)
        (tmp_path / FIRST).write_bytes(bytes(8 * MIB))
        seen: list[float] = []

        volume = await sr.copy(
            Access(str(tmp_path / "source")), NewVolume(ONE, 20 * MIB, LABEL), seen.append
        )

        assert (tmp_path / FIRST).read_bytes() == content
        assert seen == sorted(seen)
        assert any(0 < fraction < 1 for fraction in seen)
        assert (volume.location, volume.label) == (FIRST, LABEL)
        assert not played.disk(FIRST).active

    async def test_a_copy_that_ends_early_leaves_nothing(
        self, sr: LvmRepository, played: PlayedLvm, tmp_path: Path
    ) -> None:
        (tmp_path / "source").write_bytes(os.urandom(8 * MIB))
        (tmp_path / FIRST).write_bytes(bytes(8 * MIB))

        def at_once(_fraction: float) -> None:
            work.cancel()

        work = asyncio.ensure_future(
            sr.copy(Access(str(tmp_path / "source")), NewVolume(ONE, 8 * MIB), at_once)
        )
        with pytest.raises(asyncio.CancelledError):
            await work

        assert list(played.group.disks) == ["pool"]
        assert (await sr.create(NewVolume(ONE, MIB))).location == FIRST

    @pytest.mark.parametrize("missing", ["source", FIRST])
    async def test_a_device_that_cannot_be_opened_is_a_failure(
        self, sr: LvmRepository, played: PlayedLvm, tmp_path: Path, missing: str
    ) -> None:
        for name in {"source", FIRST} - {missing}:
            (tmp_path / name).write_bytes(bytes(MIB))

        with pytest.raises(BackendFailure, match="cannot copy"):
            await sr.copy(Access(str(tmp_path / "source")), NewVolume(ONE, MIB), no_progress)

        assert list(played.group.disks) == ["pool"]


STEPS: list[Callable[[LvmRepository], Awaitable[object]]] = [
    lambda sr: sr.create(NewVolume(TWO, MIB)),
    lambda sr: sr.clone(FIRST, NewVolume(TWO, MIB), no_progress),
    lambda sr: sr.clone(FIRST, NewVolume(TWO, 64 * MIB), no_progress),
    lambda sr: sr.retire(FIRST),
    lambda sr: sr.resize(FIRST, 64 * MIB),
    lambda sr: sr.activate(FIRST, writable=True),
]


@pytest.mark.parametrize("program", ["lvcreate", "lvchange", "lvextend", "lvs"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_fails_has_changed_nothing(
    sr: LvmRepository,
    played: PlayedLvm,
    program: str,
    step: Callable[[LvmRepository], Awaitable[object]],
) -> None:
    location = await published(sr)
    before = await sr.scan({location})
    played.fail[program] = "  It is a bad day.\n"

    try:
        await step(sr)
    except BackendFailure:
        played.fail.clear()
        assert await sr.scan({location}) == before
        assert set(played.group.disks) == {"pool", location}
