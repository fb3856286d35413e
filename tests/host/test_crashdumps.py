"""Dumps of the host: found in a directory, sent, removed, and never by a client's path."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from xapid.datamodel.declare import Ref
from xapid.datamodel.errors import HandleInvalid, InvalidValue, OperationNotAllowed
from xapid.datamodel.host_crashdump import HostCrashdump

from .world import Caller, Receiver, World


@pytest.fixture
def directory(world: World) -> Path:
    world.dumps.directory.mkdir()
    return world.dumps.directory


def a_dump(directory: Path, name: str = "202911302155") -> Path:
    dump = directory / name
    dump.mkdir()
    (dump / "dmesg").write_bytes(b"it crashed\n")
    (dump / "vmcore").write_bytes(b"\x01" * 5000)
    return dump


async def only(world: World) -> HostCrashdump:
    await world.dumps.scan()
    (record,) = world.store.all(HostCrashdump)
    return record


async def test_a_dump_is_found_with_its_size_and_time(world: World, directory: Path) -> None:
    a_dump(directory)

    record = await only(world)

    local = datetime(2029, 11, 30, 21, 55).astimezone()
    assert (record.size, record.timestamp) == (5011, local.astimezone(UTC))
    assert world.record.crashdumps == (record.ref,)


async def test_a_dump_without_a_time_in_its_name_has_that_of_its_file(
    world: World, directory: Path
) -> None:
    (directory / "vmcore").write_bytes(b"x")
    os.utime(directory / "vmcore", (1_900_000_000, 1_900_000_000))

    record = await only(world)

    assert record.timestamp == datetime.fromtimestamp(1_900_000_000, UTC)


async def test_a_second_scan_keeps_the_records_and_what_clients_wrote(
    world: World, directory: Path
) -> None:
    a_dump(directory)
    first = await only(world)
    await world.store.set(first.ref, HostCrashdump.other_config, {"seen": "yes"})

    again = await only(world)

    assert (again.ref, again.uuid, again.other_config) == (first.ref, first.uuid, {"seen": "yes"})


async def test_a_dump_that_comes_and_grows_while_the_daemon_runs_is_found(
    world: World, directory: Path
) -> None:
    turns: asyncio.Queue[None] = asyncio.Queue()
    waits = asyncio.Event()

    async def pause(_seconds: float) -> None:
        waits.set()
        await turns.get()

    async def look_again() -> list[HostCrashdump]:
        await waits.wait()
        waits.clear()
        turns.put_nowait(None)
        await waits.wait()
        return world.store.all(HostCrashdump)

    world.dumps.pause = pause
    await world.dumps.start()
    assert world.store.all(HostCrashdump) == []

    dump = a_dump(directory)
    (found,) = await look_again()
    (dump / "vmcore").write_bytes(b"\x01" * 6000)
    (grown,) = await look_again()
    start = world.store.feed.current_id
    await look_again()
    await world.dumps.close()

    assert (found.size, grown.size, found.ref) == (5011, 6011, grown.ref)
    assert world.store.feed.current_id == start


async def test_the_record_of_a_dump_that_is_gone_goes_too(world: World, directory: Path) -> None:
    dump = directory / "vmcore"
    dump.write_bytes(b"x")
    await only(world)
    dump.unlink()

    await world.dumps.scan()

    assert world.store.count(HostCrashdump) == 0


async def test_without_the_directory_there_are_no_dumps(world: World) -> None:
    await world.dumps.scan()

    assert world.store.count(HostCrashdump) == 0


async def test_links_hidden_files_and_files_of_others_are_no_dumps(
    world: World, directory: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (directory / "link").symlink_to(secret)
    os.link(secret, directory / "hard-link")
    (directory / ".hidden").write_text("x")
    os.mkfifo(directory / "pipe")
    (directory / "of-a-user").write_text("x")
    os.chown(directory / "of-a-user", 1000, 1000)

    await world.dumps.scan()

    assert world.store.count(HostCrashdump) == 0


async def test_a_dump_of_one_file_is_sent_as_it_is(
    world: World, directory: Path, receiver: Receiver, caller: Caller
) -> None:
    content = os.urandom(700_000)
    (directory / "vmcore").write_bytes(content)
    record = await only(world)

    await world.dumps.upload(caller, record.ref, receiver.url, {})

    assert receiver.got["/report"] == content
    assert caller.fractions[-1] == 1.0 and len(caller.fractions) > 1


async def test_a_dump_of_many_files_is_sent_as_an_archive_without_its_links(
    world: World, directory: Path, receiver: Receiver, caller: Caller, tmp_path: Path
) -> None:
    dump = a_dump(directory)
    (tmp_path / "secret").write_text("secret")
    (dump / "link").symlink_to(tmp_path / "secret")
    record = await only(world)

    await world.dumps.upload(caller, record.ref, receiver.url, {})

    with tarfile.open(fileobj=io.BytesIO(receiver.got["/report"])) as tar:
        assert tar.getnames() == ["202911302155/dmesg", "202911302155/vmcore"]
        content = tar.extractfile("202911302155/vmcore")
        assert content is not None and content.read() == b"\x01" * 5000


async def test_a_dump_is_not_sent_to_a_path(world: World, directory: Path, caller: Caller) -> None:
    a_dump(directory)
    record = await only(world)

    with pytest.raises(InvalidValue):
        await world.dumps.upload(caller, record.ref, "file:///tmp/out", {})


async def test_destroying_a_dump_removes_files_and_record(
    world: World, directory: Path, caller: Caller
) -> None:
    dump, other = a_dump(directory), a_dump(directory, "202912010000")
    await world.dumps.scan()
    record = next(r for r in world.store.all(HostCrashdump) if r.timestamp.month == 11)

    await world.dumps.destroy(caller, record.ref)

    assert not dump.exists() and other.exists()
    assert record.ref not in world.store.refs(HostCrashdump)


async def test_a_dump_whose_files_are_gone_cannot_be_sent_but_destroyed(
    world: World, directory: Path, caller: Caller
) -> None:
    (directory / "vmcore").write_bytes(b"x")
    record = await only(world)
    (directory / "vmcore").unlink()

    with pytest.raises(OperationNotAllowed):
        await world.dumps.upload(caller, record.ref, "http://127.0.0.1:9/", {})
    await world.dumps.destroy(caller, record.ref)

    with pytest.raises(HandleInvalid):
        world.store.get(Ref(record.ref))


async def test_nothing_that_a_client_writes_changes_which_files_a_record_means(
    world: World, directory: Path, caller: Caller, receiver: Receiver
) -> None:
    (directory / "vmcore").write_bytes(b"mine")
    record = await only(world)
    keys = {"path": "/etc/shadow", "name": "../root-password", "location": "/etc/shadow"}
    await world.store.set(record.ref, HostCrashdump.other_config, keys)

    await world.dumps.upload(caller, record.ref, receiver.url, {})

    assert receiver.got["/report"] == b"mine"
