"""Patches: taken in, checked, applied to this host, and forgotten."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from ... import programs
from ...datamodel.declare import Ref
from ...datamodel.errors import (
    CannotFindPatch,
    HostNotLive,
    InvalidPatch,
    OutOfSpace,
    PatchAlreadyApplied,
    PatchAlreadyExists,
    PatchApplyFailed,
    PatchIsApplied,
    PatchPrecheckFailedPrerequisiteMissing,
    PatchPrecheckFailedUnknownError,
    PatchPrecheckFailedWrongServerVersion,
)
from ...datamodel.host import Host
from ...datamodel.host_patch import HostPatch
from ...datamodel.pool_patch import PoolPatch
from ...db.store import Store
from ...db.text import clean_text
from ...programs import ProgramMissing, ProgramTookTooLong
from ...undo import Undo
from ...version import VERSION
from ..ports import Call, implements
from .archive import Head, Manifest, NotAPatch
from .files import PatchFileMissing, PatchFiles

PRECHECK: Final = "precheck"
APPLY: Final = "apply"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Unpacked:
    """A patch that was verified just now, in a directory that goes when it has been used."""

    record: PoolPatch
    manifest: Manifest
    directory: Path


@dataclass
class PatchService:
    """One patch is worked on at a time; the others wait.

    now: the time, in UTC.
    """

    store: Store
    files: PatchFiles
    host: Ref[Host]
    now: Callable[[], datetime]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _naming: asyncio.Lock = field(default_factory=asyncio.Lock)  # of uuids and their directories

    async def start(self) -> None:
        """Make the directories, and remove what an earlier run left half done."""
        await asyncio.to_thread(self.files.prepare)

    # Taking in

    async def receive(self, call: Call, chunks: AsyncIterator[bytes]) -> Ref[PoolPatch]:
        """Take an upload in; only a patch that a trusted key signed gets onto the disk.

        Raises INVALID_PATCH (its cause says why), PATCH_ALREADY_EXISTS, OUT_OF_SPACE.
        """
        async with Undo() as undo:
            with _refusals():
                head, received = await self.files.receive(chunks)
            undo.add(asyncio.to_thread, self.files.discard, received)
            manifest = head.manifest
            async with self._naming:
                if self.store.by_uuid(PoolPatch, manifest.uuid) is not None:
                    raise PatchAlreadyExists(manifest.uuid)
                patch = await self._record(manifest, head.whole)
                undo.add(self._forget, patch)
                await asyncio.to_thread(self.files.keep, received, manifest.uuid)
                undo.commit()
        log.info("a patch was uploaded", name=manifest.name, version=manifest.version)
        return patch

    async def _record(self, manifest: Manifest, size: int) -> Ref[PoolPatch]:
        shown = {
            "name_label": manifest.name,
            "name_description": manifest.description,
            "version": manifest.version,
            "size": size,
        }
        async with self.store.transaction() as tx:
            guidance = {"after_apply_guidance": manifest.guidance}
            patch = tx.create(PoolPatch, {**shown, **guidance}, uuid=manifest.uuid)
            tx.create(HostPatch, {**shown, "host": self.host, "pool_patch": patch})
        return patch

    # Applying

    @implements(PoolPatch.precheck)
    async def precheck(self, call: Call, patch: Ref[PoolPatch], host: Ref[Host]) -> str:
        self._check_here(host)
        async with self._unpacked(patch) as unpacked:
            return await self._precheck(unpacked)

    @implements(PoolPatch.apply)
    async def apply(self, call: Call, patch: Ref[PoolPatch], host: Ref[Host]) -> str:
        self._check_here(host)
        return await self._apply(call, patch)

    @implements(PoolPatch.pool_apply)
    async def pool_apply(self, call: Call, patch: Ref[PoolPatch]) -> None:
        if not self.store.get(patch).pool_applied:
            await self._apply(call, patch)

    @implements(HostPatch.apply)
    async def apply_host_patch(self, call: Call, host_patch: Ref[HostPatch]) -> str:
        record = self.store.get(host_patch)
        self._check_here(record.host)
        return await self._apply(call, record.pool_patch)

    async def _apply(self, call: Call, patch: Ref[PoolPatch]) -> str:
        async with self._unpacked(patch) as unpacked:
            call.progress(0.2)
            await self._precheck(unpacked)
            call.progress(0.4)
            done, output = await self._run(unpacked, APPLY)
            if not done:
                raise PatchApplyFailed(output)
            await self._record_applied(patch)
            log.info("a patch was applied", name=unpacked.manifest.name)
            return output

    async def _record_applied(self, patch: Ref[PoolPatch]) -> None:
        async with self.store.transaction() as tx:
            record = tx.get(patch)
            tx.set(patch, PoolPatch.pool_applied, True)
            own = [ref for ref in record.host_patches if tx.get(ref).host == self.host]
            for ref in own:
                tx.update(ref, {"applied": True, "timestamp_applied": self.now()})

    @asynccontextmanager
    async def _unpacked(self, patch: Ref[PoolPatch]) -> AsyncIterator[Unpacked]:
        async with self._turn, Undo() as undo:
            record = self.store.get(patch)
            # A cancel must find the thread ended, or its directory would stay behind.
            opening = asyncio.ensure_future(asyncio.to_thread(self.files.unpack, record.uuid))
            undo.add(self._discard, opening)
            with _refusals():
                head, directory = await asyncio.shield(opening)
            yield Unpacked(record, head.manifest, directory)

    async def _discard(self, opening: asyncio.Future[tuple[Head, Path]]) -> None:
        await asyncio.wait((opening,))
        if opening.exception() is None:
            await asyncio.to_thread(self.files.discard, opening.result()[1])

    async def _precheck(self, unpacked: Unpacked) -> str:
        """What must hold before the patch is applied; its own check comes last."""
        record, manifest = unpacked.record, unpacked.manifest
        if self.store.get(record.ref).pool_applied:
            raise PatchAlreadyApplied(record.ref)
        missing = [uuid for uuid in manifest.requires if not self._is_applied(uuid)]
        if missing:
            raise PatchPrecheckFailedPrerequisiteMissing(record.ref, ";".join(missing))
        if manifest.server_version not in ("", VERSION):
            raise PatchPrecheckFailedWrongServerVersion(
                record.ref, VERSION, manifest.server_version
            )
        if not (unpacked.directory / PRECHECK).exists():
            return ""
        passed, output = await self._run(unpacked, PRECHECK)
        if not passed:
            raise PatchPrecheckFailedUnknownError(record.ref, output)
        return output

    def _is_applied(self, uuid: str) -> bool:
        patch = self.store.by_uuid(PoolPatch, uuid)
        return patch is not None and self.store.get(patch).pool_applied

    async def _run(self, unpacked: Unpacked, script: str) -> tuple[bool, str]:
        """Run a script of the patch; whether it succeeded, and its output, which is kept too."""
        manifest = unpacked.manifest
        environment = {
            "PATCH_UUID": manifest.uuid,
            "PATCH_VERSION": manifest.version,
            "XAPID_VERSION": VERSION,
        }
        try:
            done = await programs.run(
                [unpacked.directory / script],
                deadline_s=manifest.time_limit_s,
                directory=unpacked.directory,
                environment=environment,
            )
            succeeded, output = done.succeeded, done.output
            if not succeeded:
                output += f"{script} ended with status {done.status}\n"
        except ProgramTookTooLong as error:
            succeeded, output = False, f"{error.output}{error}\n"
        except ProgramMissing as error:
            succeeded, output = False, f"{script} cannot be run: {error.__cause__}\n"
        output = clean_text(output)
        await asyncio.to_thread(self.files.keep_output, manifest.uuid, script, output)
        return succeeded, output

    # Forgetting

    @implements(PoolPatch.clean)
    async def clean(self, call: Call, patch: Ref[PoolPatch]) -> None:
        async with self._turn:
            await asyncio.to_thread(self.files.clean, self.store.get(patch).uuid)

    @implements(PoolPatch.destroy)
    async def destroy(self, call: Call, patch: Ref[PoolPatch]) -> None:
        async with self._turn:
            record = self.store.get(patch)
            if any(self.store.get(ref).applied for ref in record.host_patches):
                raise PatchIsApplied()
            async with self._naming:
                await self._forget(patch)

    async def _forget(self, patch: Ref[PoolPatch]) -> None:
        record = self.store.get(patch)
        async with self.store.transaction() as tx:
            for ref in tx.get(patch).host_patches:
                tx.destroy(ref)
            tx.destroy(patch)
        await asyncio.to_thread(self.files.remove, record.uuid)

    @implements(HostPatch.destroy)
    async def destroy_host_patch(self, call: Call, host_patch: Ref[HostPatch]) -> None:
        async with self._turn:
            record = self.store.get(host_patch)
            if record.applied:
                raise PatchIsApplied()
            async with self.store.transaction() as tx:
                tx.destroy(host_patch)
            pool_patch = self.store.find(PoolPatch, record.pool_patch)
            if pool_patch is not None:
                await asyncio.to_thread(self.files.clean, pool_patch.uuid)

    def _check_here(self, host: Ref[Host]) -> None:
        if host != self.host:
            raise HostNotLive()


class _refusals:  # noqa: N801 - reads as a word
    """Tells what is wrong with a patch's file as the API does."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NotAPatch):
            log.warning("a patch was refused", why=str(error))
            raise InvalidPatch() from error
        if isinstance(error, PatchFileMissing):
            raise CannotFindPatch() from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace("the state directory") from error
