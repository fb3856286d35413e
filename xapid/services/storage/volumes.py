"""Making, copying, resizing and destroying disks: storage and record together, or neither."""

from __future__ import annotations

import uuid as uuids
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import structlog

from ...datamodel.declare import NULL, Field, Ref
from ...datamodel.enums import StorageOperations, VdiOperations, VdiType
from ...datamodel.errors import InvalidValue, SRFull, VDIInUse
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...db.store import Store
from ...storage.driver import (
    NewVolume,
    Repository,
    StorageError,
    Volume,
    VolumeLabel,
    VolumeMissing,
)
from ...undo import Undo
from ..ports import Call, Operations
from .failures import storage_errors
from .leases import Leases
from .repositories import Repositories, create_record, destroy_record, record_size

log = structlog.get_logger(__name__)

Values = Mapping[Field[Any], Any]
Make = Callable[[Repository, NewVolume], Awaitable[Volume]]
SrOp = StorageOperations
VdiOp = VdiOperations

INHERITED = (VDI.name_label, VDI.name_description, VDI.type, VDI.sharable, VDI.other_config,
             VDI.xenstore_data, VDI.sm_config)  # fmt: skip
"""What a copy takes from its original."""


class Volumes:
    """Changes to the disks of attached SRs; each raises what claiming the SR and the VDI raises."""

    def __init__(
        self, store: Store, operations: Operations, repositories: Repositories, leases: Leases
    ) -> None:
        self._store = store
        self._operations = operations
        self._repositories = repositories
        self._leases = leases

    async def create(self, call: Call, sr: Ref[SR], size: int, values: Values) -> Ref[VDI]:
        """An empty disk of at least `size` bytes. Raises INVALID_VALUE, SR_FULL."""
        if size <= 0:
            raise InvalidValue("virtual_size", str(size))
        async with self._operations.claim(call, sr, SrOp.VDI_CREATE):
            if values.get(VDI.type) is VdiType.SUSPEND:
                await self._check_room(sr, size)
            return await self._make(sr, size, values, lambda r, new: r.create(new))

    async def _check_room(self, sr: Ref[SR], size: int) -> None:
        """A suspend image is filled at once, while its guest waits: it must fit now."""
        with storage_errors(sr):
            space = await self._repositories.get(sr).stat()
        if space.free < size:
            raise SRFull(size, space.free)

    async def copy(
        self, call: Call, vdi: Ref[VDI], sr: Ref[SR], changes: Values | None = None
    ) -> Ref[VDI]:
        """A full copy of a disk in `sr`."""
        async with (
            self._operations.claim(call, vdi, VdiOp.COPY) as original,
            self._operations.claim(call, sr, SrOp.VDI_CREATE),
            self._reading(vdi, VdiOp.COPY),
        ):
            source = self._repositories.get(original.SR)
            with storage_errors(original.SR, vdi):
                access = await source.activate(original.location, writable=False)
            try:
                return await self._make(
                    sr,
                    original.virtual_size,
                    inherited(original) | dict(changes or {}),
                    lambda r, new: r.copy(access, new, call.progress),
                )
            finally:
                await source.deactivate(original.location)

    async def clone(
        self, call: Call, vdi: Ref[VDI], operation: VdiOperations, changes: Values
    ) -> Ref[VDI]:
        """A disk with the same content in the same SR, as cheaply as its driver can."""
        on_sr = SrOp.VDI_SNAPSHOT if operation is VdiOp.SNAPSHOT else SrOp.VDI_CLONE
        async with (
            self._operations.claim(call, vdi, operation) as original,
            self._operations.claim(call, original.SR, on_sr),
            self._beside_guests(vdi, operation),
        ):
            return await self._make(
                original.SR,
                original.virtual_size,
                inherited(original) | dict(changes),
                lambda r, new: r.clone(original.location, new, call.progress),
            )

    async def destroy(self, call: Call, vdi: Ref[VDI]) -> None:
        """Delete a disk that nobody uses."""
        async with self._operations.claim(call, vdi, VdiOp.DESTROY) as record:
            sr, location = record.SR, record.location
            async with (
                self._operations.claim(call, sr, SrOp.VDI_DESTROY),
                self._alone(vdi, VdiOp.DESTROY),
                Undo() as undo,
            ):
                repository = self._repositories.get(sr)
                with storage_errors(sr, vdi):
                    try:
                        await repository.retire(location)
                        undo.add(repository.reinstate, location)
                    except VolumeMissing:
                        log.info("a disk that was missing is destroyed", disk=record.name_label)
                async with self._store.transaction() as tx:
                    destroy_record(tx, vdi)
                undo.commit()
                await self._purge(repository, location)
                await self._repositories.measure(sr)
        self._repositories.loosened(sr)

    async def _purge(self, repository: Repository, location: str) -> None:
        try:
            await repository.purge(location)
        except StorageError as error:
            log.warning("space not given back until the next scan", disk=location, error=str(error))

    async def forget(self, call: Call, vdi: Ref[VDI]) -> None:
        """Remove a disk's record; its data stays."""
        async with (
            self._operations.claim(call, vdi, VdiOp.FORGET) as record,
            self._alone(vdi, VdiOp.FORGET),
            self._store.transaction() as tx,
        ):
            destroy_record(tx, vdi)
        await self._repositories.measure(record.SR)

    async def resize(self, call: Call, vdi: Ref[VDI], size: int, operation: VdiOperations) -> None:
        """Grow a disk to at least `size` bytes. Raises VDI_TOO_SMALL, SR_FULL."""
        if size <= 0:
            raise InvalidValue("size", str(size))
        async with self._operations.claim(call, vdi, operation) as record:
            online = operation is VdiOp.RESIZE_ONLINE and self._leases.held(vdi)
            async with (
                self._operations.claim(call, record.SR, SrOp.VDI_RESIZE),
                self._beside_guests(vdi, operation) if online else self._alone(vdi, operation),
            ):
                with storage_errors(record.SR, vdi):
                    repository = self._repositories.get(record.SR)
                    volume = await repository.resize(record.location, size)
                async with self._store.transaction() as tx:
                    record_size(tx, vdi, volume)
                await self._repositories.measure(record.SR)

    async def _make(self, sr: Ref[SR], size: int, values: Values, make: Make) -> Ref[VDI]:
        repository = self._repositories.get(sr)
        new = NewVolume(str(uuids.uuid4()), size, _label(values))
        async with Undo() as undo:
            with storage_errors(sr):
                volume = await make(repository, new)
                undo.add(repository.purge, volume.location)
            async with self._store.transaction() as tx:
                vdi = create_record(tx, {**values, **_facts(sr, volume)}, new.uuid)
            undo.add(self._drop_record, vdi)
            with storage_errors(sr, vdi):
                await repository.publish(volume.location)
            undo.commit()
        await self._repositories.measure(sr)
        return vdi

    async def _drop_record(self, vdi: Ref[VDI]) -> None:
        async with self._store.transaction() as tx:
            destroy_record(tx, vdi)

    @asynccontextmanager
    async def _reading(self, vdi: Ref[VDI], operation: VdiOperations) -> AsyncIterator[None]:
        """Hold a disk that nobody may write to meanwhile."""
        lease = self._leases.take(vdi, vdi, operation, writer=False)
        try:
            yield
        finally:
            self._leases.release(lease)

    def _beside_guests(
        self, vdi: Ref[VDI], operation: VdiOperations
    ) -> AbstractAsyncContextManager[None]:
        """Hold a disk as `_reading` does, but for guests that have it and may go on writing.

        The rules let the operation start beside them only where the storage can do that; until it
        ends its claim keeps new writers away.
        """
        if any(self._store.get(vbd).currently_attached for vbd in self._store.get(vdi).VBDs):
            return nullcontext()
        return self._reading(vdi, operation)

    @asynccontextmanager
    async def _alone(self, vdi: Ref[VDI], operation: VdiOperations) -> AsyncIterator[None]:
        """Hold a disk that nobody else may hold meanwhile."""
        if self._leases.held(vdi):
            raise VDIInUse(vdi, str(operation))
        lease = self._leases.take(vdi, vdi, operation, writer=True)
        try:
            yield
        finally:
            self._leases.release(lease)


def inherited(original: VDI) -> dict[Field[Any], Any]:
    """What a copy of a disk takes from its record."""
    return {field: original.row[field.name] for field in INHERITED}


def _label(values: Values) -> VolumeLabel:
    return VolumeLabel(
        name=values.get(VDI.name_label, ""),
        description=values.get(VDI.name_description, ""),
        kind=str(values.get(VDI.type, VdiType.USER)),
        read_only=values.get(VDI.read_only, False),
        sharable=values.get(VDI.sharable, False),
    )


def _facts(sr: Ref[SR], volume: Volume) -> dict[Field[Any], Any]:
    return {
        VDI.SR: sr,
        VDI.location: volume.location,
        VDI.virtual_size: volume.virtual_size,
        VDI.physical_utilisation: volume.physical_utilisation,
        VDI.managed: True,
        VDI.parent: NULL,
    }
