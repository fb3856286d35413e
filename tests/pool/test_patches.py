"""A patch's life: uploaded, checked, applied, cleaned, destroyed."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xapid.datamodel.enums import AfterApplyGuidance
from xapid.datamodel.errors import (
    ApiError,
    CannotFindPatch,
    HostNotLive,
    InvalidPatch,
    PatchAlreadyApplied,
    PatchAlreadyExists,
    PatchApplyFailed,
    PatchIsApplied,
    PatchPrecheckFailedPrerequisiteMissing,
    PatchPrecheckFailedUnknownError,
    PatchPrecheckFailedWrongServerVersion,
)
from xapid.datamodel.host import Host
from xapid.datamodel.host_patch import HostPatch
from xapid.datamodel.pool_patch import PoolPatch
from xapid.services.pool import maker
from xapid.version import VERSION

from .world import NOW, Caller, World, archive, script

GOOD: dict[str, str | bytes] = {"apply": script("echo applied")}


def escaped() -> bool:
    return Path("/tmp/escaped").exists()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("step", [1, 100, 1 << 20])
async def test_an_upload_gives_a_record_for_the_pool_and_one_for_the_host(
    world: World, step: int
) -> None:
    patch = world.made(
        name="fix", description="words", version="2.1", guidance=(AfterApplyGuidance.RESTART_HOST,)
    )

    ref = await world.upload(patch, step)

    record = world.store.get(ref)
    assert (record.name_label, record.version, record.size) == ("fix", "2.1", len(patch))
    assert record.after_apply_guidance == (AfterApplyGuidance.RESTART_HOST,)
    assert record.pool_applied is False
    (host_patch,) = (world.store.get(r) for r in record.host_patches)
    assert (host_patch.host, host_patch.applied) == (world.host, False)
    assert world.leftovers() == [f"patches/{record.uuid}/patch"]


async def test_what_is_kept_is_readable_by_its_owner_only(world: World) -> None:
    record = world.store.get(await world.upload(world.made()))

    path = world.state / "patches" / record.uuid
    assert mode(path) == 0o700
    assert mode(path / "patch") == 0o600


def bad_uploads(world: World) -> dict[str, bytes]:
    good = world.made()
    return {
        "nothing": b"",
        "no patch": b"#!/bin/sh\nrm -rf /\n",
        "signed by a stranger": world.made(key=Ed25519PrivateKey.generate()),
        "too short": good[:-1],
        "too long": good + b"x",
        "another payload": good[:-1] + bytes([good[-1] ^ 1]),
        "only a head": good[: len(good) // 3],
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("nothing", "no patch", "signed by a stranger", "too short", "too long"),
        *("another payload", "only a head"),
    ],
)
async def test_an_upload_that_is_not_a_trusted_patch_leaves_nothing(
    world: World, kind: str
) -> None:
    with pytest.raises(InvalidPatch):
        await world.upload(bad_uploads(world)[kind])

    assert world.store.count(PoolPatch) == world.store.count(HostPatch) == 0
    assert world.leftovers() == []


async def test_an_upload_whose_client_goes_away_leaves_nothing(world: World) -> None:
    patch = world.made()

    async def broken() -> object:
        yield patch[:-10]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await world.patches.receive(Caller(), broken())  # type: ignore[arg-type]

    assert world.leftovers() == []


async def test_the_same_patch_cannot_be_uploaded_twice(world: World) -> None:
    patch = world.made()
    ref = await world.upload(patch)

    with pytest.raises(PatchAlreadyExists):
        await world.upload(patch)
    results = await asyncio.gather(
        *(world.upload(other) for other in [world.made()] * 2), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["PatchAlreadyExists", "Ref"]
    assert await world.patches.apply(Caller(), ref, world.host) == "applied\n"
    assert len(world.leftovers()) == 2


async def test_applying_runs_the_script_and_records_it(world: World, caller: Caller) -> None:
    ref = await world.patch(
        {"apply": script("cat data/text; echo $PATCH_VERSION; pwd"), "data/text": "from a file\n"}
    )

    output = await world.patches.apply(caller, ref, world.host)

    lines = output.splitlines()
    record = world.store.get(ref)
    host_patch = world.store.get(record.host_patches[0])
    assert lines[:2] == ["from a file", "1.0"]
    assert lines[2].startswith(str(world.state / "patch-scratch"))
    assert record.pool_applied and host_patch.applied and host_patch.timestamp_applied == NOW
    assert caller.fractions == sorted(caller.fractions)
    assert world.leftovers() == [f"patches/{record.uuid}/patch"]


async def test_the_output_of_the_scripts_is_kept(world: World, caller: Caller) -> None:
    ref = await world.patch({**GOOD, "precheck": script("echo looked")})
    directory = world.state / "patches" / world.store.get(ref).uuid

    await world.patches.apply(caller, ref, world.host)
    await world.patches.clean(caller, ref)

    assert (directory / "apply.log").read_text() == "applied\n"
    assert (directory / "precheck.log").read_text() == "looked\n"


async def test_a_script_that_fails_is_an_error_with_its_output(
    world: World, caller: Caller
) -> None:
    ref = await world.patch({"apply": script("echo no room >&2; exit 7")})

    with pytest.raises(PatchApplyFailed) as failed:
        await world.patches.apply(caller, ref, world.host)

    assert failed.value.output == "no room\napply ended with status 7\n"
    assert world.store.get(ref).pool_applied is False
    assert not world.store.get(world.store.get(ref).host_patches[0]).applied


async def test_a_script_that_takes_too_long_is_ended(world: World, caller: Caller) -> None:
    ref = await world.patch({"apply": script("echo begun; sleep 60")}, time_limit_s=1)

    with pytest.raises(PatchApplyFailed, match="did not end within 1 s"):
        await world.patches.apply(caller, ref, world.host)

    assert world.store.get(ref).pool_applied is False


async def test_a_patch_without_a_script_cannot_be_applied(world: World, caller: Caller) -> None:
    ref = await world.patch({"other": "x"})

    with pytest.raises(PatchApplyFailed, match="apply cannot be run"):
        await world.patches.apply(caller, ref, world.host)


async def test_a_cancelled_apply_ends_its_script_and_leaves_no_scratch(world: World) -> None:
    os.mkfifo(world.state / "begun")
    ref = await world.patch({"apply": script(f": > {world.state}/begun; sleep 60")})

    applying = asyncio.create_task(world.patches.apply(Caller(), ref, world.host))
    await asyncio.to_thread((world.state / "begun").read_bytes)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying

    assert world.store.get(ref).pool_applied is False
    assert world.leftovers() == [f"patches/{world.store.get(ref).uuid}/patch"]


async def test_the_check_before_tells_its_output_and_applies_nothing(
    world: World, caller: Caller
) -> None:
    ref = await world.patch({**GOOD, "precheck": script("echo fine")})

    assert await world.patches.precheck(caller, ref, world.host) == "fine\n"
    assert world.store.get(ref).pool_applied is False


async def test_a_check_that_fails_stops_the_patch(world: World, caller: Caller) -> None:
    ref = await world.patch({**GOOD, "precheck": script("echo wrong disk; exit 1")})

    for attempt in (world.patches.precheck, world.patches.apply):
        with pytest.raises(PatchPrecheckFailedUnknownError) as failed:
            await attempt(caller, ref, world.host)

    assert failed.value.info.startswith("wrong disk\n")
    assert world.store.get(ref).pool_applied is False


async def test_a_patch_waits_for_those_it_requires(world: World, caller: Caller) -> None:
    first = await world.patch(GOOD)
    needed = world.store.get(first).uuid
    second = await world.patch(GOOD, requires=(needed,))

    with pytest.raises(PatchPrecheckFailedPrerequisiteMissing) as missing:
        await world.patches.apply(caller, second, world.host)
    await world.patches.apply(caller, first, world.host)
    await world.patches.apply(caller, second, world.host)

    assert missing.value.prerequisite_patch_uuid_list == needed
    assert world.store.get(second).pool_applied


async def test_a_patch_for_another_version_is_refused(world: World, caller: Caller) -> None:
    wrong = await world.patch(GOOD, server_version="0.0.1")
    right = await world.patch(GOOD, server_version=VERSION)

    with pytest.raises(PatchPrecheckFailedWrongServerVersion) as refused:
        await world.patches.apply(caller, wrong, world.host)
    await world.patches.apply(caller, right, world.host)

    assert refused.value.wire()[2:] == [VERSION, "0.0.1"]


async def test_a_patch_is_applied_once(world: World, caller: Caller) -> None:
    ref = await world.patch({"apply": script(f"echo x >> {world.state}/runs")})
    await world.patches.pool_apply(caller, ref)

    await world.patches.pool_apply(caller, ref)
    with pytest.raises(PatchAlreadyApplied):
        await world.patches.apply(caller, ref, world.host)
    with pytest.raises(PatchAlreadyApplied):
        await world.patches.precheck(caller, ref, world.host)

    assert (world.state / "runs").read_text() == "x\n"


async def test_two_clients_at_once_apply_a_patch_once(world: World) -> None:
    ref = await world.patch({"apply": script(f"echo x >> {world.state}/runs")})

    results = await asyncio.gather(
        *(world.patches.apply(Caller(), ref, world.host) for _ in range(3)), return_exceptions=True
    )

    assert [type(r).__name__ for r in results].count("PatchAlreadyApplied") == 2
    assert (world.state / "runs").read_text() == "x\n"


async def test_a_patch_can_be_applied_by_its_record_on_the_host(
    world: World, caller: Caller
) -> None:
    ref = await world.patch(GOOD)
    host_patch = world.store.get(ref).host_patches[0]

    assert await world.patches.apply_host_patch(caller, host_patch) == "applied\n"
    assert world.store.get(ref).pool_applied


async def test_a_patch_is_not_applied_to_another_host(world: World, caller: Caller) -> None:
    ref = await world.patch(GOOD)
    other = await world.store.transact(lambda tx: tx.create(Host, {}))

    for attempt in (world.patches.precheck, world.patches.apply):
        with pytest.raises(HostNotLive):
            await attempt(caller, ref, other)

    assert world.store.get(ref).pool_applied is False


async def test_a_patch_that_was_changed_on_the_disk_is_not_run(
    world: World, caller: Caller
) -> None:
    ref = await world.patch({"apply": script(f"touch {world.state}/ran")})
    path = world.state / "patches" / world.store.get(ref).uuid / "patch"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(InvalidPatch):
        await world.patches.apply(caller, ref, world.host)

    assert not (world.state / "ran").exists()


async def test_a_patch_whose_key_is_trusted_no_more_is_not_run(
    world: World, caller: Caller
) -> None:
    ref = await world.patch({"apply": script(f"touch {world.state}/ran")})
    (world.state / "patch-keys" / "maker.pub").unlink()

    with pytest.raises(InvalidPatch):
        await world.patches.apply(caller, ref, world.host)

    assert not (world.state / "ran").exists()


async def test_a_key_file_that_is_none_trusts_nobody_and_harms_nothing(world: World) -> None:
    (world.state / "patch-keys" / "bad.pub").write_text("no key")

    await world.upload(world.made())

    assert world.store.count(PoolPatch) == 1


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped"])
async def test_a_payload_cannot_write_outside_its_directory(
    world: World, caller: Caller, name: str
) -> None:
    ref = await world.patch({**GOOD, name: "x"})

    with pytest.raises(InvalidPatch):
        await world.patches.apply(caller, ref, world.host)

    assert not (world.state / "escaped").exists() and not escaped()
    assert len(world.leftovers()) == 1


@pytest.mark.parametrize(
    "payload",
    [archive(GOOD, link="/etc/shadow"), b"no archive at all", archive(GOOD)[:-30]],
    ids=["link", "no archive", "cut off"],
)
async def test_a_payload_of_anything_but_plain_files_is_refused(
    world: World, caller: Caller, payload: bytes
) -> None:
    ref = await world.upload(world.made(payload))

    with pytest.raises(InvalidPatch):
        await world.patches.apply(caller, ref, world.host)

    assert len(world.leftovers()) == 1


async def test_a_cleaned_patch_keeps_its_record_and_loses_its_file(
    world: World, caller: Caller
) -> None:
    ref = await world.patch(GOOD)

    await world.patches.clean(caller, ref)
    await world.patches.clean(caller, ref)

    assert world.leftovers() == []
    with pytest.raises(CannotFindPatch):
        await world.patches.apply(caller, ref, world.host)


async def test_an_applied_patch_cannot_be_destroyed(world: World, caller: Caller) -> None:
    ref = await world.patch(GOOD)
    await world.patches.apply(caller, ref, world.host)

    with pytest.raises(PatchIsApplied):
        await world.patches.destroy(caller, ref)
    with pytest.raises(PatchIsApplied):
        await world.patches.destroy_host_patch(caller, world.store.get(ref).host_patches[0])

    assert world.store.count(PoolPatch) == world.store.count(HostPatch) == 1


async def test_a_destroyed_patch_is_gone_and_can_be_uploaded_again(
    world: World, caller: Caller
) -> None:
    patch = world.made()
    ref = await world.upload(patch)

    await world.patches.destroy(caller, ref)
    gone = (world.store.count(PoolPatch), world.store.count(HostPatch), world.leftovers())
    await world.upload(patch)

    assert gone == (0, 0, [])


async def test_a_patch_removed_from_the_host_can_no_longer_be_applied(
    world: World, caller: Caller
) -> None:
    ref = await world.patch(GOOD)

    await world.patches.destroy_host_patch(caller, world.store.get(ref).host_patches[0])

    assert world.store.get(ref).host_patches == ()
    with pytest.raises(CannotFindPatch):
        await world.patches.apply(caller, ref, world.host)
    await world.patches.destroy(caller, ref)


async def test_a_start_removes_what_an_earlier_run_left_half_done(world: World) -> None:
    ref = await world.patch(GOOD)
    (world.state / "patch-scratch" / "upload-x").write_text("half")

    await world.patches.start()

    assert world.leftovers() == [f"patches/{world.store.get(ref).uuid}/patch"]


async def test_a_patch_made_by_the_tool_is_applied(
    world: World, caller: Caller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    (source / "apply").write_text(script("cat data/words"))
    (source / "apply").chmod(0o755)
    (source / "data" / "words").write_text("it works\n")
    key, out = tmp_path / "company", tmp_path / "fix.patch"

    assert maker.main(["keygen", str(key)]) == 0
    build = ["build", str(source), "--key", f"{key}.key", "--output", str(out), "--name", "fix"]
    assert maker.main([*build, "--version", "1", "--guidance", "restartXAPI"]) == 0
    (world.state / "patch-keys" / "company.pub").write_bytes(key.with_suffix(".pub").read_bytes())
    ref = await world.upload(out.read_bytes())
    shown = maker.main(["show", str(out), "--keys", str(world.state / "patch-keys")])

    assert await world.patches.apply(caller, ref, world.host) == "it works\n"
    assert shown == 0 and '"name":"fix"' in capsys.readouterr().out
    assert mode(key.with_suffix(".key")) == 0o600


def test_the_tool_says_in_a_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maker.main(["keygen", str(tmp_path / "k")]) == 0
    again = maker.main(["keygen", str(tmp_path / "k")])
    build = ["build", str(tmp_path), "--key", str(tmp_path / "k.key"), "--name", "n"]
    without = maker.main([*build, "--version", "1", "--output", str(tmp_path / "p")])

    assert again == without == 1
    assert "is not an executable file" in capsys.readouterr().err


async def test_no_message_of_a_patch_ends_in_an_unforeseen_error(
    world: World, caller: Caller
) -> None:
    ref = await world.patch(GOOD)
    directory = world.state / "patches" / world.store.get(ref).uuid
    (directory / "patch").unlink()
    directory.rmdir()

    for attempt in (
        world.patches.precheck(caller, ref, world.host),
        world.patches.apply(caller, ref, world.host),
        world.patches.pool_apply(caller, ref),
    ):
        with pytest.raises(ApiError):
            await attempt
    await world.patches.clean(caller, ref)
    await world.patches.destroy(caller, ref)

    assert world.store.count(PoolPatch) == 0
